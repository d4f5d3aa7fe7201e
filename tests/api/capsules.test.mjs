// The catalog, and capsule calls as the seed has them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { api, canvas, counting, events, finished, problems, raw, refused, script, seqs, setUp, small } from './lib.mjs';

let t;
before(async () => { t = await setUp('capsules'); });
after(() => t.end());

const bong = 'auteur.bong-joon-ho';
const call = (more = {}) => ({ capsule_id: bong, capsule_version: '1.0.0', inputs: { emotion_curve: [0.2, 0.5, 0.9, 0.4], scene_summary: script, duration_sec: 20 }, params: { style_intensity: 0.7 }, ...more });

test('public specs, without what is inside', async () => {
  const { body } = await api(t, 'viewer', 'GET', '/api/v1/capsules');
  assert.deepEqual(body.items.map((c) => c.id), ['auteur.bong-joon-ho', 'auteur.hong-sangsoo', 'auteur.lee-junho', 'auteur.na-hongjin', 'auteur.park-chan-wook', 'auteur.shinkai']);
  for (const item of body.items) {
    assert.equal(item.adapter, undefined);
    const one = await api(t, 'viewer', 'GET', `/api/v1/capsules/${item.id}`);
    const version = await api(t, 'viewer', 'GET', `/api/v1/capsules/${item.id}/versions/${item.version}`);
    assert.deepEqual(one.body, version.body);
    assert.equal(one.body.adapter, undefined);
    assert.ok(!one.text.includes('private-dag'));
  }
  for (const url of ['/api/v1/capsules/nosuch', `/api/v1/capsules/${bong}/versions/9.9.9`, `/api/v1/capsules/${bong}/versions/x`]) refused(await api(t, 'viewer', 'GET', url), 404, 'NOT_FOUND');
  const types = (await api(t, 'viewer', 'GET', '/api/v1/node-types')).body.items.map((n) => n.type);
  assert.ok(types.includes('text.analyze'), types.join());
});

test('a call answers with its summary', async () => {
  const { status, body } = await api(t, 'member', 'POST', '/api/v1/capsules/run', call());
  assert.equal(status, 200);
  assert.equal(body.status, 'done', JSON.stringify(body));
  assert.equal(body.version, '1.0.0');
  assert.equal(body.summary.style_vector.length, 12);
  assert.equal(body.summary.pattern_version, 'v1');
  assert.ok(body.evidence_refs.some((r) => r.startsWith('db:patterns:')));
  assert.equal(body.token_usage.total, body.token_usage.input + body.token_usage.output);
  assert.ok(body.latency_ms >= 0 && body.cost_usd_est >= 0);
  const again = await api(t, 'viewer', 'GET', `/api/v1/capsules/run/${body.run_id}`);
  assert.equal(again.status, 200);
  assert.deepEqual(again.body, body);
  const all = await events(t, `/api/v1/capsules/run/${body.run_id}/stream`);
  assert.deepEqual(seqs(all), counting(1, all.length));
  assert.deepEqual(all.at(-1).payload.summary, body.summary);
  refused(await api(t, 'member', 'POST', `/api/v1/capsules/run/${body.run_id}/cancel`), 409, 'CONFLICT');
  const record = (await api(t, 'viewer', 'GET', `/api/v1/runs/${body.run_id}`)).body;
  assert.equal(record.kind, 'capsule');
  assert.equal(record.capsule_id, bong);
});

test('async_mode answers at once', async () => {
  const { status, body } = await api(t, 'member', 'POST', '/api/v1/capsules/run', call({ async_mode: true }));
  assert.equal(status, 202);
  assert.ok(['queued', 'running', 'done'].includes(body.status));
  const all = await events(t, `/api/v1/capsules/run/${body.run_id}/stream`);
  assert.equal(all.at(-1).type, 'run.completed');
  assert.equal((await api(t, 'member', 'GET', `/api/v1/capsules/run/${body.run_id}`)).body.status, 'done');
});

test('a run of a canvas is no capsule call', async () => {
  const { id } = await canvas(t, small());
  const run = (await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, {})).body.run_id;
  await finished(t, run);
  for (const [method, url] of [['GET', ''], ['GET', '/stream'], ['POST', '/cancel']]) refused(await api(t, 'member', method, `/api/v1/capsules/run/${run}${url}`), 404, 'NOT_FOUND');
});

