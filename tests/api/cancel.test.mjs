// Cancel reaches whatever a run is at: it ends within half a second, with one terminal event, and nothing comes after it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { api, canvas, counting, events, script, setUp } from './lib.mjs';

const TIMES = 5;
const WITHIN_MS = 500;

// A destination that answers 503 at /busy, and never elsewhere.
let open = 0;
const outside = http.createServer((req, res) => {
  req.resume();
  if (req.url === '/busy') {
    res.writeHead(503).end();
    return;
  }
  open++;
  res.on('close', () => { open--; });
});
let t;
let conf;

before(async () => {
  await new Promise((done) => outside.listen(0, '127.0.0.1', done));
  conf = `${process.env.TMPDIR ?? '/tmp'}/talos-cancel-${process.pid}.json`;
  const url = `http://127.0.0.1:${outside.address().port}`;
  fs.writeFileSync(conf, JSON.stringify({ busy: { url: `${url}/busy`, honours_idempotency_key: true }, silent: { url: `${url}/silent`, honours_idempotency_key: true } }));
  t = await setUp('cancel', { env: { TALOS_DESTINATIONS: path.resolve(conf) } });
});
after(async () => {
  await t?.end();
  outside.closeAllConnections();
  outside.close();
  fs.rmSync(conf, { force: true });
});

const node = (id, type, data = {}) => ({ id, type, data });
const edge = (source, sourceHandle, target, targetHandle) => ({ source, sourceHandle, target, targetHandle });
const within = (...nodes) => ({ nodes: [node('in', 'graph.input'), ...nodes, node('out', 'graph.output')], edges: [edge('in', 'item', nodes[0].id, nodes[0].type === 'http.post' ? 'body' : 'text')] });
const map = (items, type, body) => ({ nodes: [node('m', 'map', { params: { concurrency: 32 }, inputs: { items }, ports: { in: [{ name: 'item', type }], out: [] }, graph: within(body) })], edges: [] });
const told = (status) => (event) => event.payload.nodes?.some((n) => n.status === status);

// What a run is at when the cancel comes: its graph (anew each time, or what it came to would be found; what computes takes longer than the bound if nobody stops it), and the event that says it is at it.
const cases = {
  'a gate': [(i) => ({ nodes: [node('g', 'gate', { inputs: { value: i } })], edges: [] }), told('waiting')],
  'a retry\'s backoff': [() => ({
    nodes: [node('p', 'http.post', { params: { destination: 'busy' }, inputs: { body: 1 }, policy: { retry: { max_attempts: 5, backoff_ms: [3_600_000] } } })], edges: [],
  }), (event) => /tried again after/.test(JSON.stringify(event))],
  'a map of held work': [() => map(counting(1, 64), 'number', node('p', 'http.post', { params: { destination: 'silent' } })), () => open >= 32],
  'many nodes that compute': [(i) => ({ nodes: counting(1, 20_000).map((k) => node(`n${k}`, 'text.analyze', { inputs: { text: `${script} ${i} ${k}` } })), edges: [] }), told('done')],
  'a map that computes': [(i) => map(counting(1, 10_000).map((k) => `${script.repeat(3)} ${i}, ${k}`), 'string', node('read', 'text.analyze')), told('done')],
  'large texts': [(i) => ({ nodes: counting(1, 160).map((k) => node(`n${k}`, 'text.analyze', { inputs: { text: `${i} ${k} ${script.repeat(400)}` } })), edges: [] }), told('running')],
};

const isEnd = (event) => /^run\.(completed|failed|cancelled)$/.test(event.type);

// Follows a run until it is where it is to be, cancels it there, and follows it to its end. Milliseconds from the request to the time that its terminal event bears.
async function cancelling(graph, isThere) {
  const { id } = await canvas(t, graph);
  const { body: { run_id: run } } = await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, {});
  let asked;
  let answer;
  for await (const { data } of t.server.sse(`/api/v1/runs/${run}/stream`)) {
    const event = JSON.parse(data);
    if (isEnd(event)) {
      assert.ok(asked, `it ended before it was cancelled: ${data.slice(0, 300)}`);
      assert.equal(event.type, 'run.cancelled');
      break;
    }
    if (asked || !isThere(event)) continue;
    asked = Date.now();
    answer = api(t, 'member', 'POST', `/api/v1/runs/${run}/cancel`, {});
  }
  assert.equal((await answer).status, 202);
  const all = await events(t, `/api/v1/runs/${run}/stream`);
  assert.equal(all.filter(isEnd).length, 1);
  assert.equal(all.at(-1).type, 'run.cancelled', 'nothing comes after it');
  return Date.parse(all.at(-1).ts) - asked;
}

for (const [what, [graph, isThere]] of Object.entries(cases))
  test(`cancel reaches ${what}`, { timeout: 60_000 }, async () => {
    const took = [];
    for (let i = 0; i < TIMES; i++) took.push(await cancelling(graph(i), isThere));
    const median = [...took].sort((a, b) => a - b)[TIMES >> 1];
    assert.ok(median <= WITHIN_MS, `${took.join(', ')} ms`);
  });
