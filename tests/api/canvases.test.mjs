// Canvases: storing, changing, checking and running graphs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { api, canvas, counting, events, finished, problems, refused, seqs, setUp, small, start } from './lib.mjs';

let t;
before(async () => { t = await setUp('canvases'); });
after(() => t.end());

test('a canvas is made, read, changed and taken away', async () => {
  const made = await api(t, 'member', 'POST', '/api/v1/canvases', { name: '한 장면', graph: small() });
  assert.equal(made.status, 201);
  assert.equal(made.headers.etag, '"1"');
  assert.equal(made.headers.location, `/api/v1/canvases/${made.body.id}`);
  assert.deepEqual(made.body.graph, small());
  const url = made.headers.location;

  const got = await api(t, 'viewer', 'GET', url);
  assert.equal(got.headers.etag, '"1"');
  assert.deepEqual(got.body, made.body);
  assert.equal((await api(t, 'viewer', 'GET', url, undefined, { 'if-none-match': '"1"' })).status, 304);

  const renamed = await api(t, 'member', 'PATCH', url, { name: '다른 장면' }, { 'if-match': '"1"' });
  assert.equal(renamed.status, 200);
  assert.equal(renamed.headers.etag, '"2"');
  refused(await api(t, 'member', 'PUT', url, { graph: { nodes: [], edges: [] } }, { 'if-match': '"1"' }), 412, 'CONFLICT');
  refused(await api(t, 'member', 'DELETE', url, undefined, { 'if-match': '"1"' }), 412, 'CONFLICT');
  assert.deepEqual((await api(t, 'member', 'GET', url)).body.graph, small(), 'a refused change changes nothing');

  const replaced = await api(t, 'member', 'PUT', url, { graph: { nodes: [], edges: [], viewport: { zoom: 2 } } }, { 'if-match': '"9", "2"' });
  assert.equal(replaced.status, 200);
  assert.equal(replaced.body.name, '다른 장면');
  assert.deepEqual((await api(t, 'member', 'GET', url)).body.graph, { nodes: [], edges: [], viewport: { zoom: 2 } });

  assert.equal((await api(t, 'member', 'DELETE', url, undefined, { 'if-match': '*' })).status, 204);
  refused(await api(t, 'member', 'GET', url), 404, 'NOT_FOUND');
  refused(await api(t, 'member', 'PUT', url, { graph: small() }), 404, 'NOT_FOUND');
  refused(await api(t, 'member', 'DELETE', url), 404, 'NOT_FOUND');
});

test('two who change at once: one is told', async () => {
  const { id } = await canvas(t, small());
  const all = await Promise.all(counting(1, 8).map((i) => api(t, 'member', 'PATCH', `/api/v1/canvases/${id}`, { name: `n${i}` }, { 'if-match': '"1"' })));
  assert.deepEqual(all.map((a) => a.status).sort(), [200, 412, 412, 412, 412, 412, 412, 412]);
});

test('lists go page by page, newest first, without graphs', async () => {
  const mine = [];
  for (const i of counting(1, 5)) mine.unshift((await canvas(t, small(), 'other', `c${i}`)).id);
  const seen = [];
  for (let cursor = ''; cursor !== null;) {
    const page = await api(t, 'other', 'GET', `/api/v1/canvases?limit=2${cursor && `&cursor=${cursor}`}`);
    assert.equal(page.status, 200);
    assert.ok(page.body.items.length <= 2);
    assert.ok(page.body.items.every((c) => c.graph === undefined && c.node_count === 2));
    seen.push(...page.body.items.map((c) => c.id));
    cursor = page.body.next_cursor;
  }
  assert.deepEqual(seen, mine);
  for (const query of ['limit=0', 'limit=201', 'limit=x', 'limit=-1', 'cursor=zz', 'nosuch=1'])
    assert.equal(problems(await api(t, 'other', 'GET', `/api/v1/canvases?${query}`)).length, 1, query);
});

