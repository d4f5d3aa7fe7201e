// Runs as they are asked for: priority, budget, dry runs, why a node ran; journals that retention has cut; every problem of a graph at once.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { api, canvas, counting, events, finished, problems, refused, seqs, setUp, small, socket, start } from './lib.mjs';
import { talos } from '../crash/server.mjs';

// A language model that takes 350 tokens a question.
const model = http.createServer(async (req, res) => {
  for await (const part of req) void part;
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  res.end('data: {"choices":[{"delta":{"content":"{\\"valence\\":-1,\\"arousal\\":1,\\"rain\\":1,\\"class\\":1}"}}]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":300,"completion_tokens":50}}\n\ndata: [DONE]\n\n');
});
let t;
before(async () => {
  await new Promise((done) => model.listen(0, '127.0.0.1', done));
  t = await setUp('runs', { env: { TALOS_LLM_URL: `http://127.0.0.1:${model.address().port}/v1`, TALOS_LLM_MODEL: 'tiny', TALOS_LLM_USD_PER_MTOK_IN: '2', TALOS_LLM_USD_PER_MTOK_OUT: '10' } });
});
after(async () => {
  await t.end();
  model.close();
});

const node = (id, type, data = {}) => ({ id, type, data });
const edge = (source, sourceHandle, target, targetHandle) => ({ source, sourceHandle, target, targetHandle });
const numbers = (value, b = 1) => ({
  nodes: [node('n', 'input.number', { params: { value } }), node('sum', 'number.math', { inputs: { b } }), node('twice', 'number.math', { inputs: { b: 2 }, params: { op: 'multiply' } })],
  edges: [edge('n', 'value', 'sum', 'a'), edge('sum', 'value', 'twice', 'a')],
});
// Capsules, each of which asks the model once.
const asking = (scene, count) => ({
  nodes: counting(1, count).map((i) => node(`c${i}`, 'capsule', { capsuleId: 'auteur.bong-joon-ho', capsuleVersion: '1.0.0', inputs: { scene_summary: `${scene} ${i}`, duration_sec: 12 } })),
  edges: [],
});
const post = (body, headers) => api(t, 'member', 'POST', '/api/v1/runs', body, headers);
const runs = async () => (await api(t, 'member', 'GET', '/api/v1/runs?limit=200')).body.items.length;
const why = (run, step, who = 'viewer', headers = {}) => api(t, who, 'GET', `/api/v1/runs/${run}/nodes/${encodeURIComponent(step)}/why`, undefined, headers);
const waited = async (graph, more = {}) => {
  const answer = await post({ graph, async_mode: false, ...more });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
};

test('options of the wrong form are told at once, and unknown ones', async () => {
  const { id } = await canvas(t, small());
  const wrong = { targets: 'x', async_mode: 1, priority: 'urgent', budget: { cost_usd: 0, tokens: 1.5, seconds: '9', euros: 1 }, dry_run: 'yes', speed: 9 };
  for (const [url, more] of [[`/api/v1/canvases/${id}/runs`, {}], ['/api/v1/runs', { graph: small() }]]) {
    const answer = await api(t, 'member', 'POST', url, { ...more, ...wrong });
    refused(answer, 400, 'VALIDATION_ERROR');
    const paths = problems(answer).map((p) => p.path);
    for (const path of ['$.targets', '$.async_mode', '$.priority', '$.budget.cost_usd', '$.budget.tokens', '$.budget.seconds', '$.budget.euros', '$.dry_run', '$.speed'])
      assert.ok(paths.includes(path), `${path} in ${paths}`);
    for (const one of [{ budget: 5 }, { budget: [] }, { priority: 1 }, { priority: null }, { dry_run: null }, { budget: { tokens: 1e300 } }])
      refused(await api(t, 'member', 'POST', url, { ...more, ...one }), 400, 'VALIDATION_ERROR');
    refused(await api(t, 'viewer', 'POST', url, { ...more, dry_run: true }), 403, 'FORBIDDEN');
  }
});

test('a dry run says what would happen, and nothing happens', async () => {
  const graph = numbers(3);
  const { id } = await canvas(t, graph);
  const dry = (more = {}) => api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, { dry_run: true, ...more });
  const count = await runs();
  const first = await dry();
  assert.equal(first.status, 200, first.text);
  assert.equal(first.body.ok, true);
  assert.deepEqual(first.body.problems, []);
  assert.deepEqual(first.body.order, ['n', 'sum', 'twice']);
  assert.deepEqual(first.body.cached, []);
  assert.equal(first.body.budget_exceeded, false);
  assert.equal(first.body.estimate.nodes_to_run, 3);
  assert.deepEqual((await dry({ targets: ['sum'] })).body.order, ['n', 'sum']);
  assert.equal(await runs(), count, 'nothing was started');
  await waited(graph, { targets: ['sum'] });
  const second = await dry();
  assert.deepEqual(second.body.cached, ['n', 'sum']);
  assert.equal(second.body.estimate.nodes_to_run, 1);
  const broken = await post({ graph: { nodes: [node('a', 'no.such')], edges: [] }, dry_run: true });
  assert.equal(broken.status, 200, broken.text);
  assert.equal(broken.body.ok, false);
  assert.equal(broken.body.order, undefined);
  assert.deepEqual(problems(broken), problems(await post({ graph: { nodes: [node('a', 'no.such')], edges: [] } })));
  assert.equal((await dry({ targets: ['nobody'] })).body.ok, false);
  refused(await api(t, 'other', 'POST', `/api/v1/canvases/${id}/runs`, { dry_run: true }), 404, 'NOT_FOUND');
});

