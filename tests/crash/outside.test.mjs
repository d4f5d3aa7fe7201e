// Effects outside: a destination that has received a request when the server is killed, one that is slow, too busy, refuses, or goes away. What honours the
// idempotency key is asked again with the same one; what does not is never asked twice without a person.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Server, sleep, talos, tempDir } from './server.mjs';

const SECRET = 'Bearer s3cret-of-the-destination';

// A destination that answers by a script: 'hold' (never), 'drop' (closes without a word), or [status, body, headers]. Requests are kept.
class Destination {
  static async start() {
    const d = new Destination();
    d.requests = [];
    d.script = [];
    d.waiting = [];
    d.server = http.createServer((req, res) => {
      let body = '';
      req.on('data', (part) => { body += part; });
      req.on('end', () => {
        const request = { key: req.headers['idempotency-key'], headers: req.headers, method: req.method, url: req.url, body, closed: new Promise((done) => res.on('close', done)) };
        const answer = d.script.shift() ?? [200, '{"ok":true}', { 'content-type': 'application/json' }];
        d.requests.push(request);
        d.waiting.splice(0).forEach((check) => check());
        if (answer === 'drop') req.socket.destroy();
        else if (answer !== 'hold') res.writeHead(answer[0], answer[2] ?? {}).end(answer[1] ?? '');
      });
    });
    await new Promise((done) => d.server.listen(0, '127.0.0.1', done));
    d.url = `http://127.0.0.1:${d.server.address().port}/in?q=1`;
    return d;
  }

  expect(...script) {
    this.requests = [];
    this.script = script;
  }

  // Resolves with the nth request since expect().
  async request(n) {
    while (this.requests.length < n) await new Promise((done) => this.waiting.push(done));
    return this.requests[n - 1];
  }

  keys() {
    return new Set(this.requests.map((r) => r.key));
  }

