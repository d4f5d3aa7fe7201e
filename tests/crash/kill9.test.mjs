// kill -9 at random points under load, again and again on one data directory. After each restart: every event that a client has seen is there, byte for
// byte, and in its place; every run that a client was told of goes on, and ends done. At the end the store is checked.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, sleep, talos, tempDir } from './server.mjs';

const POINTS = Number(process.env.KILL_POINTS ?? 100);
const SEED = Number(process.env.KILL_SEED ?? Date.now() % 1000000);

// Small and known, so that a failure can be run again: KILL_SEED=… in the environment.
let state = SEED;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

let made = 0;
// A graph of texts that nobody has read before, so that no result is remembered: a chain of capsules beside plain ops.
function graph() {
  const nodes = [];
  const edges = [];
  const width = 2 + Math.floor(random() * 5);
  for (let i = 0; i < width; i++) {
    nodes.push({ id: `text${i}`, type: 'text.analyze', data: { inputs: { text: `비가 온다 ${made++}. 그는 달린다! 누군가 문을 두드린다.` } } });
    nodes.push({
      id: `auteur${i}`, type: 'capsule',
      data: { capsuleId: 'auteur.na-hongjin', capsuleVersion: '1.0.0', params: { style_intensity: 0.7 } },
    });
    for (const port of ['emotion_curve', 'duration_sec', 'scene_summary'])
      edges.push({ id: `${i}${port}`, source: `text${i}`, sourceHandle: port, target: `auteur${i}`, targetHandle: port });
  }
  return { nodes, edges };
}

// A run whose work is done in a worker process, which dies with the server: it is begun again each time.
async function mediaRun(server, dir) {
  const clip = path.join(dir, 'clip.mp4');
  execFileSync('ffmpeg', ['-hide_banner', '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=24:d=2', '-c:v', 'libx264', '-preset', 'ultrafast', clip]);
  const file = await server.request('POST', '/api/v1/files', { body: fs.readFileSync(clip), headers: { 'content-type': 'video/mp4', 'x-filename': 'clip.mp4' } });
  assert.equal(file.status, 201, file.bytes.toString());
  const nodes = [{ id: 'clip', type: 'input.clip', data: { params: { file: JSON.parse(file.bytes).id } } }, { id: 'analyze', type: 'media.analyze', data: {} }];
  const edges = [{ id: 'e', source: 'clip', sourceHandle: 'clip', target: 'analyze', targetHandle: 'clip' }];
  const canvas = await server.json('POST', '/api/v1/canvases', { name: 'media', graph: { nodes, edges } });
  const started = await server.json('POST', `/api/v1/canvases/${canvas.body.id}/runs`, {});
  assert.equal(started.status, 202, started.text);
  return started.body.run_id;
}

// Reads a run's stream into seen (Map of seq to the event's text) until the connection or the run ends.
async function watch(server, run, seen) {
  try {
    for await (const { id, data } of server.sse(`/api/v1/runs/${run}/stream`)) {
      const seq = Number(id);
      if (seen.has(seq)) assert.equal(data, seen.get(seq), `event ${seq} of ${run} has changed`);
      else seen.set(seq, data);
      if (/"type":"run\.(completed|failed|cancelled)"/.test(data)) return;
    }
  } catch (e) {
    if (e instanceof assert.AssertionError) throw e;
  }
}

async function load(server, runs, stop) {
  const watching = [];
  while (!stop.now) {
    try {
      const canvas = await server.json('POST', '/api/v1/canvases', { name: 'load', graph: graph() });
      if (canvas.status !== 201) throw new Error(`canvas: ${canvas.status} ${canvas.text}`);
      const started = await server.json('POST', `/api/v1/canvases/${canvas.body.id}/runs`, {});
      if (started.status !== 202) throw new Error(`run: ${started.status} ${started.text}`);
      const run = started.body.run_id;
      runs.set(run, new Map());
      watching.push(watch(server, run, runs.get(run)));
    } catch (e) {
      if (!stop.now) {
        if (e.cause || e.code) await sleep(1); // the server is going
        else throw e;
      }
    }
  }
  await Promise.all(watching);
}

function contiguous(run, seen) {
  const seqs = [...seen.keys()].sort((a, b) => a - b);
  seqs.forEach((seq, i) => assert.equal(seq, i + 1, `run ${run} has a gap before event ${seq}`));
  return seen.get(seqs.length);
}

test(`kill -9 at ${POINTS} points under load (KILL_SEED=${SEED})`, { timeout: 600_000 }, async () => {
  const data = tempDir('kill9');
  const open = new Map(); // run → events seen, not ended as far as we know
  let ended = 0;
  let events = 0;
  let interrupted = 0;
  let server = await Server.start({ data });
  const work = tempDir('kill9-clip');
  try {
    open.set(await mediaRun(server, work), new Map());
    for (let point = 0; point < POINTS; point++) {
      const stop = { now: false };
      const before = new Map(open);
      // What was interrupted is watched from its beginning, beside new load.
      const resumed = [...before].map(([run, seen]) => watch(server, run, seen));
      const loads = [load(server, open, stop), load(server, open, stop)];
      await sleep(random() * 120);
      stop.now = true;
      await server.kill('SIGKILL');
      await Promise.all([...resumed, ...loads]);
      server = await Server.start({ data });
      for (const [run, seen] of [...open]) {
        const last = seen.size ? contiguous(run, seen) : undefined;
        if (last && /"type":"run\.(completed|failed|cancelled)"/.test(last)) {
          assert.match(last, /"type":"run\.completed"/, `run ${run} did not end done: ${last}`);
          open.delete(run);
          ended++;
          events += seen.size;
        } else {
          interrupted++;
        }
      }
    }
    // Whatever is still open goes on to its end now.
    await Promise.all([...open].map(async ([run, seen]) => {
      // A slow machine may lose a connection to the sweep for laggards; the run is asked for again from its cursor.
      for (let turn = 0; turn < 20 && !/"type":"run\.(completed|failed|cancelled)"/.test(contiguous(run, seen) ?? ''); turn++) await watch(server, run, seen);
      assert.match(contiguous(run, seen) ?? '', /"type":"run\.completed"/, `run ${run} did not end done`);
      events += seen.size;
      ended++;
    }));
    const listed = await server.json('GET', '/api/v1/runs?limit=1');
    assert.equal(listed.status, 200);
    assert.ok(ended > POINTS / 4, `only ${ended} runs were made`);
    assert.ok(interrupted > POINTS / 10, `only ${interrupted} runs were interrupted`);
    assert.equal(await server.stop(), 0);
    const checked = talos(['check', '--deep', '--data', data]);
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
    console.log(`# ${POINTS} kills, ${ended} runs, ${interrupted} times a run was interrupted, ${events} events, none missing`);
  } finally {
    await server.kill('SIGKILL');
    for (const dir of [data, work]) fs.rmSync(dir, { recursive: true, force: true });
  }
});
