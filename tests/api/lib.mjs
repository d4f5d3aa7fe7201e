// What the API tests share: a server, tokens for several people, requests whose answers are held against /openapi.json, raw sockets, WebSockets.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import WebSocket from 'ws';
import { Server, program, sleep, tempDir, token } from '../crash/server.mjs';

export { sleep, program };

// A server in a folder of its own, with tokens by name. Call end() when all is done.
export async function setUp(name, options = {}) {
  const data = tempDir(name);
  const t = { data, options, server: await Server.start({ data, ...options }), people: {} };
  const people = { viewer: ['acme', 'viewer'], member: ['acme', 'member'], author: ['acme', 'author'], admin: ['acme', 'admin'], other: ['other', 'admin'] };
  for (const [who, [org, role]] of Object.entries(people)) t.people[who] = token(data, { sub: who, org, role });
  t.server.token = t.people.member;
  t.check = await checker(t);
  t.end = async () => {
    await t.server.stop();
    fs.rmSync(data, { recursive: true, force: true });
  };
  t.restart = async () => {
    await t.server.stop();
    Object.assign(t, { log: t.server.log, port: t.server.port }); // of the one that has ended
    t.server = await Server.start({ data, ...options });
    t.server.token = t.people.member;
  };
  return t;
}

// Holds an answer against the document: the path, the status, the body.
async function checker(t) {
  const doc = (await t.server.json('GET', '/openapi.json', undefined, { auth: null })).body;
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats(ajv);
  ajv.addSchema({ $id: 'doc', ...doc });
  const paths = Object.entries(doc.paths).map(([path, ops]) => ({ path, ops, re: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`) }));
  const escaped = (s) => s.replaceAll('~', '~0').replaceAll('/', '~1');
  return (method, url, answer) => {
    const path = new URL(url, 'http://x').pathname;
    const found = paths.filter((p) => p.re.test(path)).sort((a, b) => a.path.split('{').length - b.path.split('{').length)[0];
    const op = found?.ops[method.toLowerCase()];
    const isError = answer.status >= 400;
    const ref = isError ? 'doc#/components/schemas/Error' : undefined;
    if (!op) {
      assert.ok(isError, `${method} ${path}: ${answer.status}, but the document does not know it`);
    } else if (!isError) {
      assert.ok(op.responses[answer.status], `${method} ${path}: ${answer.status} is not in the document`);
    } else {
      assert.ok(op.responses[answer.status] ?? [503, 507, 500].includes(answer.status), `${method} ${path}: ${answer.status} is not in the document`);
    }
    const type = answer.headers['content-type'];
    if (type !== 'application/json') return;
    const pointer = ref ?? `doc#/paths/${escaped(found.path)}/${method.toLowerCase()}/responses/${answer.status}/content/application~1json/schema`;
    if (!isError && !op.responses[answer.status].content?.['application/json']) return;
    const validate = ajv.getSchema(pointer) ?? ajv.compile({ $ref: pointer });
    assert.ok(validate(answer.body), `${method} ${path} ${answer.status}: ${JSON.stringify(validate.errors)} in ${answer.text.slice(0, 500)}`);
  };
}

// A request with a JSON body (undefined: none) as one of the people; the answer is held against the document.
export async function api(t, who, method, url, body, headers = {}) {
  const answer = await t.server.json(method, url, body, { auth: who ? t.people[who] ?? who : null, headers });
  t.check(method, url, answer);
  return answer;
}

// An error's code; asserts its form and status.
export function refused(answer, status, code) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.error.code, code);
  return answer.body.error;
}

export const problems = (answer) => (answer.body.error ? answer.body.error.details.problems : answer.body.problems) ?? [];

// Sends bytes over a socket of its own and gathers what comes back until the server closes, or until enough(text) says so, or time is up.
export function raw(t, bytes, { enough = () => false, ms = 5000, pause = 0 } = {}) {
  return new Promise((done) => {
    let text = '';
    let closed = false;
    const socket = net.connect(t.server.port, '127.0.0.1');
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      done({ text, closed });
    };
    const timer = setTimeout(finish, ms);
    socket.on('connect', async () => {
      for (const part of Array.isArray(bytes) ? bytes : [bytes]) {
        if (socket.destroyed) return;
        socket.write(part);
        if (pause) await sleep(pause);
      }
    });
    socket.on('data', (d) => {
      text += d.toString('latin1');
      if (enough(text)) finish();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      closed = true;
      finish();
    });
  });
}

