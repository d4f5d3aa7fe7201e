// Graphs as documents: kept as they were sent and once, run from a canvas or on their own, waited for or not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { api, canvas, counting, events, finished, problems, refused, setUp, small } from './lib.mjs';
import { talos } from '../crash/server.mjs';

let t;
before(async () => { t = await setUp('documents'); });
after(() => t.end());

test('a graph is answered as it was sent', async () => {
  const graph = '{ "edges": [], "viewport": {"zoom": 1.50, "x": 1e2}, "nodes": [ {"id": "\\u00e9", "type": "input.text"} ] }';
  const headers = { 'content-type': 'application/json' };
  const made = await t.server.request('POST', '/api/v1/canvases', { body: `{ "graph" : ${graph} , "name":"as sent" }`, headers });
  assert.equal(made.status, 201, made.bytes.toString());
  assert.ok(made.bytes.toString().includes(`"graph":${graph}`));
  const got = await t.server.request('GET', made.headers.location);
  assert.deepEqual(got.bytes, made.bytes);
  const head = JSON.parse(got.bytes);
  assert.equal(head.name, 'as sent');
  assert.equal(head.node_count, 1);
  for (const body of ['{"graph":{"nodes":[],"edges":[]},"graph":{}}', `{"graph":${graph}`, `{"graph":${graph}} x`, '{"graph":{"nodes":[],"edges":[],}}', '[1]', '"x"', '{"name":"\\ud800"}'])
    assert.equal((await t.server.request('POST', '/api/v1/canvases', { body, headers })).status, 400, body);
  refused(await api(t, 'member', 'POST', '/api/v1/canvases', { graph: [], name: 7, colour: 'red' }), 400, 'VALIDATION_ERROR');
});

test('a run is waited for, from a canvas and without one', async () => {
  const { id } = await canvas(t, small());
  for (const [url, more] of [[`/api/v1/canvases/${id}/runs`, {}], ['/api/v1/runs', { graph: small() }]]) {
    for (let again = 0; again < 2; again++) {
      const ended = await api(t, 'member', 'POST', url, { ...more, async_mode: false });
      assert.equal(ended.status, 200, ended.text);
      assert.equal(ended.body.status, 'done');
      assert.ok(Array.isArray(ended.body.result.outputs.read.emotion_curve));
      const record = await finished(t, ended.body.run_id);
      assert.deepEqual(record.result, ended.body.result);
      assert.equal(record.kind, 'canvas');
      assert.equal(record.canvas_id, more.graph ? undefined : id);
      assert.equal((await events(t, `/api/v1/runs/${ended.body.run_id}/stream`)).at(-1).type, 'run.completed');
    }
    const queued = await api(t, 'member', 'POST', url, { ...more, targets: ['text'] });
    assert.equal(queued.status, 202);
    assert.deepEqual(Object.keys((await finished(t, queued.body.run_id)).result.outputs), ['text']);
    refused(await api(t, 'viewer', 'POST', url, more), 403, 'FORBIDDEN');
    for (const wrong of [{ async_mode: 'no' }, { targets: ['nobody'] }, { targets: 'text' }, { mode: 'fast' }])
      refused(await api(t, 'member', 'POST', url, { ...more, ...wrong }), 400, 'VALIDATION_ERROR');
  }
});

test('what is wrong with a graph on its own is told in the words of the body', async () => {
  const graph = { nodes: [{ id: 'a', type: 'no.such' }, { id: 'b', type: 'text.analyze' }], edges: [] };
  for (const [more, path] of [[{}, '$.graph.nodes[0]'], [{ targets: ['z'] }, '$.targets']]) {
    const answer = await api(t, 'member', 'POST', '/api/v1/runs', { graph, ...more });
    refused(answer, 400, 'VALIDATION_ERROR');
    assert.ok(problems(answer).some((p) => p.path === path), JSON.stringify(problems(answer)));
  }
  for (const body of [{}, { graph: null }, { graph: 'x' }, { graph: [] }, { graph: { nodes: [] } }])
    refused(await api(t, 'member', 'POST', '/api/v1/runs', body), 400, 'VALIDATION_ERROR');
});

test('an Idempotency-Key names one run of a graph on its own', async () => {
  const headers = { 'idempotency-key': 'graph-1' };
  const all = await Promise.all(counting(1, 4).map(() => api(t, 'member', 'POST', '/api/v1/runs', { graph: small() }, headers)));
  assert.equal(new Set(all.map((a) => a.body.run_id)).size, 1);
  refused(await api(t, 'member', 'POST', '/api/v1/runs', { graph: { nodes: [], edges: [] } }, headers), 409, 'CONFLICT');
});

test('a run outlives its canvas', async () => {
  const made = await canvas(t, small());
  const run = await api(t, 'member', 'POST', `/api/v1/canvases/${made.id}/runs`, { async_mode: false });
  assert.equal((await api(t, 'member', 'DELETE', `/api/v1/canvases/${made.id}`)).status, 204);
  assert.equal((await finished(t, run.body.run_id)).status, 'done');
  refused(await api(t, 'member', 'POST', `/api/v1/canvases/${made.id}/runs`, {}), 404, 'NOT_FOUND');
});

test('who saves a canvas does not disturb who runs it', async () => {
  const graph = (n) => ({ nodes: [{ id: 'a', type: 'input.number', data: { params: { value: n } } }], edges: [] });
  const { id } = await canvas(t, graph(0));
  await Promise.all(counting(1, 8).map(async (who) => {
    for (let i = 0; i < 12; i++) {
      const saves = who > 6;
      const answer = saves ? await api(t, 'member', 'PUT', `/api/v1/canvases/${id}`, { graph: graph(100 * who + i) })
        : await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, { async_mode: false }, i % 2 ? { 'idempotency-key': `${who}-${i}` } : {});
      assert.equal(answer.status, 200, answer.text);
      if (!saves) assert.equal(answer.body.status, 'done');
    }
  }));
});

test('the store checks well afterwards', async () => {
  await t.server.stop();
  const checked = talos(['check', '--deep', '--data', t.data]);
  assert.equal(checked.status, 0, checked.stdout + checked.stderr);
});
