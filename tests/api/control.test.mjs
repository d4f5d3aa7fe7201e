// Control nodes over HTTP: maps, loops, branches and groups; gates that people answer.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { api, clip, finished, program, problems, refused, setUp, start } from './lib.mjs';

let t;
before(async () => { t = await setUp('control'); });
after(() => t.end());

const edge = (from, to) => {
  const [[source, sourceHandle], [target, targetHandle]] = [from.split('.'), to.split('.')];
  return { source, sourceHandle, target, targetHandle };
};
const graph = (nodes, ...edges) => ({ nodes, edges: edges.map(([from, to]) => edge(from, to)) });
const node = (id, type, data = {}) => ({ id, type, data });
const number = { type: 'number' };

// item + 1 → y
const plusOne = graph([node('in', 'graph.input'), node('grade', 'number.math', { inputs: { b: 1 } }), node('out', 'graph.output')],
  ['in.item', 'grade.a'], ['grade.value', 'out.y']);
const ports = { in: [{ name: 'item', ...number }], out: [{ name: 'y', ...number }] };
const map = (items, more = {}) => node('m', 'map', { ports, graph: plusOne, inputs: { items }, ...more });

const gate = (params = {}, more = {}) => graph([node('n', 'input.number', { params: { value: 7 } }), node('g', 'gate', { params, ...more }),
  node('next', 'number.math', { inputs: { b: 1 } })], ['n.value', 'g.value'], ['g.value', 'next.a']);

// The record, once the step waits.
async function waiting(run, step) {
  for (;;) {
    const { body } = await api(t, 'viewer', 'GET', `/api/v1/runs/${run}`);
    const asked = body.waiting_for?.find((w) => w.node === step);
    if (asked) return asked;
    assert.equal(body.ended_at, undefined, `${step} never waited: ${JSON.stringify(body.result)}`);
    for await (const e of t.server.sse(`/api/v1/runs/${run}/stream?after_seq=${body.last_seq}`))
      if (JSON.parse(e.data).payload.nodes?.some((n) => n.id === step && n.status === 'waiting')) break;
  }
}
const approve = (run, body, who = 'member') => api(t, who, 'POST', `/api/v1/runs/${run}/approve`, body);

test('control nodes are among the node types', async () => {
  const { body } = await api(t, 'viewer', 'GET', '/api/v1/node-types');
  const keys = Object.fromEntries(body.items.map((i) => [i.type, i.data_keys.join(' ')]));
  const own = { gate: ' form', loop: ' ports graph', map: ' ports graph', merge: '', subgraph: ' ports graph', switch: ' ports cases' };
  for (const [type, more] of Object.entries(own)) assert.equal(keys[type], `policy${more}`, type);
  const { in: inputs } = body.items.find((i) => i.type === 'map').ports;
  assert.deepEqual(inputs.map((p) => [p.name, p.type, p.either ?? false, p.multiple ?? false]), [['items', 'json', true, false], ['each', 'any', true, true]]);
});

test('a map tells its items under step ids of their own', async () => {
  const record = await finished(t, await start(t, graph([map([3, 1, 2])])));
  assert.equal(record.status, 'done');
  assert.deepEqual(record.result.outputs.m, { y: [4, 2, 3], errors: [] });
  assert.equal(record.nodes['m#2/grade'].status, 'done');
});

test('an item that fails is told, and the others go on', async () => {
  const record = await finished(t, await start(t, graph([map([3, 'x'], { params: { on_item_error: 'continue' } })])));
  assert.equal(record.status, 'done');
  assert.deepEqual(record.result.outputs.m, { y: [4, null], errors: [{ index: 1, code: 'SCHEMA_INVALID', message: 'must be a number' }] });
  const failed = await finished(t, await start(t, graph([map([3, 'x'])])));
  assert.equal(failed.status, 'failed');
  assert.equal(failed.result.error.message, 'item 1: must be a number');
  assert.equal(failed.result.error.details.node, 'm');
});

