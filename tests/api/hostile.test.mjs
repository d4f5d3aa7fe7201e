// HTTP as nobody should speak it: the server answers or closes, and goes on.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { api, canvas, raw, refused, setUp, sleep, small, socket, start } from './lib.mjs';

let t;
let auth;
before(async () => {
  t = await setUp('hostile');
  auth = `Host: x\r\nAuthorization: Bearer ${t.people.member}\r\n`;
});
after(() => t.end());

const busy = () => {
  const fields = fs.readFileSync(`/proc/${t.server.child.pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

// Whatever was done: the server answers, and its service thread does not spin.
afterEach(async () => {
  assert.equal((await api(t, 'member', 'GET', '/api/v1/me')).status, 200);
  let idle = false;
  for (let i = 0; i < 20 && !idle; i++) {
    const from = busy();
    await sleep(300);
    idle = busy() - from < 10;
  }
  assert.ok(idle, 'the server spins');
});

const statuses = (text) => [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map((m) => Number(m[1]));

test('requests one behind the other on a connection', async () => {
  const get = `GET /api/v1/me HTTP/1.1\r\n${auth}\r\n`;
  const many = await raw(t, get.repeat(20), { enough: (s) => statuses(s).length === 20 });
  assert.deepEqual(statuses(many.text), Array(20).fill(200));
  const post = `POST /api/v1/canvases HTTP/1.1\r\n${auth}Content-Length: 2\r\n\r\n{}`;
  const mixed = await raw(t, [get, post, get], { pause: 200, enough: (s) => statuses(s).length === 3 });
  assert.deepEqual(statuses(mixed.text), [200, 201, 200]);
});

test('bytes behind a body that is still being answered do not hang the server', async () => {
  const post = `POST /api/v1/canvases HTTP/1.1\r\n${auth}Content-Length: 2\r\n\r\n{}`;
  for (const behind of ['x', 'GET / HTTP/1.1\r\n\r\n', post, 'x'.repeat(70000)]) {
    const { closed } = await raw(t, post + behind, { enough: (s) => statuses(s).length >= 2 });
    assert.ok(closed || true);
    assert.equal((await api(t, 'member', 'GET', '/api/v1/me')).status, 200);
  }
  const split = await raw(t, [post, 'garbage that is no request\r\n\r\n'], { pause: 1 });
  assert.ok(statuses(split.text).every((s) => s === 201 || s >= 400));
});

test('lengths that cannot be trusted', async () => {
  const cases = [
    ['Transfer-Encoding: chunked\r\n', '2\r\n{}\r\n0\r\n\r\n', 411],
    ['Transfer-Encoding: chunked\r\nContent-Length: 2\r\n', '{}', 411],
    ['Content-Length: 2\r\nContent-Length: 2\r\n', '{}', 400],
    ['Content-Length: 2\r\nContent-Length: 40\r\n', '{}', 400],
    ['Content-Length: -2\r\n', '{}', 400],
    ['Content-Length: +2\r\n', '{}', 400],
    ['Content-Length: 2 2\r\n', '{}', 400],
    ['Content-Length: 0x2\r\n', '{}', 400],
    ['Content-Length: 99999999999999999999\r\n', '{}', 400],
    ['Content-Length: 2\x000\r\n', '{}', 400],
    ['Content-Length:\r\n', '{}', 400],
    ['Content-Length : 2\r\n', '{}', 400],
    ['Transfer-Encoding : chunked\r\nContent-Length: 2\r\n', '{}', 400],
    ['Transfer-Encoding\t: chunked\r\nContent-Length: 2\r\n', '{}', 400],
    ['Transfer-Encoding:\r\nContent-Length: 2\r\n', '{}', 411],
  ];
  for (const method of ['POST', 'PUT'])
    for (const [headers, body, status] of cases) {
      const { text, closed } = await raw(t, `${method} /api/v1/canvases${method === 'PUT' ? '/x' : ''} HTTP/1.1\r\n${auth}${headers}\r\n${body}`);
      assert.deepEqual(statuses(text), [status], `${method} ${headers}`);
      assert.ok(closed);
    }
  const get = await raw(t, `GET /api/v1/me HTTP/1.1\r\n${auth}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
  assert.deepEqual(statuses(get.text), [411]);
  // Without any length there is no body.
  const none = await raw(t, `POST /api/v1/canvases HTTP/1.1\r\n${auth}\r\n`);
  assert.deepEqual(statuses(none.text), [400]);
  const ignored = await raw(t, `GET /api/v1/me HTTP/1.1\r\n${auth}Content-Length: 5\r\n\r\nhelloGET /api/v1/me HTTP/1.1\r\n${auth}\r\n`, { enough: (s) => statuses(s).length === 2 });
  assert.deepEqual(statuses(ignored.text), [200, 200], 'a body of a GET is read and dropped');
});