test('what is no graph is refused with every problem, what is incomplete is kept', async () => {
  const bad = {
    name: 7,
    extra: true,
    graph: { nodes: [{ id: 'a', type: 'input.text' }, { id: 'a', type: 'input.text' }, { type: 'x' }], edges: [{ source: 'a', target: 'nowhere' }] },
  };
  const answer = await api(t, 'member', 'POST', '/api/v1/canvases', bad);
  refused(answer, 400, 'VALIDATION_ERROR');
  const paths = problems(answer).map((p) => p.path);
  for (const path of ['$.name', '$.extra']) assert.ok(paths.includes(path), `${path} in ${paths}`);
  assert.ok(paths.some((p) => p?.startsWith('$.graph.nodes[1]')) && paths.every((p) => !p || /^\$\.(name|extra|graph)\b/.test(p)), `paths into the body: ${paths}`);
  assert.ok(problems(answer).length >= 5, JSON.stringify(problems(answer)));
  for (const body of ['', '[]', '"x"', '{', '{"a":1,"a":2}', '{"name":"\xff"}', '{"name":NaN}', `${'['.repeat(70)}${']'.repeat(70)}`]) {
    const raw = await t.server.request('POST', '/api/v1/canvases', { body: Buffer.from(body, 'latin1') });
    assert.equal(raw.status, 400, body);
    assert.equal(JSON.parse(raw.bytes).error.code, 'VALIDATION_ERROR');
  }
  const unknown = { nodes: [{ id: 'a', type: 'no.such.op' }, { id: 'b', type: 'text.analyze', data: { params: { nope: 1 } } }], edges: [] };
  const { id } = await canvas(t, unknown);
  const checked = await api(t, 'viewer', 'POST', '/api/v1/canvases/validate', { graph: unknown });
  assert.equal(checked.status, 200);
  assert.equal(checked.body.ok, false);
  assert.deepEqual(new Set(checked.body.problems.map((p) => p.node)), new Set(['a', 'b']));
  const run = await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, {});
  refused(run, 400, 'VALIDATION_ERROR');
  assert.deepEqual(problems(run), checked.body.problems);
  assert.ok(problems(run).every((p) => p.path.startsWith('$.graph.nodes[')), JSON.stringify(problems(run)));
  assert.equal(problems(await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, { targets: ['x'] })).find((p) => p.node === 'x')?.path, '$.targets');
  // As people edit: a cycle and keys that mean nothing are kept too.
  await canvas(t, { nodes: [{ id: 'a', type: 'text.analyze', data: { odd: 1 } }], edges: [{ id: 'e', source: 'a', sourceHandle: 'facts', target: 'a', targetHandle: 'text' }] });
  assert.deepEqual((await api(t, 'viewer', 'POST', '/api/v1/canvases/validate', { graph: small() })).body, { problems: [], ok: true });
  refused(await api(t, 'viewer', 'POST', '/api/v1/canvases/validate', {}), 400, 'VALIDATION_ERROR');
});

test('cycles, wide graphs, deep graphs', async () => {
  const ring = small();
  ring.nodes.push({ id: 'again', type: 'text.analyze' });
  ring.edges.push({ source: 'read', sourceHandle: 'scene_summary', target: 'again', targetHandle: 'text' }, { source: 'again', sourceHandle: 'scene_summary', target: 'again', targetHandle: 'text' });
  assert.equal((await api(t, 'viewer', 'POST', '/api/v1/canvases/validate', { graph: ring })).body.ok, false);
  const many = { nodes: counting(1, 100001).map((i) => ({ id: `n${i}`, type: 'input.number' })), edges: [] };
  refused(await api(t, 'member', 'POST', '/api/v1/canvases', { graph: many }), 400, 'VALIDATION_ERROR');
  const deep = `{"graph":{"nodes":${'['.repeat(10000)}${']'.repeat(10000)},"edges":[]}}`;
  const answer = await t.server.request('POST', '/api/v1/canvases', { body: deep });
  assert.equal(answer.status, 400);
});

test('a canvas runs, whole and by targets', async () => {
  const run = await start(t, small());
  const all = await events(t, `/api/v1/runs/${run}/stream`);
  assert.deepEqual(seqs(all), counting(1, all.length));
  assert.equal(all[0].type, 'run.queued');
  assert.equal(all.at(-1).type, 'run.completed');
  assert.ok(Array.isArray(all.at(-1).payload.outputs.read.emotion_curve));
  const record = await finished(t, run);
  assert.equal(record.status, 'done');
  assert.equal(record.last_seq, all.length);
  assert.deepEqual(record.result, all.at(-1).payload);
  const { id } = await canvas(t, small());
  const part = await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, { targets: ['text'] });
  assert.deepEqual(Object.keys((await finished(t, part.body.run_id)).result.outputs), ['text']);
  for (const body of [{ targets: ['nobody'] }, { targets: 'text' }, { targets: [1] }, { mode: 'fast' }])
    refused(await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, body), 400, 'VALIDATION_ERROR');
  const listed = await api(t, 'viewer', 'GET', '/api/v1/runs?status=done&limit=1');
  assert.equal(listed.body.items.length, 1);
  refused(await api(t, 'viewer', 'GET', '/api/v1/runs?status=odd'), 400, 'VALIDATION_ERROR');
});

test('a template becomes a canvas', async () => {
  const { body } = await api(t, 'viewer', 'GET', '/api/v1/templates');
  const ids = body.items.map((x) => x.id);
  assert.ok(ids.includes('script-only'), ids.join());
  const one = await api(t, 'viewer', 'GET', '/api/v1/templates/script-only');
  const made = await api(t, 'member', 'POST', '/api/v1/templates/script-only/instantiate', { name: '내 것', inputs: { 'script.text': '조용한 아침.' } });
  assert.equal(made.status, 201, made.text);
  assert.equal(made.body.name, '내 것');
  assert.equal(made.body.graph.nodes.length, one.body.graph.nodes.length);
  assert.equal(made.body.graph.nodes.find((n) => n.id === 'script').data.params.text, '조용한 아침.');
  assert.equal((await api(t, 'member', 'POST', '/api/v1/templates/script-only/instantiate')).status, 201);
  const bad = await api(t, 'member', 'POST', '/api/v1/templates/script-only/instantiate', { inputs: { 'nobody.text': 1, plain: 2 }, nope: 1 });
  refused(bad, 400, 'VALIDATION_ERROR');
  assert.equal(problems(bad).length, 3);
  refused(await api(t, 'member', 'POST', '/api/v1/templates/nosuch/instantiate', {}), 404, 'NOT_FOUND');
  refused(await api(t, 'viewer', 'GET', '/api/v1/templates/nosuch'), 404, 'NOT_FOUND');
});
