// Control nodes over HTTP: maps, loops, branches and groups; gates that people answer.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { api, finished, program, problems, refused, setUp, start } from './lib.mjs';

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
  const types = body.items.map((i) => i.type);
  for (const type of ['gate', 'loop', 'map', 'merge', 'subgraph', 'switch']) assert.ok(types.includes(type), type);
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

test('the graphs in docs/control-nodes.md do what it says of them', async () => {
  const text = fs.readFileSync(new URL('../../docs/control-nodes.md', import.meta.url), 'utf8');
  const [each, until, either, ask] = [...text.matchAll(/```json\n([\s\S]*?)```/g)].map((m) => JSON.parse(m[1]));
  const outputs = async (g) => (await finished(t, await start(t, g))).result.outputs;
  assert.deepEqual((await outputs(each)).m, { y: [4, 2, 3], errors: [] });
  assert.deepEqual((await outputs(until)).fix, { iterations: 6, converged: true, x: 192 });
  assert.equal((await outputs(either)).either.value, 107);
  const run = await start(t, ask);
  const { hash } = await waiting(run, 'ok');
  assert.equal((await approve(run, { node: 'ok', decision: 'approve', hash, fields: { grade: 2 } })).status, 200);
  assert.deepEqual((await finished(t, run)).result.outputs.ok, { value: 7, approved: true, comment: '', grade: 2 });
});