test('a budget holds while the run runs, and before it once there is history', async () => {
  const stopped = await waited(asking('Tea is made.', 2), { budget: { tokens: 400 }, priority: 'low' });
  assert.equal(stopped.status, 'failed');
  assert.equal(stopped.result.error.code, 'BUDGET_EXCEEDED');
  assert.match(stopped.result.error.message, /tokens/);
  const record = (await api(t, 'member', 'GET', `/api/v1/runs/${stopped.run_id}`)).body;
  assert.equal(record.budget_tokens, 400);
  assert.equal(record.priority, -1);

  assert.equal((await waited(asking('Water boils.', 1))).result.token_usage.total, 350); // the history of the kind
  const count = await runs();
  const graph = asking('Coffee is made.', 3);
  for (const [budget, what] of [[{ tokens: 400 }, /tokens of the 400/], [{ cost_usd: 0.001 }, /USD of the 0.001/], [{ seconds: 1e-9, tokens: 1 }, /seconds.*tokens/]]) {
    const said = refused(await post({ graph, budget }), 409, 'BUDGET_EXCEEDED').message;
    assert.match(said, what);
    const dry = await post({ graph, budget, dry_run: true });
    assert.equal(dry.status, 200, dry.text);
    assert.equal(dry.body.budget_exceeded, true);
    assert.equal(dry.body.message, said);
    assert.ok(dry.body.estimate.tokens >= 1050 && dry.body.estimate.cost_usd > 0.003, dry.text);
  }
  assert.equal(await runs(), count, 'none was started');
  const done = await waited(graph, { budget: { tokens: 2000, cost_usd: 1, seconds: 3600 }, priority: 'high' });
  assert.equal(done.status, 'done');
  assert.equal(done.result.token_usage.total, 1050);
  const free = numbers(21);
  await waited(free);
  assert.equal((await waited(free, { budget: { seconds: 1e-9, tokens: 1 } })).status, 'done', 'what is there already costs nothing');
});

test('with an Idempotency-Key the run that there is answers, whatever a new one would cost', async () => {
  const headers = { 'idempotency-key': 'dear' };
  const body = { graph: asking('Milk is warmed.', 2), budget: { tokens: 750 } };
  const first = await post(body, headers);
  assert.equal(first.status, 202, first.text);
  await finished(t, first.body.run_id);
  assert.equal((await post(body, headers)).body.run_id, first.body.run_id);
  const refusedKey = { 'idempotency-key': 'too dear' };
  const dear = { graph: asking('Soup is cooked.', 3), budget: { tokens: 10 } };
  refused(await post(dear, refusedKey), 409, 'BUDGET_EXCEEDED');
  assert.equal((await post({ ...dear, budget: { tokens: 5000 } }, refusedKey)).status, 202, 'what was refused is not remembered');
});

test('why a node ran or did not', async () => {
  const first = await waited(numbers(5));
  const second = await waited(numbers(5, 7));
  const [sum, n] = [await why(second.run_id, 'sum'), await why(second.run_id, 'n')];
  assert.equal(sum.status, 200, sum.text);
  assert.equal(sum.body.ran, true);
  assert.equal(sum.body.reason, 'changed');
  assert.equal(sum.body.compared_with, first.run_id);
  assert.deepEqual(sum.body.changes, [{ kind: 'literal', name: 'b', from: 1, to: 7 }]);
  assert.equal(n.body.ran, false);
  assert.equal(n.body.reason, 'cached');
  assert.match(n.body.sentence, /^"n" did not run/);
  for (const [run, step, who] of [[second.run_id, 'nobody', 'viewer'], [second.run_id, 'n', 'other'], ['00000000-0000-7000-8000-000000000000', 'n', 'viewer'], ['x', 'n', 'viewer'], [second.run_id, 'n/sum', 'viewer']])
    refused(await why(run, step, who), 404, 'NOT_FOUND');
  refused(await why(second.run_id, 'n', null), 401, 'AUTH_REQUIRED');

  const inner = { nodes: [node('in', 'graph.input'), node('grade', 'number.math', { inputs: { b: 1 } }), node('out', 'graph.output')], edges: [edge('in', 'item', 'grade', 'a'), edge('grade', 'value', 'out', 'y')] };
  const map = (items) => ({ nodes: [node('map', 'map', { ports: { in: [{ name: 'item', type: 'number' }], out: [{ name: 'y', type: 'number' }] }, graph: inner, inputs: { items } })], edges: [] });
  const mapped = await waited(map([1, 2, 3, 4]));
  const step = await why(mapped.run_id, 'map#3/grade');
  assert.equal(step.status, 200, step.text);
  assert.equal(step.body.node, 'map#3/grade');
  assert.equal(step.body.ran, true);
  refused(await why(mapped.run_id, 'map#4/grade'), 404, 'NOT_FOUND');
});

