// A disk that fills up while the server runs: what cannot be kept is refused with 507, what is kept is still read, and after a restart with room all goes on.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, talos, tempDir, top } from './server.mjs';

const shim = path.join(process.env.TALOS_BUILD ?? path.join(top, 'build'), 'tests/crash/full_shim.so');
const graph = { nodes: [{ id: 'a', type: 'text.analyze', data: { inputs: { text: 'Rain. He runs.' } } }], edges: [] };
const call = { capsule_id: 'auteur.bong-joon-ho', capsule_version: '1.0.0', params: { style_intensity: 0.7 }, inputs: { emotion_curve: [0.2, 0.8], scene_summary: 'Rain.', duration_sec: 12 } };

function full(answer) {
  assert.equal(answer.status, 507, answer.text ?? answer.bytes.toString());
  assert.equal(JSON.parse(answer.bytes).error.code, 'STORAGE_FULL');
}

test('a full disk refuses writes and nothing else', { timeout: 120_000 }, async () => {
  const data = tempDir('full');
  const mark = path.join(data, 'full');
  let server;
  try {
    const env = { LD_PRELOAD: shim, TL_SHIM_FULL: mark, ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0` };
    server = await Server.start({ data, env });
    const made = await server.json('POST', '/api/v1/canvases', { name: 'before', graph });
    assert.equal(made.status, 201, made.text);
    const file = await server.request('POST', '/api/v1/files', { body: 'kept', headers: { 'content-type': 'text/plain', 'x-filename': 'a.txt' } });
    assert.equal(file.status, 201, file.bytes.toString());
    const started = await server.json('POST', `/api/v1/canvases/${made.body.id}/runs`, {});
    assert.equal(started.status, 202, started.text);
    const seen = [];
    for await (const event of server.sse(`/api/v1/runs/${started.body.run_id}/stream`)) seen.push(event.data);
    assert.equal((await server.json('GET', '/readyz')).status, 200);

    fs.writeFileSync(mark, '');
    const upload = { body: 'lost', headers: { 'content-type': 'text/plain', 'x-filename': 'b.txt' } };
    full(await server.request('POST', '/api/v1/files', upload));
    assert.equal((await server.json('GET', '/readyz')).status, 200, 'a file that finds no room makes nothing else unsure');
    full(await server.json('POST', '/api/v1/canvases', { name: 'after', graph }));
    full(await server.json('PATCH', `/api/v1/canvases/${made.body.id}`, { name: 'other' }));
    full(await server.json('POST', `/api/v1/canvases/${made.body.id}/runs`, {}));
    full(await server.json('POST', '/api/v1/capsules/run', { ...call, async_mode: true }));
    assert.equal((await server.json('GET', '/readyz')).status, 503);
    assert.equal((await server.json('GET', '/healthz')).status, 200);

    const kept = async () => {
      assert.equal((await server.json('GET', `/api/v1/canvases/${made.body.id}`)).body.name, 'before');
      assert.deepEqual((await server.json('GET', '/api/v1/canvases')).body.items.map((c) => c.name), ['before']);
      assert.equal((await server.json('GET', `/api/v1/runs/${started.body.run_id}`)).body.status, 'done');
      const { id } = JSON.parse(file.bytes);
      assert.equal((await server.request('GET', `/api/v1/files/${id}/content`)).bytes.toString(), 'kept');
      const again = [];
      for await (const event of server.sse(`/api/v1/runs/${started.body.run_id}/stream`)) again.push(event.data);
      assert.deepEqual(again, seen);
    };
    await kept();
    fs.rmSync(mark);
    full(await server.json('POST', '/api/v1/canvases', { name: 'after', graph }));
    assert.equal(await server.stop(), 0);

    server = await Server.start({ data });
    await kept();
    assert.equal((await server.json('POST', '/api/v1/canvases', { name: 'after', graph })).status, 201);
    assert.equal(await server.stop(), 0);
    const checked = talos(['check', '--deep', '--data', data]);
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  } finally {
    await server?.kill('SIGKILL');
    fs.rmSync(data, { recursive: true, force: true });
  }
});