test('empty bodies of every method end', async () => {
  const { id } = await canvas(t, small());
  for (const [method, url, status] of [['POST', '/api/v1/canvases', 400], ['PUT', `/api/v1/canvases/${id}`, 400], ['PATCH', `/api/v1/canvases/${id}`, 400], ['POST', `/api/v1/canvases/${id}/runs`, 202], ['DELETE', `/api/v1/canvases/${id}`, 204]]) {
    const answer = await raw(t, `${method} ${url} HTTP/1.1\r\n${auth}Content-Length: 0\r\n\r\n`, { enough: (s) => s.includes('\r\n\r\n') });
    assert.deepEqual(statuses(answer.text), [status], method);
  }
});

test('a body that is too large: 413, told before it is sent', async () => {
  for (const [url, length] of [['/api/v1/capsules/run', 1024 * 1024 + 1], ['/api/v1/canvases', 64 * 1024 * 1024 + 1]]) {
    const early = await raw(t, `POST ${url} HTTP/1.1\r\n${auth}Content-Length: ${length}\r\nExpect: 100-continue\r\n\r\n`, { enough: (s) => s.includes('request_id') });
    assert.deepEqual(statuses(early.text), [413]);
  }
  // A client that sends it all the same still reads the answer.
  const answer = await t.server.json('POST', '/api/v1/capsules/run', { x: 'y'.repeat(3 * 1024 * 1024) });
  refused(answer, 413, 'VALIDATION_ERROR');
});

test('Expect: 100-continue is answered at once', async () => {
  const { text } = await raw(t, [`POST /api/v1/canvases HTTP/1.1\r\n${auth}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n`], { enough: (s) => s.includes('100 Continue\r\n\r\n'), ms: 900 });
  assert.match(text, /^HTTP\/1.1 100 Continue\r\n\r\n$/);
});

