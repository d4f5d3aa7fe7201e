// The events of a run: SSE, WebSocket and records tell the same, without gaps, whoever reconnects when.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { api, counting, events, finished, problems, refused, seqs, setUp, sleep, small, socket, start, wide } from './lib.mjs';

let t;
before(async () => { t = await setUp('streams'); });
after(() => t.end());

// Reads a stream until enough(events) holds, then goes away.
async function some(url, enough, options) {
  const all = [];
  for await (const e of t.server.sse(url, options)) {
    all.push(JSON.parse(e.data));
    if (enough(all)) break;
  }
  return all;
}

test('SSE, WebSocket and both addresses of a run tell the same', async () => {
  const run = await start(t, wide(40));
  const ws = await socket(t, `/ws/runs/${run}`);
  const sse = await events(t, `/api/v1/runs/${run}/stream`);
  const { code } = await ws.closed;
  assert.equal(code, 1000);
  assert.deepEqual(ws.messages, sse);
  assert.deepEqual(seqs(sse), counting(1, sse.length));
  assert.equal(sse.at(-1).type, 'run.completed');
  const again = await socket(t, `/ws/runs/${run}?after_seq=2`);
  assert.equal((await again.closed).code, 1000);
  assert.deepEqual(again.messages, sse.slice(2));
  const { headers, bytes } = await t.server.request('GET', `/api/v1/runs/${run}/stream`);
  assert.equal(headers['content-type'], 'text/event-stream');
  assert.match(bytes.toString(), /^id: 1\nevent: run\.queued\ndata: \{.*\}\n\nid: 2\nevent: run\.started\n/);
});

test('a cursor: from 0, the last, the future, another run’s, malformed', async () => {
  const run = await start(t, small());
  const all = await events(t, `/api/v1/runs/${run}/stream`);
  const last = all.length;
  for (const from of [0, 1, last - 1]) {
    assert.deepEqual(await events(t, `/api/v1/runs/${run}/stream`, { after: from }), all.slice(from));
    assert.deepEqual(await events(t, `/api/v1/runs/${run}/stream?after_seq=${from}`), all.slice(from));
  }
  assert.deepEqual(await events(t, `/api/v1/runs/${run}/stream?after_seq=0`, { after: last - 1 }), all.slice(last - 1), 'the header wins');
  assert.deepEqual(await events(t, `/api/v1/runs/${run}/stream?after_seq=${last}`), []);
  const over = await t.server.request('GET', `/api/v1/runs/${run}/stream`, { headers: { 'last-event-id': String(last) } });
  assert.equal(over.status, 204, 'an EventSource stops');
  const ws = await socket(t, `/ws/runs/${run}?after_seq=${last}`);
  assert.equal((await ws.closed).code, 1000);
  assert.deepEqual(ws.messages, []);
  for (const bad of [String(last + 1), '999999', '-1', 'x', '', '1.5', '18446744073709551616', '0x1']) {
    const answer = await api(t, 'member', 'GET', `/api/v1/runs/${run}/stream?after_seq=${bad}`);
    refused(answer, 400, 'VALIDATION_ERROR');
    assert.match(problems(answer)[0].message, /start again without one/);
    const e = await socket(t, `/ws/runs/${run}?after_seq=${bad}`).catch((x) => x);
    assert.equal(e.status, 400);
  }
  refused(await api(t, 'member', 'GET', `/api/v1/runs/${run}/stream`, undefined, { 'last-event-id': `${run}:1` }), 400, 'VALIDATION_ERROR');
  refused(await api(t, 'member', 'GET', `/api/v1/runs/${run}/stream?from=1`), 400, 'VALIDATION_ERROR');
});

test('who reconnects all the time misses nothing and sees nothing twice', async () => {
  const run = await start(t, wide(600));
  const seen = [];
  for (let ended = false; !ended;) {
    const more = await some(`/api/v1/runs/${run}/stream`, (l) => l.length >= 2, { after: seen.length || undefined });
    seen.push(...more);
    ended = /completed|failed|cancelled/.test(seen.at(-1)?.type);
  }
  assert.deepEqual(seqs(seen), counting(1, seen.length));
  assert.deepEqual(await events(t, `/api/v1/runs/${run}/stream`), seen);
});