test('a loop hands its state on until its condition holds', async () => {
  const body = graph([node('in', 'graph.input'), node('twice', 'number.math'), node('out', 'graph.output')],
    ['in.x', 'twice.a'], ['in.x', 'twice.b'], ['twice.value', 'out.x']);
  const x = [{ name: 'x', ...number }];
  const record = await finished(t, await start(t, graph([node('l', 'loop', { params: { until: 'x > 100' }, ports: { in: x, out: x }, graph: body, inputs: { x: 3 } })])));
  assert.deepEqual(record.result.outputs.l, { iterations: 6, converged: true, x: 192 });
});

test('what is wrong at any depth is told at once, with where it is', async () => {
  const wrong = { graph: graph([map([1], { graph: graph([node('a', 'no.such'), node('s', 'subgraph', { graph: graph([node('b', 'nor.this')]) })]) }),
    node('l', 'loop', { params: { until: 'y >' }, graph: graph([]) })]) };
  const { body } = await api(t, 'member', 'POST', '/api/v1/canvases/validate', wrong);
  const told = problems({ body }).map((p) => `${p.node} ${p.path} ${p.message}`);
  for (const one of [
    'm/a $.graph.nodes[0].data.graph.nodes[0] unknown node type "no.such"',
    'm/s/b $.graph.nodes[0].data.graph.nodes[1].data.graph.nodes[0] unknown node type "nor.this"',
    'l $.graph.nodes[1].data.params.until the condition cannot be read: column 1: there is no "y" here, only iteration',
  ]) assert.ok(told.includes(one), `${one} is not among\n${told.join('\n')}`);
});

test('a gate waits, is answered by who may, and only for what was shown', async () => {
  const run = await start(t, gate({ prompt: 'Seven?' }));
  const asked = await waiting(run, 'g');
  assert.equal(asked.kind, 'gate');
  assert.deepEqual(asked.shown, { prompt: 'Seven?', value: 7 });
  assert.deepEqual(asked.decisions, ['approve', 'reject']);
  const yes = { node: 'g', decision: 'approve', hash: asked.hash, comment: 'yes' };

  refused(await approve(run, yes, 'viewer'), 403, 'FORBIDDEN');
  refused(await approve(run, yes, 'other'), 404, 'NOT_FOUND');
  refused(await approve('00000000-0000-7000-8000-000000000000', yes), 404, 'NOT_FOUND');
  refused(await approve(run, { ...yes, node: 'n' }), 409, 'RUN_NOT_APPROVABLE');
  refused(await approve(run, { ...yes, hash: 'f'.repeat(64) }), 409, 'CONFLICT');
  assert.deepEqual(problems(await approve(run, { decision: 'maybe', extra: 1 })).map((p) => p.path).sort(),
    ['$.decision', '$.extra', '$.hash', '$.node']);
  assert.deepEqual(problems(await approve(run, { ...yes, decision: 'retry' })).map((p) => p.path), ['$.decision']);
  assert.deepEqual(problems(await approve(run, { ...yes, fields: { x: 1 } })).map((p) => p.path), ['$.fields.x']);

  // The same answer from several at once is one answer.
  const all = await Promise.all([1, 2, 3, 4].map(() => approve(run, yes)));
  for (const a of all) assert.deepEqual([a.status, a.body], [200, { run_id: run, node: 'g', decision: 'approve' }]);
  const record = await finished(t, run);
  assert.equal(record.status, 'done');
  assert.equal(record.waiting_for, undefined);
  assert.equal(record.result.outputs.next.value, 8);
  assert.equal((await approve(run, yes)).status, 200);
  refused(await approve(run, { ...yes, decision: 'reject' }), 409, 'CONFLICT');
});

test('of an approval and a rejection at once, one holds', async () => {
  for (let i = 0; i < 5; i++) {
    const run = await start(t, gate({ prompt: `${i}` }));
    const { hash } = await waiting(run, 'g');
    const [a, b] = await Promise.all(['approve', 'reject'].map((decision) => approve(run, { node: 'g', decision, hash })));
    assert.deepEqual([a.status, b.status].sort(), [200, 409]);
    assert.equal((await finished(t, run)).status, a.status === 200 ? 'done' : 'failed');
  }
});

