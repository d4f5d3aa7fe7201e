// Parameters for administrators, over HTTP. No built-in capsule has one, so this runs the program that plant.mjs gave one to: `frame_balance` of auteur.lee-junho. Who is not in admin mode must not be able to
// tell it from a name that never was.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { api, canvas, events, finished, problems, refused, setUp } from '../api/lib.mjs';
import { top } from '../crash/server.mjs';

const binary = path.join(process.env.TALOS_BUILD ?? path.join(top, 'build'), 'talos-canary');
const lee = 'auteur.lee-junho', secret = 'frame_balance', never = 'frame_zalance', symmetry = 2; // the axis of the style vector that it moves
const on = { 'x-admin-mode': 'true' };
const plain = [['viewer', {}], ['member', {}], ['author', {}], ['admin', {}], ['author', { 'x-admin-mode': 'false' }], ['admin', { 'x-admin-mode': '' }]];
const urls = ['/api/v1/capsules', `/api/v1/capsules/${lee}`, `/api/v1/capsules/${lee}/versions/1.0.0`, '/api/v1/node-types'];

let t;
before(async () => { t = await setUp('admin', { binary }); });
after(() => t?.end());

const call = (params) => ({ capsule_id: lee, capsule_version: '1.0.0', inputs: { emotion_curve: [0.2, 0.7, 0.4], duration_sec: 30 }, params });
const graph = (params) => ({ nodes: [{ id: 'n', type: 'capsule', position: { x: 0, y: 0 }, data: { capsuleId: lee, capsuleVersion: '1.0.0', params, inputs: { duration_sec: 30 } } }], edges: [] });

// All that an answer says but for what differs between any two requests: ids and times, which have one length.
function masked(answer, name) {
  const head = Object.entries(answer.headers).filter(([key]) => !['date', 'x-request-id'].includes(key));
  return { status: answer.status, head, text: answer.text.replace(/"request_id":"[^"]*"/, '').replaceAll(name, '?'.repeat(name.length)), bytes: answer.bytes.length };
}

test('in admin mode it is seen, can be set and changes the result', async () => {
  for (const who of ['author', 'admin']) {
    for (const url of urls) assert.ok((await api(t, who, 'GET', url, undefined, on)).text.includes(secret), `${who} ${url}`);
    const spec = (await api(t, who, 'GET', urls[1], undefined, on)).body;
    assert.deepEqual(spec.exposedParams[secret], { type: 'number', min: 0, max: 1, step: 0.04, default: 0.36, visibility: 'admin' });
    const axis = async (params) => {
      const { status, body, text } = await api(t, who, 'POST', '/api/v1/capsules/run', call(params), on);
      assert.equal(status, 200, text);
      assert.equal(body.status, 'done', text);
      return body.summary.style_vector[symmetry];
    };
    const usual = await axis({});
    assert.equal(await axis({ [secret]: 0.36 }), usual);
    assert.ok((await axis({ [secret]: 0 })) < usual - 0.1);
    assert.ok((await axis({ [secret]: 1 })) > usual + 0.1);
    for (const wrong of [1.04, 0.5, '0.4', null])
      assert.deepEqual(problems(await api(t, who, 'POST', '/api/v1/capsules/run', call({ [secret]: wrong }), on)).map((p) => p.path), [`$.params.${secret}`]);
  }
});

test('a canvas of an author takes it in admin mode', async () => {
  const { id } = await canvas(t, graph({ [secret]: 1 }), 'author');
  assert.deepEqual(problems(await api(t, 'author', 'POST', '/api/v1/canvases/validate', { graph: graph({ [secret]: 1 }) }, on)), []);
  const run = await api(t, 'author', 'POST', `/api/v1/canvases/${id}/runs`, {}, on);
  assert.equal(run.status, 202, run.text);
  assert.equal((await finished(t, run.body.run_id, 'author')).status, 'done');
  refused(await api(t, 'author', 'POST', `/api/v1/canvases/${id}/runs`, {}), 400, 'VALIDATION_ERROR');
});

test('what was made with it does not tell others of it', async () => {
  const { body } = await api(t, 'author', 'POST', '/api/v1/capsules/run', call({ [secret]: 0.8 }), on);
  for (const url of [`/api/v1/capsules/run/${body.run_id}`, `/api/v1/runs/${body.run_id}`, '/api/v1/runs'])
    assert.ok(!(await api(t, 'viewer', 'GET', url)).text.includes(secret), url);
  const told = await events(t, `/api/v1/capsules/run/${body.run_id}/stream`);
  assert.ok(told.length > 2 && !JSON.stringify(told).includes(secret));
});

test('for everybody else it is not there', async () => {
  const everybody = new Map();
  for (const [who, headers] of plain) {
    for (const url of urls) {
      const answer = await api(t, who, 'GET', url, undefined, headers);
      assert.equal(answer.status, 200);
      assert.ok(!answer.text.includes(secret) && !answer.text.includes('"admin"'), `${who} ${url}`);
      assert.equal(answer.text, everybody.get(url) ?? answer.text, `${who} sees ${url} as everybody does`);
      everybody.set(url, answer.text);
    }
  }
  assert.ok(!(await api(t, null, 'GET', '/openapi.json')).text.includes(secret));
});

test('to name it is to name what never was, byte for byte', async () => {
  for (const [who, headers] of plain) {
    for (const value of [0.36, 7, 'x', null]) {
      const asked = async (method, url, body) => {
        const answers = [];
        for (const name of [secret, never]) answers.push(masked(await api(t, who, method, url, body(name), headers), name));
        assert.deepEqual(answers[0], answers[1], `${who} ${url} ${value}`);
        return answers[0];
      };
      const run = await asked('POST', '/api/v1/capsules/run', (name) => call({ [name]: value, nosuch: 1, style_intensity: 9 }));
      if (who === 'viewer') {
        assert.equal(run.status, 403);
        continue;
      }
      assert.equal(run.status, 400);
      assert.match(run.text, /\$\.params\.\?{13}/);
      assert.equal((await asked('POST', '/api/v1/capsules/run', (name) => call({ [name]: value }))).status, 400);
      assert.match((await asked('POST', '/api/v1/canvases/validate', (name) => ({ graph: graph({ [name]: value }) }))).text, /\?{13}/);
    }
  }
});

test('who may not have the mode is refused with it', async () => {
  for (const who of ['viewer', 'member']) {
    for (const url of urls) refused(await api(t, who, 'GET', url, undefined, on), 403, 'FORBIDDEN');
    for (const name of [secret, never]) refused(await api(t, who, 'POST', '/api/v1/capsules/run', call({ [name]: 0.4 }), on), 403, 'FORBIDDEN');
  }
});
