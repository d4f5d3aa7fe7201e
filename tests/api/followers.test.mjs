// Many followers of one run: each gets every event, whoever does not read costs the server a cursor and no buffer, and the server keeps answering.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { api, canvas, counting, events, seqs, setUp, sleep, socket, start, wide } from './lib.mjs';

let t;
before(async () => { t = await setUp('followers'); });
after(() => t.end());

test('two hundred followers over both doors, some of whom go away, see the same', async () => {
  const run = await start(t, wide(250));
  const leaving = counting(1, 40).map((i) => (i % 2 ? socket(t, `/ws/runs/${run}`).then((s) => s.terminate()) : new Promise((done) => {
    const s = net.connect(t.server.port, '127.0.0.1', () => s.write(`GET /api/v1/runs/${run}/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${t.people.member}\r\n\r\n`));
    s.once('data', () => s.destroy()).on('close', done);
  })));
  const all = await Promise.all(counting(1, 200).map((i) => (i % 2 ? events(t, `/api/v1/runs/${run}/stream`) : socket(t, `/ws/runs/${run}`).then((s) => s.closed.then(() => s.messages)))));
  await Promise.all(leaving);
  for (const one of all) assert.deepEqual(one, all[0]);
  assert.deepEqual(seqs(all[0]), counting(1, all[0].length));
  assert.equal(all[0].at(-1).type, 'run.completed');
  assert.deepEqual(await events(t, `/api/v1/runs/${run}/stream`), all[0]);
});

// Memory that is the process's own: not the database's pages, which the kernel shows as the process's as well.
const own = () => Number(/RssAnon:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${t.server.child.pid}/status`, 'utf8'))[1]) / 1024;

// Follows a run without ever reading; resolves when the head has been asked for.
function lazy(run, form) {
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
  const url = form === 'ws' ? `/ws/runs/${run}` : `/api/v1/runs/${run}/stream`;
  return new Promise((done) => {
    const s = net.connect({ port: t.server.port, host: '127.0.0.1' });
    s.pause();
    s.on('error', () => {});
    s.on('connect', () => s.write(`GET ${url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${t.people.member}\r\n${form === 'ws' ? upgrade : ''}\r\n`, () => done(s)));
  });
}

const followers = async () => Number(/^talos_followers (\d+)/m.exec((await t.server.request('GET', '/metrics')).bytes.toString())[1]);

test('forty-eight who do not read while twenty-five megabytes of events go by', async () => {
  const graph = { nodes: counting(1, 400).map((i) => ({ id: `n${i}`, type: 'input.text', data: { params: { text: `${i} ${'x'.repeat(60000)}` } } })), edges: [] };
  const { id } = await canvas(t, graph);
  const again = async () => (await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, {})).body.run_id;
  await events(t, `/api/v1/runs/${await again()}/stream`); // what a run needs anyway is there then
  const without = own();
  const run = await again();
  const sleepers = await Promise.all(counting(1, 48).map((i) => lazy(run, i % 2 ? 'ws' : 'sse')));
  const seen = await events(t, `/api/v1/runs/${run}/stream`);
  const bytes = seen.reduce((sum, e) => sum + JSON.stringify(e).length, 0);
  assert.ok(bytes > 22e6, `${bytes} bytes of events`);
  while (await followers() !== 48) await sleep(5);
  const held = own() - without;
  console.log(`# ${(bytes / 1e6).toFixed(0)} MB of events, 48 followers that do not read: ${held.toFixed(1)} MiB more`);
  assert.ok(held < 600, `${held} MiB for followers that do not read`); // held for each, it would be 1,000
  for (const s of sleepers) s.destroy();
  while (await followers() > 0) await sleep(5);
  assert.equal((await api(t, 'member', 'GET', `/api/v1/runs/${run}`)).body.status, 'done');
});