test('a stream goes on over a restart of the server', async () => {
  const run = await start(t, wide(3000));
  const before = await some(`/api/v1/runs/${run}/stream`, (l) => l.length >= 3);
  await t.restart();
  const rest = await events(t, `/api/v1/runs/${run}/stream`, { after: before.at(-1).seq });
  assert.deepEqual(seqs([...before, ...rest]), counting(1, before.length + rest.length));
  assert.equal(rest.at(-1).type, 'run.completed');
  const ws = await socket(t, `/ws/runs/${run}?after_seq=${before.at(-1).seq}`);
  await ws.closed;
  assert.deepEqual(ws.messages, rest);
});

test('many follow one run; one that does not read keeps nobody', async () => {
  const run = await start(t, wide(300, '비 오는 밤. '.repeat(50)));
  const lazy = await socket(t, `/ws/runs/${run}`);
  lazy._socket.pause();
  const all = await Promise.all(counting(1, 30).map((i) => (i % 2 ? events(t, `/api/v1/runs/${run}/stream`) : socket(t, `/ws/runs/${run}`).then((s) => s.closed.then(() => s.messages)))));
  for (const one of all) assert.deepEqual(one, all[0]);
  assert.deepEqual(seqs(all[0]), counting(1, all[0].length));
  lazy.terminate();
});

test('a run is cancelled by POST and by WebSocket', async () => {
  const run = await start(t, wide(5000));
  const answer = await api(t, 'member', 'POST', `/api/v1/runs/${run}/cancel`, { reason: '그만' });
  assert.equal(answer.status, 202);
  const all = await events(t, `/api/v1/runs/${run}/stream`);
  assert.equal(all.at(-1).type, 'run.cancelled');
  assert.equal(all.at(-1).payload.reason, '그만');
  assert.equal((await api(t, 'member', 'GET', `/api/v1/runs/${run}`)).body.status, 'cancelled');
  refused(await api(t, 'member', 'POST', `/api/v1/runs/${run}/cancel`), 409, 'CONFLICT');
  refused(await api(t, 'member', 'POST', `/api/v1/runs/${run}/cancel`, { why: 1 }), 400, 'VALIDATION_ERROR');

  const second = await start(t, wide(5000));
  const ws = await socket(t, `/ws/runs/${second}`);
  ws.send('{"type":"cancel"}');
  assert.equal((await ws.closed).code, 1000);
  assert.equal(ws.messages.at(-1).type, 'run.cancelled');

  const third = await start(t, wide(5000));
  const viewer = await socket(t, `/ws/runs/${third}`, { who: 'viewer' });
  viewer.send('{"type":"cancel"}');
  const odd = await socket(t, `/ws/runs/${third}`);
  for (const text of ['nonsense', '{"type":"pause"}', '{"type":"cancel","run":"x"}']) odd.send(text);
  while (!viewer.messages.some((m) => m.error) || !odd.messages.some((m) => m.error)) await sleep(5);
  assert.equal(viewer.messages.find((m) => m.error).error.code, 'FORBIDDEN');
  assert.equal(odd.messages.find((m) => m.error).error.code, 'VALIDATION_ERROR');
  odd.send('{"type":"cancel"}');
  await Promise.all([odd.closed, viewer.closed]);
  assert.equal(viewer.messages.at(-1).type, 'run.cancelled');
});

test('too large and too many messages close a WebSocket; the run goes on', async () => {
  const run = await start(t, wide(3000));
  const large = await socket(t, `/ws/runs/${run}`);
  large.send('x'.repeat(2000));
  assert.equal((await large.closed).code, 1009);
  const flood = await socket(t, `/ws/runs/${await start(t, wide(3000))}`);
  for (let i = 0; i < 200; i++) flood.send('{"type":"x"}');
  assert.equal((await flood.closed).code, 1008);
  const pieces = await socket(t, `/ws/runs/${await start(t, wide(3000))}`);
  for (let i = 0; i < 40; i++) pieces.send('x', { fin: false });
  assert.equal((await pieces.closed).code, 1008);
  assert.equal((await finished(t, run)).status, 'done');
});

test('a client that goes away does not stop its run', async () => {
  const run = await start(t, wide(1500));
  await some(`/api/v1/runs/${run}/stream`, (l) => l.length >= 1);
  (await socket(t, `/ws/runs/${run}`)).terminate();
  assert.equal((await finished(t, run)).status, 'done');
});