test('fields that a person fills in are typed', async () => {
  const run = await start(t, gate({}, { form: [{ name: 'grade', type: 'number', required: true }, { name: 'note', type: 'string' }] }));
  const { hash, form } = await waiting(run, 'g');
  assert.deepEqual(form, [{ name: 'grade', type: 'number', required: true }, { name: 'note', type: 'string' }]);
  const answer = { node: 'g', decision: 'approve', hash };
  assert.deepEqual(problems(await approve(run, { ...answer, fields: { note: 3 } })).map((p) => p.path).sort(), ['$.fields.grade', '$.fields.note']);
  assert.equal((await approve(run, { ...answer, fields: { grade: 2 } })).status, 200);
  const { result } = await finished(t, run);
  assert.deepEqual(result.outputs.g, { value: 7, approved: true, comment: '', grade: 2 });
});

test('JSON of the form of a medium names no blob', async () => {
  // A file of another organisation, whose hash somebody got to know.
  const bytes = 'nobody else may read this';
  const made = await t.server.request('POST', '/api/v1/files', { body: bytes, headers: { 'content-type': 'video/mp4', 'x-filename': 'theirs.mp4' }, auth: t.people.other });
  assert.equal(made.status, 201);
  const medium = { kind: 'video', sha256: JSON.parse(made.bytes).sha256, content_type: 'video/mp4', bytes: bytes.length, name: 'x' };
  const run = await start(t, gate({ expires_sec: 600 }, { form: [{ name: 'f', type: 'json' }] }));
  const { hash } = await waiting(run, 'g');
  assert.equal((await approve(run, { node: 'g', decision: 'approve', hash, fields: { f: medium } })).status, 200);
  assert.equal((await finished(t, run)).status, 'done');
  assert.deepEqual((await api(t, 'member', 'GET', `/api/v1/runs/${run}`)).body.result.outputs.g.f, medium);
  refused(await api(t, 'member', 'GET', `/api/v1/runs/${run}/nodes/g/outputs/f/content`), 404, 'NOT_FOUND');
});

test('a cancelled run has nothing left to answer', async () => {
  const run = await start(t, gate());
  const { hash } = await waiting(run, 'g');
  await api(t, 'member', 'POST', `/api/v1/runs/${run}/cancel`);
  assert.equal((await finished(t, run)).status, 'cancelled');
  refused(await approve(run, { node: 'g', decision: 'approve', hash }), 409, 'RUN_NOT_APPROVABLE');
});

test('a question that nobody answers expires', async () => {
  const run = await start(t, gate({ expires_sec: 1 }));
  const { hash } = await waiting(run, 'g');
  const record = await finished(t, run);
  assert.equal(record.status, 'failed');
  assert.equal(record.result.error.code, 'EXPIRED');
  refused(await approve(run, { node: 'g', decision: 'approve', hash }), 409, 'EXPIRED');
});

for (const signal of ['SIGTERM', 'SIGKILL'])
  test(`a question outlives a server that is ended by ${signal}`, async () => {
    const run = await start(t, gate({ prompt: 'still there?' }));
    const before = await waiting(run, 'g');
    await t.server.kill(signal);
    const check = spawnSync(program, ['check', '--deep', '--data', t.data], { encoding: 'utf8' });
    assert.equal(check.status, 0, check.stdout + check.stderr);
    await t.restart();
    const asked = await waiting(run, 'g');
    assert.deepEqual(asked, before);
    assert.equal((await approve(run, { node: 'g', decision: 'approve', hash: asked.hash })).status, 200);
    assert.equal((await finished(t, run)).result.outputs.next.value, 8);
  });

const docs = (text) => [...text.matchAll(/```json\n([\s\S]*?)```/g)].map((m) => JSON.parse(m[1]));