test('an upgrade to HTTP/2 is refused', async () => {
  const h2c = `GET /healthz HTTP/1.1\r\n${auth}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n`;
  for (let i = 0; i < 20; i++) {
    const { text, closed } = await raw(t, h2c);
    assert.ok(closed && !text.includes('101'), text);
  }
  for (const odd of ['websocket2', 'h2c, websocket', 'TLS/1.0']) {
    const { text } = await raw(t, `GET /ws/runs/x HTTP/1.1\r\n${auth}Connection: Upgrade\r\nUpgrade: ${odd}\r\n\r\n`, { ms: 3000 });
    assert.ok(!text.includes(' 101 '), odd);
  }
  const prior = await raw(t, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  assert.ok(!prior.text.includes(' 200 ') && prior.closed);
});

test('methods and addresses that there are not', async () => {
  const { text } = await raw(t, `PROPFIND / HTTP/1.1\r\n${auth}\r\n`);
  assert.deepEqual(statuses(text), [405]);
  for (const odd of ['CONNECT x:80 HTTP/1.1\r\n\r\n', 'nonsense\r\n\r\n', '\0\0\0\0\r\n\r\n', 'GET\r\n\r\n', 'GET http://x/ HTTP/1.1\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03']) {
    const answer = await raw(t, Buffer.from(odd, 'latin1'), { ms: 1500 });
    assert.ok(!answer.text.includes(' 200 '), JSON.stringify(odd));
  }
  const wrong = await t.server.json('DELETE', '/api/v1/runs');
  refused(wrong, 405, 'VALIDATION_ERROR');
  assert.equal(wrong.headers.allow, 'GET, HEAD, POST, OPTIONS');
  const options = await t.server.request('OPTIONS', '/api/v1/canvases');
  assert.equal(options.status, 204);
  assert.equal(options.headers.allow, 'GET, HEAD, POST, OPTIONS');
  const head = await raw(t, `HEAD /api/v1/me HTTP/1.1\r\n${auth}\r\nGET /api/v1/me HTTP/1.1\r\n${auth}\r\n`, { enough: (s) => statuses(s).length === 2 && s.endsWith('}') });
  assert.deepEqual(statuses(head.text), [200, 200]);
  assert.equal(head.text.match(/\{/g).length, 1, 'HEAD has no body');
  for (const url of ['/api/v1/runs;x=1', '/api/v1/runs&x', '/api/v1//runs', '/api/v1/../v1/nosuch', '/api/v1/%ff', '/api/v1/runs?%ff=1', `/api/v1/runs?${'a=1&'.repeat(40)}`, '/api/v1/runs?limit=1&limit=2']) {
    const answer = await raw(t, `GET ${url} HTTP/1.1\r\n${auth}Connection: close\r\n\r\n`);
    const status = statuses(answer.text)[0];
    assert.ok(answer.closed && (status === undefined || status >= 400 || url.includes('//')), `${url}: ${status}`);
  }
});

test('heads that are too large or never end', async () => {
  const large = await raw(t, `GET /healthz HTTP/1.1\r\nX-Large: ${'x'.repeat(70000)}\r\n\r\n`);
  assert.ok(large.closed && !large.text.includes(' 200 '));
  const many = await raw(t, `GET /healthz HTTP/1.1\r\n${'X-Y: z\r\n'.repeat(5000)}\r\n`);
  assert.ok(many.closed && !many.text.includes(' 200 '));
  const known = await raw(t, `GET /healthz HTTP/1.1\r\n${'Accept: z\r\n'.repeat(500)}\r\n`);
  assert.ok(known.closed);
  // A hundred that say nothing more do not keep others out.
  const slow = Array.from({ length: 100 }, () => net.connect(t.server.port, '127.0.0.1').on('error', () => {}));
  for (const s of slow) s.write('GET /healthz HTTP/1.1\r\nX-A: ');
  assert.equal((await api(t, 'member', 'GET', '/api/v1/me')).status, 200);
  const bodies = Array.from({ length: 100 }, () => net.connect(t.server.port, '127.0.0.1').on('error', () => {}));
  for (const s of bodies) s.write(`POST /api/v1/canvases HTTP/1.1\r\n${auth}Content-Length: 1000000\r\n\r\n{`);
  assert.equal((await api(t, 'member', 'POST', '/api/v1/canvases', {})).status, 201);
  for (const s of [...slow, ...bodies]) s.destroy();
});

test('clients that go away in the middle of everything', async () => {
  const run = await start(t, small());
  const requests = [`POST /api/v1/canvases HTTP/1.1\r\n${auth}Content-Length: 1000\r\n\r\n{"name":`, `GET /api/v1/runs/${run}/stream HTTP/1.1\r\n${auth}\r\n`, `POST /api/v1/canvases HTTP/1.1\r\n${auth}Content-Length: 2\r\n\r\n{}`,
    `POST /api/v1/files HTTP/1.1\r\n${auth}Content-Length: 100000\r\n\r\n${'x'.repeat(50000)}`, 'GET /hea'];
  for (let i = 0; i < 40; i++)
    await new Promise((done) => {
      const s = net.connect(t.server.port, '127.0.0.1', () => s.write(requests[i % requests.length], () => setTimeout(() => (i % 2 ? s.resetAndDestroy() : s.destroy()), i % 7)));
      s.on('error', () => {}).on('close', done);
    });
  const left = execFileSync('find', [t.data, '-path', '*blobs*', '-name', '*tmp*', '-type', 'f'], { encoding: 'utf8' });
  assert.equal(left.trim(), '', 'half an upload leaves nothing');
});

test('a WebSocket that floods, babbles or breaks the protocol', async () => {
  const run = await start(t, { nodes: [{ id: 'a', type: 'input.text', data: { params: { text: 'x' } } }], edges: [] });
  const key = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
  const open = `GET /ws/runs/${run} HTTP/1.1\r\n${auth}${key}\r\n`;
  const frame = (op, payload, fin = true) => {
    const body = Buffer.from(payload);
    const head = body.length < 126 ? Buffer.from([(fin ? 0x80 : 0) | op, 0x80 | body.length]) : Buffer.from([(fin ? 0x80 : 0) | op, 0xfe, body.length >> 8, body.length & 255]);
    return Buffer.concat([head, Buffer.alloc(4), body]);
  };
  const floods = [Array.from({ length: 200 }, () => frame(0, '', false)), [frame(1, 'a', false), ...Array.from({ length: 200 }, () => frame(0, 'a', false))], [frame(1, 'x'.repeat(60000))],
    Array.from({ length: 500 }, () => frame(1, '{"type":"nonsense"}')), [Buffer.alloc(5000, 0xff)], [frame(3, 'reserved')], Array.from({ length: 300 }, () => frame(9, 'ping'))];
  for (const flood of floods) await raw(t, Buffer.concat([Buffer.from(open), ...flood]), { ms: 1500 });
  for (const bad of [`GET /ws/runs/${run} HTTP/1.1\r\n${auth}Connection: close\r\nUpgrade: websocket\r\n\r\n`, `POST /ws/runs/${run} HTTP/1.1\r\n${auth}${key}\r\n`, `GET /healthz HTTP/1.1\r\n${auth}${key}\r\n`,
    `GET /ws/runs/${run} HTTP/1.1\r\n${auth}${key}Content-Length: 5\r\n\r\nhello`]) {
    const { text } = await raw(t, bad, { ms: 1500 });
    assert.ok(!text.includes(' 101 '), bad);
  }
  refused(await api(t, 'member', 'GET', `/ws/runs/${run}`), 400, 'VALIDATION_ERROR');
  const e = await socket(t, `/ws/runs/${run}`, { headers: { 'sec-websocket-protocol': 'unknown' } }).catch((x) => x);
  assert.ok(e instanceof Error);
});
