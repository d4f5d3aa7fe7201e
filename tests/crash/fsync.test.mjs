// Nothing is published before it is on disk. A preloaded library (fsync_shim.c) writes down the order of database writes, syncs and of every
// event id that goes out on a socket; here it is read. A kill -9 could not show this: the kernel keeps what was written.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import WebSocket from 'ws';
import { Server, tempDir, top } from './server.mjs';

const shim = path.join(process.env.TALOS_BUILD ?? path.join(top, 'build'), 'tests/crash/fsync_shim.so');

// {event id → {write, sync, mark, publish}}: the number of each event id's first write, the first sync after it, the first valid meta page after that, and of the first publication.
export function orderOf(log) {
  const events = new Map();
  let unsynced = [];
  let unmarked = [];
  for (const line of log.split('\n').filter(Boolean)) {
    const [number, what, , file, ...ids] = line.split(' ');
    const at = Number(number);
    if (what === 'write') {
      for (const id of ids)
        if (!events.has(id)) {
          events.set(id, { write: at });
          unsynced.push(id);
        }
    } else if (what === 'sync' && file.endsWith('.mdb')) {
      for (const id of unsynced) events.get(id).sync = at;
      unmarked.push(...unsynced);
      unsynced = [];
    } else if (what === 'dwrite') {
      for (const id of unmarked) events.get(id).mark = at;
      unmarked = [];
    } else if (what === 'publish') {
      for (const id of ids) {
        if (!events.has(id)) events.set(id, {});
        events.get(id).publish ??= at;
      }
    }
  }
  return events;
}

// The published events that were not on disk by then.
export function early(events) {
  return [...events].filter(([, e]) => e.publish && !(e.write < e.sync && e.sync < e.mark && e.mark < e.publish)).map(([id]) => id);
}

test('the log is read rightly', () => {
  const good = '1 write 5 /d/data.mdb a:1 a:2\n2 sync 5 /d/data.mdb\n3 dwrite 6 /d/data.mdb\n4 publish 9 socket a:1\n';
  assert.deepEqual(early(orderOf(good)), []);
  for (const missing of [1, 2, 3]) {
    const bad = good.split('\n').filter((line) => !line.startsWith(`${missing} `)).join('\n');
    assert.deepEqual(early(orderOf(bad)), ['a:1'], `without ${missing}`);
  }
  assert.deepEqual(early(orderOf('1 publish 9 socket a:1\n2 write 5 /d/data.mdb a:1\n3 sync 5 /d/data.mdb\n4 dwrite 6 /d/data.mdb\n')), ['a:1']);
});

function overWebSocket(server, run, take) {
  return new Promise((done, fail) => {
    const ws = new WebSocket(`ws://127.0.0.1:${server.port}/ws/runs/${run}`, { headers: { authorization: `Bearer ${server.token}` } });
    ws.on('message', (text) => {
      const event = JSON.parse(text);
      take(event);
      if (/^run\.(completed|failed|cancelled)$/.test(event.type)) ws.close();
    });
    ws.on('close', done).on('error', fail);
  });
}

test('every event is on disk before a byte of it is sent', { timeout: 120_000 }, async () => {
  const data = tempDir('fsync');
  const log = path.join(data, 'shim.log');
  let server;
  try {
    // The sanitizers want to be first; the library overrides nothing of theirs.
    const env = { LD_PRELOAD: shim, TL_SHIM_LOG: log, ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0` };
    server = await Server.start({ data, env });
    const params = { style_intensity: 0.7 };
    const inputs = { emotion_curve: [0.2, 0.8, 0.5], scene_summary: 'Rain. He runs.', duration_sec: 12 };
    const watch = async (i) => {
      const body = { capsule_id: 'auteur.bong-joon-ho', capsule_version: '1.0.0', params, inputs: { ...inputs, duration_sec: 12 + i }, async_mode: true };
      const started = await server.json('POST', '/api/v1/capsules/run', body);
      assert.equal(started.status, 202, started.text);
      const run = started.body.run_id;
      const ids = [];
      if (i % 2) for await (const { data: text } of server.sse(`/api/v1/capsules/run/${run}/stream`)) ids.push(JSON.parse(text).event_id);
      else await overWebSocket(server, run, (event) => ids.push(event.event_id));
      return ids;
    };
    const seen = (await Promise.all(Array.from({ length: 20 }, (_, i) => watch(i)))).flat();
    assert.equal(await server.stop(), 0);
    const events = orderOf(fs.readFileSync(log, 'utf8'));
    const published = [...events].filter(([, e]) => e.publish);
    assert.ok(seen.length >= 60, `only ${seen.length} events`);
    for (const id of seen) assert.ok(events.get(id)?.publish, `${id} was seen and is not in the log`);
    assert.deepEqual(early(events), []);
    console.log(`# ${published.length} events, each written, synced and marked valid before it was sent`);
  } finally {
    await server?.kill('SIGKILL');
    fs.rmSync(data, { recursive: true, force: true });
  }
});