test('clips go through a map, and what is made of each can be fetched', async (context) => {
  const files = [1, 3].map((seconds) => clip(t.data, seconds));
  if (!files[0]) return context.skip('there is no ffmpeg');
  const [, clips] = docs(fs.readFileSync(new URL('../../docs/control-nodes.md', import.meta.url), 'utf8'));
  for (const [i, file] of files.entries()) {
    const up = await t.server.request('POST', '/api/v1/files', { body: fs.readFileSync(file), headers: { 'content-type': 'video/mp4', 'x-filename': `${i}.mp4` } });
    assert.equal(up.status, 201);
    clips.nodes[i].data.params.file = JSON.parse(up.bytes).id;
  }
  const record = await finished(t, await start(t, clips));
  assert.equal(record.status, 'done', JSON.stringify(record.result));
  const { seconds, sheet, errors } = record.result.outputs.m;
  assert.deepEqual([seconds.map(Math.round), errors], [[1, 3], []]);
  assert.deepEqual(sheet.map((s) => s.kind), ['image', 'image']);
  assert.notEqual(sheet[0].sha256, sheet[1].sha256);
  const content = (path, auth = t.people.viewer) => t.server.request('GET', `/api/v1/runs/${record.id}/nodes/${path}/content`, { auth });
  for (const i of [0, 1]) {
    assert.equal(record.nodes[`m#${i}/sheet`].status, 'done');
    const got = await content(`m%23${i}/sheet/outputs/image`);
    assert.equal(got.status, 200);
    assert.equal(got.headers['content-type'], 'image/png');
    assert.equal(crypto.createHash('sha256').update(got.bytes).digest('hex'), sheet[i].sha256);
  }
  for (const path of ['m/outputs/sheet', 'm%230/probe/outputs/info', 'm%232/sheet/outputs/image']) assert.equal((await content(path)).status, 404, path);
  assert.equal((await content('m%230/sheet/outputs/image', t.people.other)).status, 404);

  const again = await finished(t, await start(t, clips));
  assert.equal(again.nodes.m.cached, true);
  clips.edges.reverse(); // the other way round: the map runs anew, over what is there
  const turned = await finished(t, await start(t, clips));
  assert.deepEqual(turned.result.outputs.m.sheet, sheet.toReversed());
  assert.deepEqual([turned.nodes.m.cached ?? false, turned.nodes['m#0/sheet'].cached], [false, true]);

  // What the list tells is no picture to go on with, and no list goes where clips do.
  clips.nodes.push(node('more', 'map', { ports: { in: [{ name: 'item', type: 'image' }] }, graph: graph([]) }));
  clips.edges.push(edge('m.sheet', 'more.each'), edge('m.seconds', 'm.items'));
  const told = problems(await api(t, 'member', 'POST', '/api/v1/canvases/validate', { graph: clips })).map((p) => p.message);
  assert.ok(told.includes('m.sheet gives json, but more.each takes image'), told.join('\n'));
  assert.ok(told.includes('"m" has no input "items"'), told.join('\n'));
});

test('the graphs in docs/control-nodes.md do what it says of them', async () => {
  const text = fs.readFileSync(new URL('../../docs/control-nodes.md', import.meta.url), 'utf8');
  const [each, , until, either, ask] = docs(text);
  const outputs = async (g) => (await finished(t, await start(t, g))).result.outputs;
  assert.deepEqual((await outputs(each)).m, { y: [4, 2, 3], errors: [] });
  assert.deepEqual((await outputs(until)).fix, { iterations: 6, converged: true, x: 192 });
  assert.equal((await outputs(either)).either.value, 107);
  const run = await start(t, ask);
  const { hash } = await waiting(run, 'ok');
  assert.equal((await approve(run, { node: 'ok', decision: 'approve', hash, fields: { grade: 2 } })).status, 200);
  assert.deepEqual((await finished(t, run)).result.outputs.ok, { value: 7, approved: true, comment: '', grade: 2 });
});
