// The server itself: health, figures, its description, the canvas's files, what it does when the store is full.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { tempDir } from '../crash/server.mjs';
import { api, finished, program, refused, setUp, small, start } from './lib.mjs';

let t;
before(async () => { t = await setUp('system'); });
after(() => t.end());

test('health', async () => {
  assert.deepEqual((await api(t, null, 'GET', '/healthz')).body, { status: 'ok' });
  assert.deepEqual((await api(t, null, 'GET', '/readyz')).body, { status: 'ready' });
});

test('the description is a valid OpenAPI document and knows every route', async () => {
  const { body } = await t.server.json('GET', '/openapi.json', undefined, { auth: null });
  const result = await new Validator().validate(structuredClone(body));
  assert.ok(result.valid, JSON.stringify(result.errors));
  const ids = Object.values(body.paths).flatMap((ops) => Object.values(ops).map((op) => op.operationId));
  assert.equal(new Set(ids).size, ids.length);
  const known = Object.entries(body.paths).flatMap(([p, ops]) => Object.keys(ops).map((m) => `${m.toUpperCase()} ${p}`));
  // Issue point 7, one by one.
  for (const route of ['POST /api/v1/capsules/run', 'GET /api/v1/capsules/run/{run_id}', 'GET /api/v1/capsules/run/{run_id}/stream', 'POST /api/v1/capsules/run/{run_id}/cancel', 'GET /ws/runs/{id}', 'GET /api/v1/capsules',
    'GET /api/v1/capsules/{id}', 'GET /api/v1/capsules/{id}/versions/{version}', 'GET /api/v1/node-types', 'GET /api/v1/templates', 'GET /api/v1/templates/{id}', 'POST /api/v1/templates/{id}/instantiate',
    'GET /api/v1/canvases', 'POST /api/v1/canvases', 'GET /api/v1/canvases/{id}', 'PUT /api/v1/canvases/{id}', 'DELETE /api/v1/canvases/{id}', 'POST /api/v1/canvases/validate', 'POST /api/v1/canvases/{id}/runs',
    'GET /api/v1/runs', 'GET /api/v1/runs/{id}', 'GET /api/v1/runs/{id}/stream', 'POST /api/v1/runs/{id}/cancel', 'POST /api/v1/files', 'GET /api/v1/files/{id}', 'GET /api/v1/files/{id}/content', 'GET /healthz', 'GET /readyz',
    'GET /metrics', 'GET /openapi.json'])
    assert.ok(known.includes(route), route);
});

test('figures for Prometheus', async () => {
  await finished(t, await start(t, small()));
  const { bytes, headers } = await t.server.request('GET', '/metrics', { auth: null });
  const text = bytes.toString();
  assert.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
  for (const line of text.trim().split('\n')) assert.match(line, /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? -?[\d.e+]+)$/, line);
  const value = (name) => Number(new RegExp(`^${name.replace(/[{}"/]/g, '\\$&')} (.*)$`, 'm').exec(text)?.[1]);
  assert.equal(value('talos_http_requests_total{route="/api/v1/canvases",method="POST",status="201"}'), 1);
  assert.equal(value('talos_runs_ended_total{status="done"}'), 1);
  for (const name of ['talos_db_commits_total', 'process_resident_memory_bytes', 'talos_uptime_seconds', 'talos_runs', 'talos_connections']) assert.ok(value(name) > 0, name);
  assert.equal(value('talos_runs_live'), 0);
  assert.equal(value('talos_db_read_only'), 0);
});

test('the log: a JSON object a line, of what was done and what was refused, with nothing that a client wrote', async () => {
  const run = await start(t, small());
  await finished(t, run);
  const late = `${t.people.member.slice(0, -4)}AAAA`;
  refused(await api(t, late, 'GET', '/api/v1/runs/a-secret-path?cursor=a-secret-query'), 401, 'AUTH_REQUIRED');
  const made = await t.server.json('POST', '/api/v1/canvases?x=a-secret-query', { name: 'a-secret-name' });
  await t.restart();
  const before = t.log.trim().split('\n').map((line) => JSON.parse(line));
  for (const line of before) assert.deepEqual(Object.keys(line), ['ts', 'level', 'event', 'message']);
  const said = (event, word) => before.find((l) => l.event === event && l.message.includes(word));
  assert.equal(said('server.start', String(t.port)).level, 'info');
  assert.match(said('run.ended', run).message, / ended: done$/);
  assert.match(said('request', made.headers['x-request-id']).message, /^POST \/api\/v1\/canvases \d+ \d+ ms req_/);
  assert.equal(said('auth.refused', 'GET /api/v1/runs/{id} 401').level, 'warn');
  assert.equal(before.at(-1).event, 'server.stop');
  assert.ok(!t.log.includes('a-secret') && !t.log.includes(late) && !t.log.includes('/healthz'));
});

