// A capsule that is interrupted goes on from its last private steps: its language model is not asked twice. What these steps came to lies in the data directory meanwhile, sealed. One capsule of
// talos-canary asks its model two questions, one after the other (plant.mjs); the server is killed while the second is open.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { Server, talos, tempDir, top } from '../crash/server.mjs';
import { Scanner } from './scan.mjs';

const build = process.env.TALOS_BUILD ?? path.join(top, 'build');
const binary = path.join(build, 'talos-canary');
const told = 'zqwhatthemodelsaidtothefirstquestion';

// Answers all questions but one: the second stays open until it is asked again.
async function startModel() {
  const model = { asked: 0 };
  model.server = http.createServer(async (req, res) => {
    for await (const part of req) void part;
    const number = ++model.asked;
    model.server.emit('asked');
    if (number === 2) return;
    const content = JSON.stringify({ valence: -0.4, arousal: 0.8, rain: 1, note: told });
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`);
    res.end('data: {"choices":[],"usage":{"prompt_tokens":300,"completion_tokens":50}}\n\ndata: [DONE]\n\n');
  });
  await new Promise((done) => model.server.listen(0, '127.0.0.1', done));
  return model;
}

test('what a capsule was told before a crash is not asked for again', { timeout: 120_000 }, async () => {
  const model = await startModel(), data = tempDir('resume');
  const env = { TALOS_LLM_URL: `http://127.0.0.1:${model.server.address().port}/v1`, TALOS_LLM_MODEL: 'tiny', TALOS_LLM_TIMEOUT_MS: '60000' };
  let server = await Server.start({ data, env, binary });
  try {
    const started = await server.json('POST', '/api/v1/capsules/run', {
      capsule_id: 'auteur.shinkai', capsule_version: '1.0.0', params: {}, inputs: { scene_summary: 'Rain, two people.', duration_sec: 12 }, async_mode: true,
    });
    assert.equal(started.status, 202, started.text);
    while (model.asked < 2) await once(model.server, 'asked');
    // The first step was handed to the writer before the second question was asked: it is on disk when two more writes, one after the other, have been acknowledged.
    for (const name of ['one', 'two', 'three']) assert.equal((await server.json('POST', '/api/v1/canvases', { name, graph: { nodes: [], edges: [] } })).status, 201);
    await server.kill('SIGKILL');
    model.server.closeAllConnections();
    const planted = JSON.parse(fs.readFileSync(path.join(build, 'canary/canaries.json'), 'utf8')).filter((c) => c.where.startsWith('shinkai:'));
    const scanner = new Scanner([...planted, { text: told, where: 'answer' }]);
    assert.deepEqual(scanner.scan(fs.readFileSync(path.join(data, 'db/data.mdb'))), []);

    server = await Server.start({ data, env, binary });
    const events = [];
    for await (const { data: text } of server.sse(`/api/v1/capsules/run/${started.body.run_id}/stream`)) events.push(JSON.parse(text));
    assert.equal(events.at(-1).type, 'run.completed', JSON.stringify(events.at(-1)));
    assert.equal(model.asked, 3, 'the first question once, the second twice');
    assert.deepEqual(events.at(-1).payload.token_usage, { input: 600, output: 100, total: 700 });
    await server.stop();
    const checked = talos(['check', '--data', data], { binary });
    assert.equal(checked.status, 0, checked.stdout);
  } finally {
    await server.kill('SIGKILL');
    model.server.closeAllConnections();
    model.server.close();
    fs.rmSync(data, { recursive: true, force: true });
  }
});
