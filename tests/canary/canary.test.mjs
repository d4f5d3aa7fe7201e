// The hard promise of sealing: no private byte leaves, by any door, but through declared outputs. talos is built with a catalog in which every private field holds a random
// string of its own (plant.mjs); everything is then done with it that a client can do, and every byte that came out is searched: what crossed the socket, the log, the command
// line's output, the data directory, a backup, temporary files.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import zlib from 'node:zlib';
import { Server, sleep, talos, tempDir, top } from '../crash/server.mjs';
import { Scanner, dresses } from './scan.mjs';

const build = process.env.TALOS_BUILD ?? path.join(top, 'build');
const binary = path.join(build, 'talos-canary');
const planted = JSON.parse(fs.readFileSync(path.join(build, 'canary/canaries.json'), 'utf8'));
const capsules = ['bong-joon-ho', 'hong-sangsoo', 'lee-junho', 'na-hongjin', 'park-chan-wook', 'shinkai'].map((id) => `auteur.${id}`);
const work = tempDir('canary');
const data = path.join(work, 'data');
const temporary = path.join(work, 'tmp');
const env = { TMPDIR: temporary };
const scanner = new Scanner(planted);
const came = new Map(); // door → bytes that came out of it
let server;
let proxy;
let model;

function record(door, bytes) {
  came.set(door, Buffer.concat([came.get(door) ?? Buffer.alloc(0), Buffer.from(bytes)]));
}

// Passes connections on and keeps what the server sends, as it is on the wire: heads, frames and all.
function listen() {
  return new Promise((done) => {
    const listener = net.createServer((client) => {
      const upstream = net.connect(server.port, '127.0.0.1');
      const end = () => { client.destroy(); upstream.destroy(); };
      client.on('data', (part) => upstream.write(part)).on('error', end).on('close', end);
      upstream.on('data', (part) => { record('socket', part); client.write(part); }).on('error', end).on('close', () => client.end());
    }).listen(0, '127.0.0.1', () => done(listener));
  });
}

// A language model of the worst kind: it refuses and repeats what it was asked, or answers with its own prompt.
const asked = [];
function parrot() {
  return new Promise((done) => {
    const listener = http.createServer((req, res) => {
      const parts = [];
      req.on('data', (part) => parts.push(part)).on('end', async () => {
        await sleep(120); // long enough for the capsule to report how far it is meanwhile
        const body = Buffer.concat(parts).toString();
        asked.push(body);
        if (asked.length % 3 === 0) {
          res.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error: { message: `cannot do: ${body}` } }));
          return;
        }
        const said = JSON.parse(body).messages.map((m) => m.content).join(' ');
        const content = asked.length % 3 === 1 ? JSON.stringify({ hints: [said, said.slice(0, 400), 'Hold the frame for three seconds.'] }) : said;
        const chunk = { choices: [{ index: 0, delta: { role: 'assistant', content }, message: { role: 'assistant', content }, finish_reason: 'stop' }], usage: { prompt_tokens: 9, completion_tokens: 9, total_tokens: 18 } };
        if (JSON.parse(body).stream) res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
        else res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(chunk));
      });
    }).listen(0, '127.0.0.1', () => done(listener));
  });
}

const ask = (method, url, body, options) => server.json(method, url, body, { port: proxy.address().port, ...options });

async function follow(url) {
  for await (const { data: text } of server.sse(url, { port: proxy.address().port })) if (/"run\.(completed|failed|cancelled)"/.test(text)) return JSON.parse(text);
  return undefined;
}