test('figures of the executor', async () => {
  const text = (await api(t, null, 'GET', '/metrics')).text;
  const figure = (name) => Number(text.match(new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\d+)$`, 'm'))?.[1]);
  assert.ok(figure('talos_nodes_total{end="run"}') >= 10);
  assert.ok(figure('talos_nodes_total{end="cached"}') >= 4);
  assert.ok(figure('talos_result_hits_total') >= 4 && figure('talos_result_misses_total') >= 5);
  assert.equal(figure('talos_retries_total'), 0);
  assert.equal(figure('talos_lost_workers_total'), 0);
  assert.equal(figure('talos_places{class="media"}'), 2);
  assert.equal(figure('talos_places_taken{class="net"}'), 0);
  assert.equal(figure('talos_waiting_steps'), 0);
  const gate = { nodes: [node('g', 'gate', { inputs: { value: 1 } })], edges: [] };
  const run = await start(t, gate);
  for await (const e of t.server.sse(`/api/v1/runs/${run}/stream`))
    if (e.data.includes('"waiting_for"')) break;
  assert.match((await api(t, null, 'GET', '/metrics')).text, /^talos_waiting_steps 1$/m);
  await api(t, 'member', 'POST', `/api/v1/runs/${run}/cancel`, {});
  await finished(t, run);
  assert.match((await api(t, null, 'GET', '/metrics')).text, /^talos_waiting_steps 0$/m);
});

test('every kind of problem of one document, with node, port and path, before anything runs', { timeout: 120_000 }, async () => {
  const nest = (depth) => (depth ? { nodes: [node('s', 'subgraph', { graph: nest(depth - 1) })], edges: [] } : { nodes: [node('end', 'no.such.either')], edges: [] });
  const port = (name) => [{ name, type: 'number' }];
  const through = (from) => ({ nodes: [node('in', 'graph.input'), node('out', 'graph.output')], edges: [edge('in', from, 'out', 'x')] });
  const graph = {
    nodes: [
      node('a', 'number.math'), node('b', 'number.math', { inputs: { b: 1 } }), // 0, 1: a cycle
      node('who', 'no.such'), // 2
      node('n', 'input.number'), node('text', 'input.text'), // 3, 4
      node('lacks', 'text.analyze'), // 5
      node('two', 'number.math', { inputs: { b: 1 } }), // 6
      node('typed', 'number.math', { inputs: { b: 1 } }), // 7
      node('ported', 'number.math', { inputs: { a: 1, b: 1 } }), // 8
      node('items', 'map', { inputs: { items: counting(1, 10001) }, ports: { in: port('item'), out: port('x') }, graph: through('item') }), // 9
      node('loop', 'loop', { params: { until: 'x > 1', max_iter: 101 }, inputs: { x: 1 }, ports: { in: port('x'), out: port('x') }, graph: through('x') }), // 10
      node('deep', 'subgraph', { graph: nest(8) }), // 11
      node('nodes', 'subgraph', { graph: { nodes: [node('odd', 'no.such'), ...counting(0, 100000).map((i) => ({ id: `${i}`, type: 'input.number' }))], edges: [] } }), // 12
      node('edges', 'subgraph', { graph: { nodes: [node('p', 'input.number'), node('q', 'merge'), node('odd', 'no.such')], edges: Array(400001).fill(edge('p', 'value', 'q', 'values')) } }), // 13
      node('c', 'number.math', { inputs: { b: 1 } }), node('d', 'no.such'), // 14, 15: another cycle
    ],
    edges: [
      edge('a', 'value', 'b', 'a'), edge('b', 'value', 'a', 'a'), edge('n', 'value', 'a', 'b'),
      edge('n', 'value', 'two', 'a'), edge('n', 'value', 'two', 'a'), // 3, 4
      edge('text', 'text', 'typed', 'a'), // 5
      edge('n', 'value', 'ported', 'nowhere'), // 6
      edge('c', 'value', 'd', 'a'), edge('d', 'value', 'c', 'a'), // 7, 8
    ],
  };
  const count = await runs();
  const answer = await post({ graph });
  refused(answer, 400, 'VALIDATION_ERROR');
  const told = problems(answer);
  const want = [
    ['a cycle', { node: 'a', path: '$.graph.edges' }, /cycle: "a" → "b" → "a"/],
    ['another cycle', { node: 'c', path: '$.graph.edges' }, /cycle: "c" → "d" → "c"/],
    ['an unknown op', { node: 'who', path: '$.graph.nodes[2]' }, /unknown node type/],
    ['a missing input', { node: 'lacks', port: 'text' }, /./],
    ['two edges into one single port', { node: 'two', port: 'a', path: '$.graph.edges[4]' }, /one edge only/],
    ['types that do not fit', { node: 'typed', port: 'a', path: '$.graph.edges[5]' }, /takes number/],
    ['an unknown port', { node: 'ported', path: '$.graph.edges[6]' }, /nowhere/],
    ['too many items', { node: 'items', port: 'items', path: '$.graph.nodes[9].data.inputs.items' }, /10001 items.*10000/],
    ['too many iterations', { node: 'loop' }, /100/],
    ['nested too deep', { node: `deep${'/s'.repeat(8)}` }, /deeper than 8/],
    ['what is wrong below', { node: `deep${'/s'.repeat(8)}/end` }, /unknown node type/],
    ['a problem in a graph of too many nodes', { node: 'nodes/odd' }, /unknown node type/],
    ['a problem in a graph of too many edges', { node: 'edges/odd' }, /unknown node type/],
    ['too many nodes', { path: '$.graph.nodes[12].data.graph.nodes' }, /100000/],
    ['too many edges', { path: '$.graph.nodes[13].data.graph.edges' }, /400000/],
  ];
  const missing = want.filter(([, fields, message]) => !told.some((p) => Object.entries(fields).every(([k, v]) => p[k] === v) && message.test(p.message)));
  assert.deepEqual(missing.map(([what]) => what), [], JSON.stringify(told, null, 1));
  assert.deepEqual(problems(await api(t, 'member', 'POST', '/api/v1/canvases/validate', { graph })), told);
  assert.equal(await runs(), count);
});

// The last: it starts the server anew, with a retention so short that all that has ended is cut.
test('a journal that retention has cut gives a reset and the ending to whoever comes late', async () => {
  const ids = [await start(t, small()), await start(t, numbers(11))];
  const full = {};
  for (const id of ids) {
    await finished(t, id);
    full[id] = await events(t, `/api/v1/runs/${id}/stream`);
    assert.deepEqual(seqs(full[id]), counting(1, full[id].length));
  }
  const before = (await api(t, 'viewer', 'GET', `/api/v1/runs/${ids[0]}`)).body;
  t.options.env = { ...t.options.env, TALOS_RETENTION: '0.0000001' };
  await t.restart();
  for (const id of ids) {
    const last = full[id].length, ending = full[id].at(-1), url = `/api/v1/runs/${id}/stream`;
    let all;
    do all = await events(t, url); // until the cut has been made, whole
    while (all[0].type !== 'run.reset' && (assert.deepEqual(all, full[id]), true));
    const [reset] = all;
    assert.deepEqual(all, [reset, ending]);
    assert.equal(reset.seq, last - 1);
    assert.equal(reset.payload.reason, 'retention');
    assert.equal(reset.payload.status, 'done');
    assert.equal(reset.payload.progress, 100);
    assert.ok(Object.values(reset.payload.nodes).every((n) => n.status === 'done'), JSON.stringify(reset));
    const want = { 0: [reset, ending], 1: [reset, ending], [last - 2]: [reset, ending], [last - 1]: [ending], [last]: [] };
    for (const [cursor, list] of Object.entries(want)) {
      assert.deepEqual(await events(t, `${url}?after_seq=${cursor}`), list, `SSE after ${cursor}`);
      const ws = await socket(t, `/ws/runs/${id}?after_seq=${cursor}`);
      assert.equal((await ws.closed).code, 1000);
      assert.deepEqual(ws.messages, list, `WebSocket after ${cursor}`);
    }
    refused(await api(t, 'viewer', 'GET', `${url}?after_seq=${last + 1}`), 400, 'VALIDATION_ERROR');
  }
  const cut = (await api(t, 'viewer', 'GET', `/api/v1/runs/${ids[0]}`)).body;
  assert.equal(cut.pruned_before, full[ids[0]].length - 1);
  assert.deepEqual({ ...cut, pruned_before: undefined }, { ...before, pruned_before: undefined });
  const told = await why(ids[0], 'read');
  assert.equal(told.status, 200, told.text);
  await t.server.stop();
  const checked = talos(['check', '--deep', '--data', t.data]);
  assert.equal(checked.status, 0, checked.stdout + checked.stderr);
});
