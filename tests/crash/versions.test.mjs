// A run ends on what it began with: neither a newer version of its capsule, which a later program publishes while it lies interrupted, nor a canvas that was saved with another document
// since, changes what it comes to. talos-canary-next is talos-canary with auteur.hong-sangsoo 1.1.0 (tests/canary/plant.mjs).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, talos, tempDir, top } from './server.mjs';

const build = process.env.TALOS_BUILD ?? path.join(top, 'build');
const [before, later] = ['talos-canary', 'talos-canary-next'].map((name) => path.join(build, name));
const capsule = 'auteur.hong-sangsoo';
const call = (capsuleVersion, inputs = {}) => ({ id: 'c', type: 'capsule', data: { capsuleId: capsule, capsuleVersion, inputs: { emotion_curve: [0.2, 0.9, 0.4], ...inputs } } });

// A gate before a capsule.
const gated = () => ({
  nodes: [{ id: 'n', type: 'input.number', data: { params: { value: 24 } } }, { id: 'g', type: 'gate' }, call('1.0.0')],
  edges: [{ source: 'n', sourceHandle: 'value', target: 'g', targetHandle: 'value' }, { source: 'g', sourceHandle: 'value', target: 'c', targetHandle: 'duration_sec' }],
});

test('a run that was killed ends on the versions and the document that it began with', { timeout: 120_000 }, async () => {
  const data = tempDir('versions');
  let server = await Server.start({ data, binary: before });
  const run = async (version) => {
    const { body, text } = await server.json('POST', '/api/v1/runs', { graph: { nodes: [call(version, { duration_sec: 24 })], edges: [] }, async_mode: false });
    assert.equal(body.status, 'done', text);
    return body.result.outputs.c.style_vector;
  };
  try {
    const canvas = (await server.json('POST', '/api/v1/canvases', { name: 'began', graph: gated() })).body.id;
    const { run_id: id } = (await server.json('POST', `/api/v1/canvases/${canvas}/runs`, {})).body;
    for await (const { data: text } of server.sse(`/api/v1/runs/${id}/stream`)) if (/"waiting"/.test(text)) break;
    const other = { nodes: [{ id: 'other', type: 'input.number', data: { params: { value: 1 } } }], edges: [] };
    assert.equal((await server.json('PUT', `/api/v1/canvases/${canvas}`, { graph: other })).status, 200);
    await server.kill('SIGKILL');

    server = await Server.start({ data, binary: later });
    assert.equal((await server.json('GET', `/api/v1/capsules/${capsule}`)).body.version, '1.1.0', 'a newer version is there');
    const { hash } = (await server.json('GET', `/api/v1/runs/${id}`)).body.waiting_for[0];
    assert.equal((await server.json('POST', `/api/v1/runs/${id}/approve`, { node: 'g', decision: 'approve', hash })).status, 200);
    let last;
    for await (const { data: text } of server.sse(`/api/v1/runs/${id}/stream`)) last = JSON.parse(text);
    assert.equal(last.type, 'run.completed', JSON.stringify(last));
    assert.deepEqual(Object.keys((await server.json('GET', `/api/v1/runs/${id}`)).body.nodes).sort(), ['c', 'g', 'n']);
    const began = last.payload.outputs.c.style_vector;
    assert.deepEqual(began, await run('1.0.0'));
    assert.notDeepEqual(began, await run('1.1.0'));
    assert.equal(await server.stop(), 0);
    const checked = talos(['check', '--deep', '--data', data], { binary: later });
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  } finally {
    await server.kill('SIGKILL');
    fs.rmSync(data, { recursive: true, force: true });
  }
});