// Every frame of a run over WebSocket, until the server closes or falls silent.
function webSocket(run) {
  return new Promise((done, fail) => {
    const req = http.get({
      host: '127.0.0.1', port: proxy.address().port, path: `/ws/runs/${run}`, agent: false,
      headers: { authorization: `Bearer ${server.token}`, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': 13, 'sec-websocket-key': crypto.randomBytes(16).toString('base64') },
    });
    req.on('upgrade', (res, socket, head) => {
      let text = '';
      const end = () => { socket.destroy(); done(text); };
      const take = (part) => {
        text += part.toString('latin1');
        if (/"run\.(completed|failed|cancelled)"/.test(text)) end();
      };
      take(head);
      socket.on('data', take).on('close', end).on('error', end);
    });
    req.on('response', (res) => fail(new Error(`WebSocket: ${res.statusCode}`))).on('error', fail);
  });
}

const call = (id, more = {}) => ({
  capsule_id: id, capsule_version: '1.0.0',
  inputs: { emotion_curve: [0.2, 0.9, 0.4, 0.7], scene_summary: '비 오는 밤, 누군가 문을 두드린다. She runs through the rain at night.', duration_sec: 24 },
  params: { style_intensity: 0.7 }, ...more,
});

before(async () => {
  fs.mkdirSync(temporary);
  model = await parrot();
  Object.assign(env, { TALOS_LLM_URL: `http://127.0.0.1:${model.address().port}/v1`, TALOS_LLM_MODEL: 'parrot' });
  server = await Server.start({ data, binary, env });
  proxy = await listen();
});
after(async () => {
  await server?.kill('SIGKILL');
  proxy?.close();
  model?.close();
  fs.rmSync(work, { recursive: true, force: true });
});

const admin = { headers: { 'x-admin-mode': 'true' } };
const cli = (...args) => {
  const { stdout, stderr, status } = talos(args, { binary });
  record('command line', stdout + stderr);
  return status;
};

// A capsule beside a clip's and a gate's doors.
const withCapsule = (capsuleId, data = {}, gate = []) => ({
  nodes: [{ id: 'c', type: 'capsule', data: { capsuleId, capsuleVersion: '1.0.0', inputs: call(capsuleId).inputs, ...data } }, ...gate.map((id) => ({ id, type: 'gate' }))],
  edges: gate.map((id) => ({ source: 'c', sourceHandle: 'palette', target: id, targetHandle: 'value' })),
});

// What a node of the run asks, once it does.
async function question(run, node) {
  const url = `/api/v1/runs/${run}`, waits = (n) => n.id === node && n.status === 'waiting';
  for await (const { data: text } of server.sse(`${url}/stream`, { port: proxy.address().port })) if (JSON.parse(text).payload.nodes?.some(waits)) break;
  return (await ask('GET', url)).body.waiting_for.find((w) => w.node === node);
}

// The doors of a run of a graph: options, dry runs, why, answers, contents, bounds, policies.
async function graphDoors(id, index) {
  const begin = (graph, more, options) => ask('POST', '/api/v1/runs', { graph, ...more }, options);
  const plain = withCapsule(id), url = (run, rest) => `/api/v1/runs/${run}/${rest}`;
  for (const options of [undefined, admin]) {
    const dry = await begin(plain, { dry_run: true }, options);
    assert.equal(dry.body.ok, true, dry.text);
    await begin(withCapsule(id, { params: { nosuch: 1 } }), { dry_run: true }, options);
    const done = await begin(plain, { async_mode: false, priority: 'high' }, options);
    assert.ok([200, 202].includes(done.status), done.text);
    await follow(url(done.body.run_id, 'stream'));
    for (const step of ['c', 'c/in', 'c#1/in', 'nothing'])
      for (const asker of [undefined, admin]) {
        const why = await ask('GET', url(done.body.run_id, `nodes/${encodeURIComponent(step)}/why`), undefined, asker);
        assert.equal(why.status, step === 'c' ? 200 : 404, why.text);
      }
    for (const port of ['palette', 'facts', 'hints']) await ask('GET', url(done.body.run_id, `nodes/c/outputs/${port}/content`));
    await ask('POST', url(done.body.run_id, 'approve'), { node: 'c', decision: 'approve', hash: 'f'.repeat(64) });
    assert.equal(cli('why', done.body.run_id, 'c', '--json', '--server', `127.0.0.1:${server.port}`, '--token', server.token), 0);
  }
  // Different scenes, so that nothing is found that an earlier run has come to.
  const scene = (what) => ({ inputs: { ...call(id).inputs, scene_summary: `${what} ${index}: a table, two people, rain.` } });
  const bounds = [['budget', {}, { budget: { tokens: 1 } }], ['budget of cost', {}, { budget: { cost_usd: 1e-9, seconds: 1e-9 } }],
    ['too late', { policy: { timeout_sec: 0.1, retry: { max_attempts: 2, on: ['TIMEOUT'], backoff_ms: [1] } } }, {}],
    ['goes on', { policy: { timeout_sec: 0.1, on_error: 'continue' } }, {}]];
  for (const [what, data, more] of bounds) {
    const begun = await begin(withCapsule(id, { ...scene(what), ...data }), more);
    assert.ok(begun.status === 202 || begun.body.error.code === 'BUDGET_EXCEEDED', begun.text);
    if (begun.status !== 202) continue;
    ends.set(what, [...(ends.get(what) ?? []), await follow(url(begun.body.run_id, 'stream'))]);
    await ask('GET', url(begun.body.run_id, 'nodes/c/why'));
  }
  // Two questions behind the capsule: one is answered over HTTP, one by the command line.
  const gated = (await begin(withCapsule(id, {}, ['yes', 'no']), {})).body.run_id;
  const { hash } = await question(gated, 'yes');
  assert.equal((await ask('POST', url(gated, 'approve'), { node: 'yes', decision: 'approve', hash, comment: 'well' })).status, 200);
  await question(gated, 'no');
  assert.equal(cli('approve', gated, 'no', '--reject', '--server', `127.0.0.1:${server.port}`, '--token', server.token), 0);
  await follow(url(gated, 'stream'));
  for (const node of ['c', 'yes', 'no']) await ask('GET', url(gated, `nodes/${node}/why`));
  return gated;
}

test('a budget that a capsule exceeds', { timeout: 60_000 }, async () => {
  const begun = await ask('POST', '/api/v1/runs', { graph: withCapsule(capsules[0]), budget: { tokens: 1 } }); // before there is a history by which it would be refused
  assert.equal(begun.status, 202, begun.text);
  const last = await follow(`/api/v1/runs/${begun.body.run_id}/stream`);
  assert.equal(last.payload.error?.code, 'BUDGET_EXCEEDED', JSON.stringify(last));
  await ask('GET', `/api/v1/runs/${begun.body.run_id}`);
  await ask('GET', `/api/v1/runs/${begun.body.run_id}/nodes/c/why`);
});

test('figures count a capsule as one node, whatever is inside', { timeout: 120_000 }, async () => {
  const names = /^(talos_nodes_total\{.*\}|talos_result_(?:hits|misses)_total|talos_(?:retries|lost_workers)_total) (\d+)$/gm;
  const figures = async () => Object.fromEntries([...(await ask('GET', '/metrics')).text.matchAll(names)].map(([, name, n]) => [name, Number(n)]));
  for (const id of capsules) {
    const before = await figures();
    const done = await ask('POST', '/api/v1/capsules/run', call(id, { inputs: { ...call(id).inputs, duration_sec: 33 } }));
    assert.equal(done.body.status, 'done', done.text);
    const more = Object.entries(await figures()).map(([name, n]) => [name, n - before[name]]).filter(([, n]) => n);
    assert.deepEqual(Object.fromEntries(more), { 'talos_nodes_total{end="run"}': 1, talos_result_misses_total: 1 }, id);
  }
});

const ends = new Map(); // what kept a capsule from its end → terminal events

test('every door is used', { timeout: 400_000 }, async () => {
  for (const url of ['/healthz', '/readyz', '/metrics', '/openapi.json', '/api/v1/capsules', '/api/v1/node-types', '/api/v1/templates', '/api/v1/runs', '/api/v1/canvases', '/api/v1/nothing'])
    for (const options of [{}, admin, { headers: { 'accept-encoding': 'gzip' } }]) await ask('GET', url, undefined, options);
  for (const id of capsules) {
    assert.equal((await ask('GET', `/api/v1/capsules/${id}`)).status, 200);
    await ask('GET', `/api/v1/capsules/${id}/versions/1.0.0`, undefined, admin);
    await ask('GET', `/api/v1/capsules/${id}/versions/9.9.9`);
    // Well, with what is wrong, and with what nobody expects.
    const good = await ask('POST', '/api/v1/capsules/run', call(id));
    assert.ok([200, 202].includes(good.status), good.text);
    assert.equal((await ask('POST', '/api/v1/capsules/run', call(id, { params: { style_intensity: 0.41, nosuch: 1, persona_priority: 'nobody' } }))).status, 400);
    await ask('POST', '/api/v1/capsules/run', call(id, { inputs: { emotion_curve: ['x'], scene_summary: 7, duration_sec: -1 } }));
    await ask('POST', '/api/v1/capsules/run', call(id, { inputs: {} }));
    await ask('POST', '/api/v1/capsules/run', call(id, { inputs: { emotion_curve: [1e308, -1e308], scene_summary: '{{system}} {scene_summary:p} %s %n', duration_sec: 1e12 } }), admin);
    await ask('POST', '/api/v1/capsules/run', call(id, { capsule_version: '0.0.1' }));
    const queued = await ask('POST', '/api/v1/capsules/run', call(id, { async_mode: true, inputs: { ...call(id).inputs, duration_sec: 60 } }), admin);
    const run = queued.body.run_id;
    const [, frames] = await Promise.all([follow(`/api/v1/capsules/run/${run}/stream`), webSocket(run)]);
    assert.match(frames, /run\.completed|run\.failed/);
    await ask('GET', `/api/v1/capsules/run/${run}`, undefined, admin);
    await ask('GET', `/api/v1/runs/${run}`, undefined, admin);
    const stopped = await ask('POST', '/api/v1/capsules/run', call(id, { async_mode: true, inputs: { ...call(id).inputs, duration_sec: 61 } }));
    await ask('POST', `/api/v1/capsules/run/${stopped.body.run_id}/cancel`, {});
    await follow(`/api/v1/runs/${stopped.body.run_id}/stream`);
  }
  const templates = await ask('GET', '/api/v1/templates');
  for (const { id } of templates.body.items) {
    await ask('GET', `/api/v1/templates/${id}`);
    const canvas = await ask('POST', `/api/v1/templates/${id}/instantiate`, {});
    assert.equal(canvas.status, 201, canvas.text);
    await ask('POST', '/api/v1/canvases/validate', { graph: canvas.body.graph });
    await ask('GET', `/api/v1/canvases/${canvas.body.id}`);
    const started = await ask('POST', `/api/v1/canvases/${canvas.body.id}/runs`, {});
    if (started.status === 202) {
      await Promise.all([follow(`/api/v1/runs/${started.body.run_id}/stream`), webSocket(started.body.run_id)]);
      await ask('GET', `/api/v1/runs/${started.body.run_id}`);
    }
  }
  const answered = [];
  for (const [index, id] of capsules.entries()) answered.push(await graphDoors(id, index));
  const codes = (what) => ends.get(what).map((e) => e.payload.error?.code);
  assert.ok(codes('too late').includes('TIMEOUT'), JSON.stringify(codes('too late')));
  await ask('GET', '/metrics');
  // Graphs that try to look inside.
  const inside = { nodes: [{ id: 'a', type: 'capsule', data: { capsuleId: capsules[0], capsuleVersion: '1.0.0', adapter: true, private: 1, params: { internalGraphRef: 'x' } } },
    { id: 'b', type: 'graph.input' }, { id: 'c', type: 'llm.chat', data: { params: { system: 'x' } } }], edges: [{ id: 'e', source: 'a', sourceHandle: 'facts', target: 'c', targetHandle: 'facts' }] };
  assert.ok((await ask('POST', '/api/v1/canvases/validate', { graph: inside })).text.includes('problems'));
  // What was stored is searched while it is in use, as a backup, and after the end.
  const backup = path.join(work, 'backup');
  for (const args of [['capsule', 'list'], ...capsules.map((id) => ['capsule', 'show', id]), ['template', 'list'], ['check', '--deep'], ['backup', backup]]) {
    const { stdout, stderr } = talos([...args, '--data', data], { binary });
    record('command line', stdout + stderr);
  }
  await server.stop();
  for (const event of ['server.start', 'request', 'run.ended', 'server.stop']) assert.match(server.log, new RegExp(`"event":"${event}"`), 'the log was kept');
  record('log', server.log + server.out);
  const own = talos(['run', 'script-only', '--json', '--data', data], { binary });
  record('command line', own.stdout + own.stderr);
  const search = (door, dir) => {
    for (const name of fs.readdirSync(dir, { recursive: true }))
      if (fs.statSync(path.join(dir, name)).isFile()) record(door, Buffer.concat([Buffer.from(`${name}\n`), fs.readFileSync(path.join(dir, name))]));
  };
  for (const [door, dir] of [['data directory', data], ['backup', backup], ['temporary files', temporary]]) search(door, dir);
  // The same journals after retention has cut them.
  server = await Server.start({ data, binary, env: { ...env, TALOS_RETENTION: '0.0000001' } });
  for (const run of answered) {
    const url = `/api/v1/runs/${run}`;
    while (!(await ask('GET', url)).body.pruned_before) await follow(`${url}/stream`);
    await follow(`${url}/stream`);
    await webSocket(run);
    for (const options of [undefined, admin]) await ask('GET', `${url}/nodes/c/why`, undefined, options);
  }
  await server.stop();
  record('log', server.log + server.out);
  search('data directory', data);
  record('temporary files', '');
});

test('the private sides were at work, or this would prove nothing', () => {
  const heard = new Scanner(planted.filter(({ where }) => /: (system|prompt), (start|end)$/.test(where)));
  const prompts = new Set(asked.flatMap((body) => heard.scan(Buffer.from(body))).map((hit) => hit.text));
  assert.ok(prompts.size >= 2 * capsules.length, `only ${prompts.size} canaries reached the model that was configured`);
  const inGroups = planted.filter(({ where }) => /: node a (subgraph|map), inside: node ask: (system|prompt), /.test(where)).map(({ text }) => text);
  assert.equal(inGroups.length, 8);
  for (const text of inGroups) assert.ok(prompts.has(text), 'a model was asked within each group');
  assert.ok(planted.length > 500, `${planted.length} canaries`);
});

for (const door of ['socket', 'log', 'command line', 'data directory', 'backup', 'temporary files']) {
  test(`nothing private came out: ${door}`, () => {
    const bytes = came.get(door);
    assert.ok(bytes.length > 0 || door === 'temporary files');
    const hits = scanner.scan(bytes);
    const shown = hits.slice(0, 5).map((h) => `${h.where} as ${h.dress}: …${bytes.subarray(Math.max(0, h.at - 120), h.at + 60).toString()}…`);
    assert.deepEqual(shown, []);
  });

  test(`and a leak there would be caught: ${door}`, () => {
    const bytes = came.get(door);
    const victim = planted[crypto.randomInt(planted.length)];
    for (const [dress, leak] of dresses(victim.text)) {
      for (const pack of [(b) => b, zlib.gzipSync, zlib.deflateSync]) {
        const at = crypto.randomInt(bytes.length + 1);
        const around = [bytes.subarray(Math.max(0, at - 4096), at), bytes.subarray(at, at + 4096)];
        const hits = scanner.scan(Buffer.concat([around[0], pack(Buffer.concat([Buffer.from('…'), leak, Buffer.from('…')])), around[1]]));
        assert.ok(hits.some((h) => h.text === victim.text), `${dress} was missed in ${door}`);
      }
    }
  });
}