  end() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

let work;
let data;
let to;
let server;
let env;

const start = async () => { server = await Server.start({ data, env }); };
async function restart() {
  await server.kill('SIGKILL');
  await start();
}

before(async () => {
  work = tempDir('outside');
  data = path.join(work, 'data');
  to = await Destination.start();
  fs.writeFileSync(path.join(work, 'token'), `${SECRET}\n`);
  const conf = {
    honours: { url: to.url, honours_idempotency_key: true, headers: { Authorization: { file: path.join(work, 'token') }, 'X-From': 'talos' } },
    plain: { url: to.url, honours_idempotency_key: false },
    impatient: { url: to.url, honours_idempotency_key: true, timeout_sec: 0.3 },
    once: { url: to.url, honours_idempotency_key: false, timeout_sec: 0.3 },
    nobody: { url: 'http://127.0.0.1:1/', honours_idempotency_key: false },
  };
  fs.writeFileSync(path.join(work, 'destinations.json'), JSON.stringify(conf));
  env = { TALOS_DESTINATIONS: path.join(work, 'destinations.json') };
  await start();
});

after(async () => {
  assert.equal(await server.stop(), 0);
  to.end();
  const checked = talos(['check', '--deep', '--data', data]);
  assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  fs.rmSync(work, { recursive: true, force: true });
});

const QUICK = { retry: { backoff_ms: [10] } };

// number → post → behind, beside a node that has nothing to do with them.
function graph(destination, policy = QUICK) {
  const nodes = [
    { id: 'number', type: 'input.number', data: { params: { value: 42 } } },
    { id: 'post', type: 'http.post', data: { params: { destination }, policy } },
    { id: 'behind', type: 'number.math', data: { params: { op: 'add' }, inputs: { b: 1 } } },
    { id: 'apart', type: 'number.math', data: { params: { op: 'add' }, inputs: { a: 1, b: 1 } } },
  ];
  const edges = [
    { id: 'e1', source: 'number', sourceHandle: 'value', target: 'post', targetHandle: 'body' },
    { id: 'e2', source: 'post', sourceHandle: 'status', target: 'behind', targetHandle: 'a' },
  ];
  return { nodes, edges };
}

const begin = (destination, policy) => beginGraph(graph(destination, policy));
async function beginGraph(document) {
  const canvas = await server.json('POST', '/api/v1/canvases', { name: 'outside', graph: document });
  assert.equal(canvas.status, 201, canvas.text);
  const run = await server.json('POST', `/api/v1/canvases/${canvas.body.id}/runs`, {});
  assert.equal(run.status, 202, run.text);
  return run.body.run_id;
}

const record = async (run) => (await server.json('GET', `/api/v1/runs/${run}`)).body;

// All events of a run until its end; the record afterwards as the last argument.
async function finish(run) {
  const events = [];
  for await (const { data: text } of server.sse(`/api/v1/runs/${run}/stream`)) {
    events.push(JSON.parse(text));
    if (/^run\.(completed|failed|cancelled)$/.test(events.at(-1).type)) break;
  }
  assert.deepEqual(events.map((e) => e.seq), events.map((_, i) => i + 1));
  assert.equal(JSON.stringify(events).includes('s3cret'), false);
  return { events, last: events.at(-1), record: await record(run) };
}

const outputs = (events, node) => Object.assign({}, ...events.filter((e) => e.type === 'run.partial').flatMap((e) => e.payload.results).filter((r) => r.node === node).map((r) => r.outputs));
const statuses = (events, node) => events.filter((e) => e.type === 'run.progress').flatMap((e) => e.payload.nodes).filter((n) => n.id === node).map((n) => n.status);

// The question that a run waits with; resolves when the events have told of it.
async function question(run) {
  for await (const { data: text } of server.sse(`/api/v1/runs/${run}/stream`)) {
    const event = JSON.parse(text);
    assert.doesNotMatch(event.type, /completed|failed|cancelled/, text);
    if (event.type === 'run.progress' && event.payload.nodes.some((n) => n.id === 'post' && n.status === 'waiting')) break;
  }
  const now = await record(run);
  assert.equal(now.status, 'running');
  assert.equal(now.waiting_for.length, 1, JSON.stringify(now));
  const [waits] = now.waiting_for;
  assert.equal(waits.node, 'post');
  assert.equal(waits.kind, 'outcome_unknown');
  assert.equal(waits.shown.op, 'http.post');
  return waits;
}

async function decide(run, waits, decision, more = {}) {
  const answer = await server.json('POST', `/api/v1/runs/${run}/approve`, { node: waits.node, hash: waits.hash, decision, ...more });
  assert.ok(answer.status === 200 || answer.status === 202, `${answer.status} ${answer.text}`);
}

test('it is sent once, with what the operator configured', async () => {
  to.expect();
  const { last, events } = await finish(await begin('honours'));
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.deepEqual(outputs(events, 'post'), { status: 200, body: { ok: true } });
  assert.deepEqual(outputs(events, 'behind'), { value: 201 });
  const [request] = to.requests;
  assert.equal(to.requests.length, 1);
  assert.equal(request.method, 'POST');
  assert.equal(request.url, '/in?q=1');
  assert.equal(request.body, '42');
  assert.match(request.key, /^[0-9a-f]{32}$/);
  assert.equal(request.headers['content-type'], 'application/json');
  assert.equal(request.headers.authorization, SECRET);
  assert.equal(request.headers['x-from'], 'talos');
  to.expect();
  await finish(await begin('honours'));
  assert.notEqual(to.requests[0].key, request.key, 'another run is another request');
});

test('an answer that is text, empty, or only looks like a medium', async () => {
  const looks = { kind: 'video', sha256: 'ab'.repeat(32), content_type: 'video/mp4', bytes: 1, name: 'x' };
  for (const [answer, expected] of [
    [[200, 'plain é', { 'content-type': 'text/plain' }], { status: 200, body: 'plain é' }],
    [[204], { status: 204, body: '' }],
    [[200, '{broken', { 'content-type': 'application/json' }], { status: 200, body: '{broken' }],
    [[201, 'null', { 'content-type': 'application/problem+json; charset=utf-8' }], { status: 201, body: 'null' }],
    [[200, JSON.stringify(looks), { 'content-type': 'application/json' }], { status: 200, body: looks }],
  ]) {
    to.expect(answer);
    const { last, events } = await finish(await begin('plain'));
    assert.equal(last.type, 'run.completed', JSON.stringify(last));
    assert.deepEqual(outputs(events, 'post'), expected);
  }
});

test('an answer that cannot be used fails the node, and nothing is sent again', async () => {
  for (const [answer, code, words] of [
    [[404, 'no such thing'], 'VALIDATION_ERROR', /refused the request: it answered 404/],
    [[302, '', { location: '/elsewhere' }], 'VALIDATION_ERROR', /answered 302/],
    [[200, Buffer.from([0xff, 0xfe]), { 'content-type': 'text/plain' }], 'VALIDATION_ERROR', /neither JSON nor text/],
    [[200, 'x'.repeat(1024 * 1024 + 1)], 'VALIDATION_ERROR', /more than 1 MiB/],
  ]) {
    to.expect(answer);
    const { last } = await finish(await begin('plain'));
    assert.equal(last.type, 'run.failed', JSON.stringify(last));
    assert.equal(last.payload.error.code, code);
    assert.match(last.payload.error.message, words);
    assert.equal(last.payload.error.details.node, 'post');
    assert.equal(to.requests.length, 1);
  }
});

test('503 twice, then 200: three attempts, one key', async () => {
  for (const destination of ['honours', 'plain']) {
    to.expect([503], [503]);
    const { last, events } = await finish(await begin(destination));
    assert.equal(last.type, 'run.completed', JSON.stringify(last));
    assert.equal(to.requests.length, 3);
    assert.equal(to.keys().size, 1);
    assert.equal(outputs(events, 'post').status, 200);
  }
  to.expect([503], [503], [503], [503]);
  const { last } = await finish(await begin('honours'));
  assert.equal(last.type, 'run.failed');
  assert.equal(last.payload.error.code, 'TRANSIENT_IO');
  assert.equal(last.payload.error.details.node, 'post');
  assert.equal(to.requests.length, 3, 'no more attempts than the policy allows');
});

test('429 with Retry-After is waited out', async () => {
  to.expect([429, '', { 'retry-after': '1' }]);
  const run = await begin('plain');
  await to.request(1);
  const asked = Date.now();
  await to.request(2);
  assert.ok(Date.now() - asked >= 950, `asked again after ${Date.now() - asked} ms`);
  assert.equal((await finish(run)).last.type, 'run.completed');
  assert.equal(to.keys().size, 1);
});

test('what honours the key is asked again after a broken connection and a timeout', async () => {
  to.expect('drop', [500], [504]);
  let { last } = await finish(await begin('honours', { retry: { max_attempts: 4, backoff_ms: [10] } }));
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.equal(to.requests.length, 4);
  assert.equal(to.keys().size, 1);
  to.expect('hold');
  ({ last } = await finish(await begin('impatient')));
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.equal(to.requests.length, 2);
  assert.equal(to.keys().size, 1);
});

test('nobody there: it has not arrived, so it is tried again, and fails', async () => {
  const { last } = await finish(await begin('nobody'));
  assert.equal(last.payload.error.code, 'TRANSIENT_IO', JSON.stringify(last));
  assert.match(last.payload.error.message, /could not be reached/);
});

test('a body of more than 1 MiB is not sent', async () => {
  const large = graph('plain');
  large.edges.shift();
  large.nodes[1].data.inputs = { body: { text: 'x'.repeat(1024 * 1024) } };
  to.expect();
  const { last } = await finish(await beginGraph(large));
  assert.equal(last.type, 'run.failed');
  assert.match(last.payload.error.message, /longer than 1 MiB/);
  assert.equal(to.requests.length, 0);
});

test('kill -9 while it is asked: with the key honoured it is asked again with the same key', { timeout: 60_000 }, async () => {
  to.expect('hold');
  const run = await begin('honours');
  const first = await to.request(1);
  await restart();
  const { last, events } = await finish(run);
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.equal(outputs(events, 'post').status, 200);
  assert.equal(to.requests.length, 2);
  assert.equal(to.requests[1].key, first.key);
  assert.equal(to.requests[1].body, first.body);
});

test('kill -9 between attempts: what is known to have been refused needs no person', { timeout: 60_000 }, async () => {
  to.expect([503]);
  const run = await begin('plain', { retry: { backoff_ms: [3_600_000] } });
  await to.request(1);
  for await (const { data: text } of server.sse(`/api/v1/runs/${run}/stream`)) if (/tried again after/.test(text)) break;
  await restart();
  const { last } = await finish(run);
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.equal(to.requests.length, 2);
  assert.equal(to.keys().size, 1);
});

test('SIGTERM while it is asked: no key honoured, so a person is asked', { timeout: 60_000 }, async () => {
  to.expect('hold');
  const run = await begin('plain');
  await to.request(1);
  assert.equal(await server.stop(), 0);
  await start();
  await decide(run, await question(run), 'fail');
  assert.equal((await finish(run)).last.payload.error.code, 'OUTCOME_UNKNOWN');
  assert.equal(to.requests.length, 1);
});

test('what was done stays done: after kill -9 only the request that was under way is sent again', { timeout: 60_000 }, async () => {
  const chain = graph('honours');
  chain.nodes.push({ id: 'second', type: 'http.post', data: { params: { destination: 'honours' }, policy: QUICK } });
  chain.edges.push({ id: 'e3', source: 'post', sourceHandle: 'body', target: 'second', targetHandle: 'body' });
  to.expect([200, '"first"', { 'content-type': 'application/json' }], 'hold');
  const run = await beginGraph(chain);
  await to.request(2);
  for await (const { data: text } of server.sse(`/api/v1/runs/${run}/stream`)) if (/"node":"post","outputs"/.test(text)) break;
  await restart();
  const { last, events } = await finish(run);
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.deepEqual(outputs(events, 'post'), { status: 200, body: 'first' });
  assert.equal(to.requests.length, 3);
  assert.notEqual(to.requests[0].key, to.requests[1].key, 'another node, another key');
  assert.equal(to.requests[2].key, to.requests[1].key);
  assert.equal(to.requests[2].body, '"first"');
});

test('three items of a map are sent with keys of their own, and again with these after kill -9', { timeout: 60_000 }, async () => {
  const body = {
    nodes: [
      { id: 'in', type: 'graph.input' },
      { id: 'post', type: 'http.post', data: { params: { destination: 'honours' }, policy: QUICK } },
      { id: 'out', type: 'graph.output' },
    ],
    edges: [
      { id: 'a', source: 'in', sourceHandle: 'item', target: 'post', targetHandle: 'body' },
      { id: 'b', source: 'post', sourceHandle: 'body', target: 'out', targetHandle: 'result' },
    ],
  };
  const document = { nodes: [{ id: 'map', type: 'map', data: { params: { concurrency: 3 }, inputs: { items: ['x', 'y', 'z'] }, ports: { in: [{ name: 'item', type: 'any' }], out: [{ name: 'result', type: 'any' }] }, graph: body } }], edges: [] };
  to.expect('hold', 'hold', 'hold');
  const run = await beginGraph(document);
  await to.request(3);
  const keys = to.keys();
  assert.equal(keys.size, 3);
  await restart();
  const { last } = await finish(run);
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.equal(to.requests.length, 6);
  assert.deepEqual(to.keys(), keys);
});

for (const [decision, check] of [
  ['retry', ({ last, events }) => {
    assert.equal(last.type, 'run.completed', JSON.stringify(last));
    assert.equal(outputs(events, 'post').status, 200);
    assert.equal(to.requests.length, 2);
    assert.equal(to.keys().size, 1, 'the key of the first attempt');
  }],
  ['fail', ({ last }) => {
    assert.equal(last.type, 'run.failed', JSON.stringify(last));
    assert.equal(last.payload.error.code, 'OUTCOME_UNKNOWN');
    assert.equal(last.payload.error.details.node, 'post');
    assert.equal(to.requests.length, 1);
  }],
  ['done', ({ last, events }) => {
    assert.equal(last.type, 'run.completed', JSON.stringify(last));
    assert.deepEqual(outputs(events, 'post'), { status: 202, body: 'as they told me' });
    assert.deepEqual(outputs(events, 'behind'), { value: 203 });
    assert.equal(to.requests.length, 1);
  }],
]) {
  test(`kill -9 while it is asked, no key honoured: a person is asked; ${decision}`, { timeout: 60_000 }, async () => {
    to.expect('hold');
    const run = await begin('plain');
    await to.request(1);
    await restart();
    const waits = await question(run);
    await restart(); // the question survives too
    const again = await question(run);
    assert.equal(again.hash, waits.hash, 'the same question');
    assert.equal(to.requests.length, 1, 'nothing was sent');
    await decide(run, again, decision, decision === 'done' ? { outputs: { status: 202, body: 'as they told me' } } : {});
    check(await finish(run));
  });
}

test('no key honoured: a broken connection, a timeout and a server error ask a person at once', async () => {
  for (const [destination, answer, policy] of [['plain', 'drop'], ['plain', [500]], ['once', 'hold'], ['plain', 'hold', { timeout_sec: 0.3, ...QUICK }]]) {
    to.expect(answer);
    const run = await begin(destination, policy);
    const waits = await question(run);
    await decide(run, waits, 'fail');
    assert.equal((await finish(run)).last.payload.error.code, 'OUTCOME_UNKNOWN');
    assert.equal(to.requests.length, 1);
  }
});

test('a person may be asked again: what was tried again breaks again', { timeout: 60_000 }, async () => {
  to.expect('drop', 'drop');
  const run = await begin('plain');
  const first = await question(run);
  await decide(run, first, 'retry');
  await to.request(2);
  let second;
  do {
    second = (await record(run)).waiting_for?.[0];
    if (!second || second.hash === first.hash) await sleep(10);
  } while (!second || second.hash === first.hash);
  await decide(run, second, 'done', { outputs: { status: 200 } });
  assert.equal((await finish(run)).last.type, 'run.completed');
  assert.equal(to.requests.length, 2);
});

test('a cancel reaches it within 500 ms, and a question too', async () => {
  to.expect('hold');
  let run = await begin('honours');
  const request = await to.request(1);
  const asked = Date.now();
  assert.equal((await server.json('POST', `/api/v1/runs/${run}/cancel`, {})).status, 202);
  await request.closed;
  const closed = Date.now() - asked;
  assert.equal((await finish(run)).last.type, 'run.cancelled');
  assert.ok(closed < 500 && Date.now() - asked < 1000, `closed after ${closed} ms, cancelled after ${Date.now() - asked} ms`);
  assert.equal(to.requests.length, 1);
  to.expect('drop');
  run = await begin('plain');
  await question(run);
  assert.equal((await server.json('POST', `/api/v1/runs/${run}/cancel`, {})).status, 202);
  const ended = await finish(run);
  assert.equal(ended.last.type, 'run.cancelled');
  assert.equal(ended.record.waiting_for, undefined);
});

test('on_error continue: what lies behind is skipped, the rest goes on', async () => {
  to.expect([400]);
  const { last, events, record: ended } = await finish(await begin('plain', { on_error: 'continue' }));
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.equal(ended.status, 'done');
  const nodes = Object.fromEntries(Object.entries(ended.nodes).map(([id, n]) => [id, n.status]));
  assert.deepEqual(nodes, { number: 'done', post: 'failed', behind: 'skipped', apart: 'done' });
  assert.equal(statuses(events, 'post').at(-1), 'failed');
  assert.equal(statuses(events, 'behind').at(-1), 'skipped');
  assert.deepEqual(outputs(events, 'apart'), { value: 2 });
  assert.deepEqual(outputs(events, 'behind'), {});
});

test('on_error fallback: the outputs that the policy names stand in', async () => {
  to.expect([400]);
  const { last, events, record: ended } = await finish(await begin('plain', { on_error: 'fallback', fallback: { status: 0 } }));
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  assert.equal(ended.nodes.post.status, 'done');
  assert.deepEqual(outputs(events, 'post'), { status: 0 });
  assert.deepEqual(outputs(events, 'behind'), { value: 1 });
});

test('what is wrong with destination and policy is told with the graph', async () => {
  const bad = graph('elsewhere', { timeout_sec: 0, retry: { on: ['SOMETIMES'] }, on_error: 'fallback', fallback: { status: 'x', none: 1 } });
  const canvas = await server.json('POST', '/api/v1/canvases', { name: 'bad', graph: bad });
  const answer = canvas.status === 201 ? await server.json('POST', `/api/v1/canvases/${canvas.body.id}/runs`, {}) : canvas;
  assert.equal(answer.status, 400, answer.text);
  const paths = answer.body.error.details.problems.map((p) => p.path.replace(/^\$\.graph/, '$'));
  for (const at of ['params.destination', 'policy.timeout_sec', 'policy.retry.on[0]', 'policy.fallback.status', 'policy.fallback.none'])
    assert.ok(paths.includes(`$.nodes[1].data.${at}`), `${at} of ${paths}`);
});

test('secrets and addresses stand in no log', () => {
  assert.equal((server.log + server.out).includes('s3cret'), false);
  assert.equal(server.log.includes(to.url), false);
});

test('a file of destinations with mistakes ends the start, with all of them', async () => {
  const file = path.join(work, 'bad.json');
  fs.writeFileSync(file, JSON.stringify({ a: { url: 'ftp://x/' }, b: { url: to.url, honours_idempotency_key: true, headers: { Authorization: { file: '/nonexistent' } } } }));
  const said = talos(['serve', '--data', path.join(work, 'other'), '--listen', '127.0.0.1:0'], { env: { ...process.env, TALOS_DESTINATIONS: file } });
  assert.notEqual(said.status, 0);
  assert.match(said.stderr, /\$\.a\.url/);
  assert.match(said.stderr, /honours_idempotency_key/);
  assert.match(said.stderr, /\$\.b\.headers\.Authorization/);
});