test('an error has one form everywhere', async () => {
  for (const url of ['/nosuch', '/api/v1/nosuch', '/api/v1/runs/x', '/api/v1/runs?limit=x']) {
    const { body, headers } = await api(t, 'member', 'GET', url);
    assert.deepEqual(Object.keys(body), ['error', 'meta']);
    assert.deepEqual(Object.keys(body.error), ['code', 'message', 'details']);
    assert.match(body.meta.request_id, /^req_[0-9a-f]{32}$/);
    assert.equal(headers['x-request-id'], body.meta.request_id);
    assert.equal(headers['content-type'], 'application/json');
  }
});

test('without a canvas there is a page that says so', async () => {
  const { status, headers, bytes } = await t.server.request('GET', '/', { auth: null });
  assert.equal(status, 200);
  assert.match(headers['content-type'], /^text\/html/);
  assert.match(bytes.toString(), /openapi\.json/);
});

test('the canvas’s files, and no others', async () => {
  const data = tempDir('web');
  const web = path.join(data, 'web');
  fs.mkdirSync(path.join(web, 'assets'), { recursive: true });
  fs.writeFileSync(path.join(data, 'secret.txt'), 'a secret');
  fs.writeFileSync(path.join(web, 'index.html'), '<!doctype html><p>canvas');
  fs.writeFileSync(path.join(web, 'assets/app.js'), 'console.log(1)');
  fs.writeFileSync(path.join(web, '.env'), 'a secret');
  fs.symlinkSync(path.join(data, 'secret.txt'), path.join(web, 'link.txt'));
  fs.symlinkSync('/etc', path.join(web, 'etc'));
  const child = spawn(program, ['serve', '--data', path.join(data, 'd'), '--listen', '127.0.0.1:0', '--web', web], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const port = await new Promise((done) => {
      let out = '';
      child.stdout.setEncoding('utf8').on('data', (d) => {
        out += d;
        const at = /127\.0\.0\.1:(\d+)\n/.exec(out);
        if (at) done(Number(at[1]));
      });
    });
    const get = (url, headers = {}) => t.server.request('GET', url, { port, auth: null, headers });
    const index = await get('/');
    assert.equal(index.bytes.toString(), '<!doctype html><p>canvas');
    assert.match(index.headers['content-security-policy'], /default-src 'self'/);
    assert.equal((await get('/assets/app.js')).headers['content-type'], 'text/javascript; charset=utf-8');
    assert.equal((await get('/', { 'if-none-match': index.headers.etag })).status, 304);
    for (const page of ['/canvas/1', '/login-help', '/a/b/c']) assert.equal((await get(page)).bytes.toString(), '<!doctype html><p>canvas', page);
    for (const no of ['/assets/nosuch.js', '/../secret.txt', '/%2e%2e/secret.txt', '/..%2fsecret.txt', '/assets/../../secret.txt', '/link.txt', '/etc/passwd', '/etc/hosts', '/.env', '/assets/.env', '/assets/', '/%5c..%5csecret.txt', '/assets%00.js']) {
      const answer = await get(no).catch(() => ({ status: 0, bytes: Buffer.alloc(0) }));
      assert.ok(!answer.bytes.toString().includes('secret') && !answer.bytes.toString().includes('root:'), no);
      assert.ok(answer.status !== 200 || answer.bytes.toString() === '<!doctype html><p>canvas', no);
    }
    assert.equal((await t.server.request('POST', '/', { port, auth: null, body: '{}' })).status, 404);
  } finally {
    const over = new Promise((done) => child.on('exit', done));
    child.kill('SIGTERM');
    assert.equal(await over, 0);
    fs.rmSync(data, { recursive: true, force: true });
  }
});

test('a run that is under way does not keep the server from ending', async () => {
  const { wide } = await import('./lib.mjs');
  const run = await start(t, wide(4000));
  const stream = t.server.sse(`/api/v1/runs/${run}/stream`);
  await stream.next();
  const began = Date.now();
  await t.restart();
  assert.ok(Date.now() - began < 8000);
  await stream.return?.();
  assert.equal((await finished(t, run)).status, 'done');
});