// A WebSocket that gathers its messages. Resolves when open; rejects with .status where the upgrade is refused.
export function socket(t, url, { who = 'member', headers = {} } = {}) {
  return new Promise((done, fail) => {
    const auth = who ? { authorization: `Bearer ${t.people[who] ?? who}` } : {};
    const ws = new WebSocket(`ws://127.0.0.1:${t.server.port}${url}`, { headers: { ...auth, ...headers }, perMessageDeflate: false });
    ws.messages = [];
    ws.on('message', (m) => ws.messages.push(JSON.parse(m.toString())));
    ws.closed = new Promise((over) => ws.on('close', (code, reason) => over({ code, reason: reason.toString() })));
    ws.on('open', () => done(ws));
    ws.on('unexpected-response', (req, res) => {
      let text = '';
      res.on('data', (d) => { text += d; });
      const settle = () => fail(Object.assign(new Error(`refused with ${res.statusCode}`), { status: res.statusCode, text }));
      res.on('end', settle);
      res.on('error', settle);
    });
    ws.on('error', (e) => fail(Object.assign(e, { status: 0 })));
  });
}

// All events of a stream as parsed objects, each checked against its id.
export async function events(t, url, options) {
  const all = [];
  for await (const e of t.server.sse(url, options)) {
    const event = JSON.parse(e.data);
    assert.equal(e.id, String(event.seq));
    assert.equal(event.event_id, `${event.run_id}:${event.seq}`);
    all.push(event);
  }
  return all;
}

export const seqs = (list) => list.map((e) => e.seq);
export const counting = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

// A graph that is done at once, and one of many nodes.
export const script = '비 오는 밤. 그는 달린다! 누군가 쫓아온다. 조용한 방. 그녀는 웃는다.';
export const small = () => ({
  nodes: [
    { id: 'text', type: 'input.text', position: { x: 0, y: 0 }, data: { params: { text: script } } },
    { id: 'read', type: 'text.analyze', position: { x: 9, y: 0 }, data: { label: '읽기' } },
  ],
  edges: [{ id: 'e', source: 'text', sourceHandle: 'text', target: 'read', targetHandle: 'text' }],
});
export const wide = (n, text = script) => ({
  nodes: counting(1, n).map((i) => ({ id: `n${i}`, type: 'text.analyze', data: { inputs: { text: `${text} ${i} ${Math.random()}` } } })),
  edges: [],
});

export async function canvas(t, graph, who = 'member', name = 'a canvas') {
  const made = await api(t, who, 'POST', '/api/v1/canvases', { name, graph });
  assert.equal(made.status, 201, made.text);
  return made.body;
}

export async function start(t, graph, who = 'member') {
  const { id } = await canvas(t, graph, who);
  const run = await api(t, who, 'POST', `/api/v1/canvases/${id}/runs`, {});
  assert.equal(run.status, 202, run.text);
  return run.body.run_id;
}

export async function finished(t, run, who = 'member') {
  await events({ server: Object.assign(Object.create(t.server), { token: t.people[who] }) }, `/api/v1/runs/${run}/stream`);
  return (await api(t, who, 'GET', `/api/v1/runs/${run}`)).body;
}

// A clip of two seconds, or of as many as are asked for; null where there is no ffmpeg.
export function clip(dir, seconds = 2) {
  const file = `${dir}/clip-${seconds}.mp4`;
  const made = spawnSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', `testsrc2=size=320x180:rate=12:duration=${seconds}`, '-f', 'lavfi', '-i', `sine=frequency=220:duration=${seconds}`, '-c:v', 'libx264',
    '-pix_fmt', 'yuv420p', '-c:a', 'aac', '-shortest', '-y', file]);
  return made.status === 0 ? file : null;
}
