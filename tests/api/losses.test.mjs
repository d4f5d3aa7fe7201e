// Workers that are killed while they work: a lost worker is a lost lease, not an attempt. Its node is begun anew on another one, up to three times.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { api, setUp, sleep } from './lib.mjs';

let t;
let file;

before(async () => {
  t = await setUp('losses');
  const clip = path.join(t.data, '..', `${path.basename(t.data)}.mp4`);
  execFileSync('ffmpeg', ['-hide_banner', '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=s=640x360:r=24:d=4', '-c:v', 'libx264', '-preset', 'ultrafast', clip]);
  const answer = await t.server.request('POST', '/api/v1/files', { body: fs.readFileSync(clip), headers: { 'content-type': 'video/mp4', 'x-filename': 'clip.mp4' } });
  fs.rmSync(clip);
  assert.equal(answer.status, 201, answer.bytes.toString());
  file = JSON.parse(answer.bytes).id;
});
after(() => t.end());

// The server's workers, oldest first: who works was started before who stands ready.
function workers() {
  const stat = (pid) => {
    try {
      const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
      return { pid, state: fields[0], started: Number(fields[19]) };
    } catch {
      return { pid, state: 'Z' }; // it has just gone
    }
  };
  return fs.readdirSync(`/proc/${t.server.child.pid}/task`)
    .flatMap((tid) => fs.readFileSync(`/proc/${t.server.child.pid}/task/${tid}/children`, 'utf8').trim().split(' '))
    .filter(Boolean).map(Number).map(stat).filter((w) => w.state !== 'Z').sort((a, b) => a.started - b.started || a.pid - b.pid);
}

function kill({ pid }) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (e) {
    assert.equal(e.code, 'ESRCH');
  }
}

let made = 0;
async function begin(policy) {
  const params = { palette: ['#102A43', '#7A6A4A', '#E8D9B0'], style_vector: [1.4, 0.5, 0.3, 0.4, 0.1, 0.2, 0.4, 0.08, -0.2, -0.2, 0.2, (made++ % 10) / 10] };
  const nodes = [
    { id: 'clip', type: 'input.clip', data: { params: { file } } },
    { id: 'look', type: 'media.look', data: { inputs: { palette: params.palette, style_vector: params.style_vector }, ...(policy ? { policy } : {}) } },
    { id: 'apart', type: 'input.number', data: { params: { value: 1 } } },
  ];
  const edges = [{ id: 'e', source: 'clip', sourceHandle: 'clip', target: 'look', targetHandle: 'clip' }];
  const canvas = await api(t, 'member', 'POST', '/api/v1/canvases', { name: 'losses', graph: { nodes, edges } });
  assert.equal(canvas.status, 201, canvas.text);
  const run = await api(t, 'member', 'POST', `/api/v1/canvases/${canvas.body.id}/runs`, {});
  assert.equal(run.status, 202, run.text);
  return run.body.run_id;
}

// Follows a run to its end and kills the worker in each of the first so many attempts, once it has got somewhere. Returns how often, and the events.
async function killing(run, times) {
  const events = [];
  let killed = 0;
  let lost = 0;
  for await (const { data } of t.server.sse(`/api/v1/runs/${run}/stream`)) {
    const event = JSON.parse(data);
    events.push(event);
    if (/^run\.(completed|failed|cancelled)$/.test(event.type)) break;
    for (const node of event.payload.nodes ?? []) {
      if (node.id !== 'look') continue;
      const progress = node.progress ?? 0;
      if (killed > lost && progress < 5) lost++;
      if (node.status === 'running' && progress >= 5 && killed === lost && killed < times) {
        kill(workers()[0]);
        killed++;
      }
    }
  }
  return { killed, lost, events, last: events.at(-1) };
}

const blobs = () => fs.readdirSync(path.join(t.data, 'blobs')).filter((name) => name.length > 2);

test('killed once: the run completes, and nothing of the lost attempt stays', { timeout: 400_000 }, async () => {
  const { killed, last, events } = await killing(await begin(), 1);
  assert.equal(killed, 1);
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  const results = events.filter((e) => e.type === 'run.partial').flatMap((e) => e.payload.results).filter((r) => r.node === 'look');
  assert.equal(results.length, 1, 'its outputs are told once');
  assert.deepEqual(blobs(), [], 'no temporary file is left');
});

test('killed four times: WORKER_CRASH that names the node', { timeout: 400_000 }, async () => {
  const run = await begin();
  const { killed, last } = await killing(run, 4);
  assert.equal(killed, 4, JSON.stringify(last));
  assert.equal(last.type, 'run.failed', JSON.stringify(last));
  assert.equal(last.payload.error.code, 'WORKER_CRASH');
  assert.equal(last.payload.error.details.node, 'look');
  assert.match(last.payload.error.message, /signal 9/);
  assert.equal((await api(t, 'member', 'GET', `/api/v1/runs/${run}`)).body.nodes.apart.status, 'done');
  assert.deepEqual(blobs(), []);
});

test('a policy that names WORKER_CRASH goes on after the third loss', { timeout: 400_000 }, async () => {
  const { killed, last } = await killing(await begin({ retry: { max_attempts: 2, on: ['WORKER_CRASH'], backoff_ms: [1] } }), 4);
  assert.equal(killed, 4, JSON.stringify(last));
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
});

test('workers that die while they stand ready cost nothing', { timeout: 400_000 }, async () => {
  for (let i = 0; i < 5; i++) {
    workers().forEach(kill);
    await sleep(0);
  }
  const { last } = await killing(await begin(), 0);
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
});

test('a cancel ends the worker within 500 ms', { timeout: 400_000 }, async () => {
  const run = await begin();
  let asked;
  for await (const { data } of t.server.sse(`/api/v1/runs/${run}/stream`)) {
    const event = JSON.parse(data);
    if (!asked && event.payload.nodes?.some((n) => n.id === 'look' && n.progress > 0)) {
      asked = Date.now();
      assert.equal((await api(t, 'member', 'POST', `/api/v1/runs/${run}/cancel`, {})).status, 202);
    }
    if (/^run\.(completed|failed|cancelled)$/.test(event.type)) {
      assert.equal(event.type, 'run.cancelled');
      assert.ok(Date.now() - asked < 500, `${Date.now() - asked} ms`);
      break;
    }
  }
});