test('everything that is wrong is named at once', async () => {
  const many = await api(t, 'member', 'POST', '/api/v1/capsules/run',
    { capsule_id: bong, capsule_version: '1.0.0', inputs: { emotion_curve: 'no', nosuch: 1 }, params: { style_intensity: 0.72, pacing: 'glacial', tension_bias: '0.5', unknown: 1 }, extra: true, async_mode: 1 });
  refused(many, 400, 'VALIDATION_ERROR');
  const paths = problems(many).map((p) => p.path);
  for (const path of ['$.extra', '$.async_mode', '$.params.style_intensity', '$.params.pacing', '$.params.tension_bias', '$.params.unknown', '$.inputs.nosuch', '$.inputs.emotion_curve'])
    assert.ok(paths.includes(path), `${path} in ${paths}`);
  for (const params of [{ style_intensity: 0.35 }, { style_intensity: 1.05 }, { style_intensity: 0.701 }, { style_intensity: true }, { style_intensity: null }, { pacing: 1 }])
    refused(await api(t, 'member', 'POST', '/api/v1/capsules/run', call({ params })), 400, 'VALIDATION_ERROR');
  for (const which of [{ capsule_id: 'auteur.nobody' }, { capsule_version: '9.9.9' }, { capsule_id: '' }, { capsule_version: undefined }])
    refused(await api(t, 'member', 'POST', '/api/v1/capsules/run', call(which)), 400, 'VALIDATION_ERROR');
  for (const body of ['', 'x', '{"capsule_id":"\xff"}', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`, '{"a":1,"a":1}', '{"a":Infinity}', '{"a":1e999}']) {
    const answer = await t.server.request('POST', '/api/v1/capsules/run', { body: Buffer.from(body, 'latin1') });
    assert.equal(answer.status, 400, body);
  }
});

test('a node of a canvas: upstream is taken from there', async () => {
  const graph = small();
  graph.nodes.push({ id: 'auteur', type: 'capsule', data: { capsuleId: bong, capsuleVersion: '1.0.0', params: { pacing: 'slow' } } });
  for (const port of ['emotion_curve', 'duration_sec', 'scene_summary']) graph.edges.push({ id: port, source: 'read', sourceHandle: port, target: 'auteur', targetHandle: port });
  const { id } = await canvas(t, graph);
  const answer = await api(t, 'member', 'POST', '/api/v1/capsules/run', { capsule_id: bong, capsule_version: '1.0.0', canvas_id: id, node_id: 'auteur' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.status, 'done', answer.text);
  assert.equal(answer.body.canvas_id, id);
  for (const which of [{ canvas_id: id, node_id: 'nobody' }, { canvas_id: 'x', node_id: 'auteur' }, { canvas_id: '01a1f94b-f73e-7915-a02c-d0813dbf5872', node_id: 'auteur' }])
    refused(await api(t, 'member', 'POST', '/api/v1/capsules/run', call({ inputs: {}, ...which })), 404, 'NOT_FOUND');
  refused(await api(t, 'member', 'POST', '/api/v1/capsules/run', call({ canvas_id: id })), 400, 'VALIDATION_ERROR');
});

test('the same Idempotency-Key: same body, other body, at once, after a restart', async () => {
  const key = (k, who = 'member', body = call()) => api(t, who, 'POST', '/api/v1/capsules/run', body, { 'idempotency-key': k });
  const first = await key('one');
  assert.equal(first.status, 200);
  const second = await key('one');
  assert.deepEqual([second.status, second.body], [first.status, first.body]);
  refused(await key('one', 'member', call({ params: { style_intensity: 0.75 } })), 409, 'CONFLICT');
  assert.notEqual((await key('one', 'author')).body.run_id, first.body.run_id, 'a key is its sender’s');
  assert.notEqual((await key('two')).body.run_id, first.body.run_id);
  const count = async () => (await api(t, 'member', 'GET', '/api/v1/runs?limit=200')).body.items.length;
  const had = await count();
  const all = await Promise.all(counting(1, 20).map(() => key('many')));
  assert.equal(new Set(all.map((a) => a.body.run_id)).size, 1);
  assert.ok(all.every((a) => a.status === 200));
  assert.equal(await count(), had + 1);
  await t.restart();
  assert.deepEqual((await key('one')).body, first.body);
  assert.equal(await count(), had + 1);
  for (const bad of ['', 'x'.repeat(201), 'h\xe9']) {
    const { text } = await raw(t, Buffer.from(`POST /api/v1/capsules/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${t.people.member}\r\nIdempotency-Key: ${bad}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`, 'latin1'));
    assert.match(text, /^HTTP\/1.1 400 /);
  }
  const { id } = await canvas(t, small());
  const runs = await Promise.all(counting(1, 10).map(() => api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, {}, { 'idempotency-key': 'canvas' })));
  assert.equal(new Set(runs.map((a) => a.body.run_id)).size, 1);
  refused(await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, { targets: ['text'] }, { 'idempotency-key': 'canvas' }), 409, 'CONFLICT');
});
