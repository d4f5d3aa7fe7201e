// A hybrid capsule with a language model configured: it is asked, paid for, survived when it is busy or silent, and left alone when the run is cancelled.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import { test } from 'node:test';
import { Server, tempDir } from '../crash/server.mjs';

// Speaks the chat completions protocol; answer decides how.
async function startModel() {
  const model = { asked: [], mode: 'answer' };
  model.server = http.createServer(async (req, res) => {
    let body = '';
    for await (const part of req) body += part;
    model.asked.push({ url: req.url, authorization: req.headers.authorization, body: JSON.parse(body) });
    model.server.emit('asked');
    if (model.mode === 'silent') return;
    if (model.mode === 'busy') {
      res.writeHead(429, { 'retry-after': '0' });
      res.end();
      return;
    }
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const part of '{"valence":-1,"arousal":1,"rain":1,"class":1}'.match(/.{1,7}/g))
      res.write(`data: ${JSON.stringify({ choices: [{ delta: { content: part } }] })}\n\n`);
    res.end('data: {"choices":[],"usage":{"prompt_tokens":300,"completion_tokens":50}}\n\ndata: [DONE]\n\n');
  });
  await new Promise((done) => model.server.listen(0, '127.0.0.1', done));
  return model;
}

test('a hybrid capsule and its language model', { timeout: 60_000 }, async () => {
  const model = await startModel();
  const data = tempDir('llm');
  let server;
  try {
    fs.writeFileSync(`${data}/model.key`, 'sk-of-this-test\n');
    const env = {
      TALOS_LLM_URL: `http://127.0.0.1:${model.server.address().port}/v1`, TALOS_LLM_MODEL: 'tiny', TALOS_LLM_KEY_FILE: `${data}/model.key`,
      TALOS_LLM_USD_PER_MTOK_IN: '2', TALOS_LLM_USD_PER_MTOK_OUT: '10', TALOS_LLM_TIMEOUT_MS: '3000',
    };
    server = await Server.start({ data, env });
    const call = (scene, more = {}) => server.json('POST', '/api/v1/capsules/run', {
      capsule_id: 'auteur.bong-joon-ho', capsule_version: '1.0.0', params: {}, inputs: { scene_summary: scene, duration_sec: 12 }, ...more,
    });

    const answered = await call('Somebody makes tea.');
    assert.equal(answered.status, 200, answered.text);
    assert.deepEqual(answered.body.token_usage, { input: 300, output: 50, total: 350 });
    assert.ok(Math.abs(answered.body.cost_usd_est - 0.0011) < 1e-9, answered.text);
    assert.equal(model.asked.length, 1);
    const { url, authorization, body } = model.asked[0];
    assert.equal(url, '/v1/chat/completions');
    assert.equal(authorization, 'Bearer sk-of-this-test');
    assert.equal(body.model, 'tiny');
    assert.ok(body.messages.at(-1).content.includes('Somebody makes tea.'));

    model.mode = 'busy';
    const local = await call('Somebody makes tea?');
    assert.equal(local.status, 200, local.text);
    assert.equal(local.body.status, 'done');
    assert.deepEqual(local.body.token_usage, { input: 0, output: 0, total: 0 });
    assert.equal(model.asked.length, 4, 'asked three times, and no more');
    assert.notDeepEqual(local.body.summary, answered.body.summary, 'what the model read makes a difference');

    model.mode = 'silent';
    const late = await call('Somebody makes tea!');
    assert.equal(late.status, 200, late.text);
    assert.deepEqual(late.body.token_usage, { input: 0, output: 0, total: 0 });

    const asked = once(model.server, 'asked');
    const started = await call('Somebody makes no tea.', { async_mode: true });
    assert.equal(started.status, 202, started.text);
    await asked;
    const cancelled = await server.json('POST', `/api/v1/capsules/run/${started.body.run_id}/cancel`, {});
    assert.ok(cancelled.status < 300, cancelled.text);
    const events = [];
    for await (const { data: text } of server.sse(`/api/v1/capsules/run/${started.body.run_id}/stream`)) events.push(text);
    assert.equal(JSON.parse(events.at(-1)).type, 'run.cancelled');

    // What the model was told, and the key, stay inside.
    const said = [answered.text, local.text, late.text, cancelled.text, ...events].join('\n');
    assert.equal(await server.stop(), 0);
    for (const secret of ['sk-of-this-test', ...body.messages.map((m) => m.content.slice(0, 60))])
      assert.ok(!said.includes(secret) && !server.log.includes(secret) && !server.out.includes(secret), secret);
  } finally {
    await server?.kill('SIGKILL');
    model.server.closeAllConnections();
    model.server.close();
    fs.rmSync(data, { recursive: true, force: true });
  }
});
