// Who may do what: tokens, roles, admin mode, organisations, signing in from a browser.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, test } from 'node:test';
import { talos } from '../crash/server.mjs';
import { api, canvas, finished, raw, refused, setUp, small, socket, start } from './lib.mjs';

let t;
before(async () => { t = await setUp('access'); });
after(() => t.end());

const b64 = (x) => Buffer.from(typeof x === 'string' ? x : JSON.stringify(x)).toString('base64url');
const parts = (token) => token.split('.').slice(0, 2).map((p) => JSON.parse(Buffer.from(p, 'base64url')));

test('a token says who asks', async () => {
  const me = await api(t, 'author', 'GET', '/api/v1/me');
  assert.equal(me.status, 200);
  assert.deepEqual([me.body.sub, me.body.org, me.body.role], ['author', 'acme', 'author']);
  const [head, body] = parts(t.people.author);
  assert.deepEqual(Object.keys(head).sort(), ['alg', 'kid']);
  assert.equal(head.alg, 'EdDSA');
  assert.deepEqual(Object.keys(body).sort(), ['aud', 'exp', 'iss', 'nbf', 'org', 'role', 'sub']);
});

test('tokens that are none, old, foreign, unsigned, or signed otherwise: 401', async () => {
  const [head, body] = parts(t.people.admin);
  const sig = t.people.admin.split('.')[2];
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ed25519');
  const rsa = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signed = (h, b, key = privateKey) => {
    const text = `${b64(h)}.${b64(b)}`;
    return `${text}.${crypto.sign(h.alg === 'RS256' ? 'sha256' : null, Buffer.from(text), key).toString('base64url')}`;
  };
  const hmac = (h, b, secret) => {
    const text = `${b64(h)}.${b64(b)}`;
    return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
  };
  const jwk = publicKey.export({ format: 'jwk' });
  const old = talos(['token', '--data', t.data, '--sub', 'x', '--org', 'acme', '--role', 'admin', '--ttl', '1s']).stdout.trim().split('\n').pop();
  const bad = {
    none: 'x', empty: '', dots: '..', 'a.b.c': 'a.b.c',
    'alg none': `${b64({ ...head, alg: 'none' })}.${b64(body)}.`,
    'alg none with a signature': `${b64({ ...head, alg: 'none' })}.${b64(body)}.${sig}`,
    'another key': signed(head, body),
    'an embedded key': signed({ ...head, jwk }, body),
    'a key elsewhere': signed({ ...head, jku: 'http://127.0.0.1:1/jwks' }, body),
    'another kid': signed({ ...head, kid: '00000000' }, body),
    RS256: signed({ ...head, alg: 'RS256' }, body, rsa.privateKey),
    'HS256 with the kid': hmac({ ...head, alg: 'HS256' }, body, head.kid),
    'HS256 with a public key': hmac({ ...head, alg: 'HS256' }, body, publicKey.export({ format: 'pem', type: 'spki' })),
    'another payload': `${b64(head)}.${b64({ ...body, org: 'other' })}.${sig}`,
    'another audience': signed(head, { ...body, aud: 'elsewhere' }),
    'a longer header': `${b64({ ...head, typ: 'JWT' })}.${b64(body)}.${sig}`,
    padding: `${t.people.admin}=`,
    'a blank behind': `${t.people.admin} x`,
    'very long': 'a'.repeat(5000),
  };
  for (const [name, token] of Object.entries(bad)) {
    const answer = await t.server.json('GET', '/api/v1/runs', undefined, { auth: token || null, headers: token ? {} : { authorization: 'Bearer ' } });
    refused(answer, 401, 'AUTH_REQUIRED');
    assert.equal(answer.headers['www-authenticate'], 'Bearer', name);
  }
  for (const value of [t.people.admin, `Basic ${t.people.admin}`, `Bearer ${t.people.admin}, Bearer ${t.people.admin}`])
    refused(await t.server.json('GET', '/api/v1/runs', undefined, { auth: null, headers: { authorization: value } }), 401, 'AUTH_REQUIRED');
  let answer;
  do answer = await t.server.json('GET', '/api/v1/me', undefined, { auth: old }); while (answer.status === 200);
  refused(answer, 401, 'AUTH_REQUIRED');
});

test('every route but the public ones is 401 without a token, known or not', async () => {
  const doc = (await t.server.json('GET', '/openapi.json', undefined, { auth: null })).body;
  for (const [path, ops] of Object.entries(doc.paths))
    for (const [method, op] of Object.entries(ops)) {
      const url = path.replace(/\{[^}]+\}/g, 'x');
      const answer = await t.server.json(method.toUpperCase(), url, op.requestBody ? {} : undefined, { auth: null });
      if (op.security.length) refused(answer, 401, 'AUTH_REQUIRED');
      else assert.notEqual(answer.status, 404, path);
    }
  refused(await t.server.json('GET', '/api/v1/nosuch', undefined, { auth: null }), 401, 'AUTH_REQUIRED');
  refused(await t.server.json('PUT', '/api/v1/runs', {}, { auth: null }), 401, 'AUTH_REQUIRED');
});

test('401 and 403 come before the body is read', async () => {
  for (const [auth, status] of [['', 401], [`Authorization: Bearer ${t.people.viewer}\r\n`, 403]]) {
    const { text } = await raw(t, `POST /api/v1/files HTTP/1.1\r\nHost: x\r\n${auth}Content-Length: 1000000000\r\n\r\nfirst bytes`, { enough: (s) => s.includes('request_id') });
    assert.match(text, new RegExp(`^HTTP/1.1 ${status} `));
  }
});

test('viewers read, members write, authors and admins may use admin mode', async () => {
  const { id } = await canvas(t, small());
  const run = await start(t, small());
  await finished(t, run);
  for (const [method, url, body] of [['POST', '/api/v1/canvases', { graph: small() }], ['PUT', `/api/v1/canvases/${id}`, { graph: small() }], ['PATCH', `/api/v1/canvases/${id}`, { name: 'x' }],
    ['DELETE', `/api/v1/canvases/${id}`], ['POST', `/api/v1/canvases/${id}/runs`, {}], ['POST', `/api/v1/runs/${run}/cancel`], ['POST', '/api/v1/capsules/run', {}],
    ['POST', '/api/v1/files', {}], ['POST', '/api/v1/templates/script-only/instantiate', {}]])
    refused(await api(t, 'viewer', method, url, body), 403, 'FORBIDDEN');
  for (const url of [`/api/v1/canvases/${id}`, '/api/v1/canvases', `/api/v1/runs/${run}`, '/api/v1/runs', '/api/v1/files', '/api/v1/capsules', '/api/v1/node-types', '/api/v1/templates'])
    assert.equal((await api(t, 'viewer', 'GET', url)).status, 200, url);
  for (const who of ['viewer', 'member']) refused(await api(t, who, 'GET', '/api/v1/capsules', undefined, { 'x-admin-mode': 'true' }), 403, 'FORBIDDEN');
  for (const who of ['author', 'admin']) assert.equal((await api(t, who, 'GET', '/api/v1/capsules', undefined, { 'x-admin-mode': 'true' })).status, 200);
  assert.equal((await api(t, 'member', 'GET', '/api/v1/capsules', undefined, { 'x-admin-mode': 'false' })).status, 200);
});

test('another organisation sees what it would see if there were nothing', async () => {
  const { id } = await canvas(t, small());
  const run = await start(t, small());
  await finished(t, run);
  const file = (await api(t, 'member', 'POST', '/api/v1/files', { some: 'json' })).body;
  const never = 'ffffffff-ffff-7fff-bfff-ffffffffffff';
  const shapes = [never, 'x', '%20', 'F'.repeat(36), '0', `${never}x`, never.toUpperCase(), 'a'.repeat(300), '%ED%95%9C'];
  const routes = (x) => [['GET', `/api/v1/canvases/${x}`], ['PUT', `/api/v1/canvases/${x}`, { graph: small() }], ['PATCH', `/api/v1/canvases/${x}`, { name: 'x' }], ['DELETE', `/api/v1/canvases/${x}`],
    ['POST', `/api/v1/canvases/${x}/runs`, {}], ['GET', `/api/v1/runs/${x}`], ['GET', `/api/v1/runs/${x}/stream`], ['POST', `/api/v1/runs/${x}/cancel`, {}],
    ['GET', `/api/v1/runs/${x}/nodes/read/outputs/text/content`], ['GET', `/api/v1/capsules/run/${x}`], ['GET', `/api/v1/capsules/run/${x}/stream`],
    ['POST', `/api/v1/capsules/run/${x}/cancel`, {}], ['GET', `/api/v1/files/${x}`], ['GET', `/api/v1/files/${x}/content`], ['GET', `/api/v1/capsules/${x}`],
    ['GET', `/api/v1/capsules/${x}/versions/1.0.0`], ['GET', `/api/v1/templates/${x}`], ['POST', `/api/v1/templates/${x}/instantiate`, {}]];
  // Everything of an answer but the time, the request's own number and its connection.
  const seen = (a) => JSON.stringify([a.status, Object.entries(a.headers).filter(([k]) => !['date', 'x-request-id', 'connection', 'keep-alive'].includes(k)), a.text.replace(/req_[0-9a-f]{32}/, 'req')]);
  for (const [i, [method, url, body]] of routes(never).entries()) {
    const expected = await api(t, 'other', method, url, body);
    refused(expected, 404, 'NOT_FOUND');
    for (const mine of [id, run, file.id]) {
      const [m, u, b] = routes(mine)[i];
      assert.equal(seen(await api(t, 'other', m, u, b)), seen(expected), `${m} ${u}`);
    }
    for (const shape of shapes) {
      const [m, u, b] = routes(shape)[i];
      const answer = await t.server.json(m, u, b);
      if (answer.body?.error) assert.equal(answer.status, 404, `${m} ${u}: ${answer.text}`);
    }
  }
  for (const url of ['/api/v1/canvases', '/api/v1/runs', '/api/v1/files']) assert.deepEqual((await api(t, 'other', 'GET', url)).body.items, []);
  const unknown = await socket(t, `/ws/runs/${never}`, { who: 'other' }).catch((e) => e);
  const foreign = await socket(t, `/ws/runs/${run}`, { who: 'other' }).catch((e) => e);
  assert.equal(foreign.status, 404);
  assert.equal(foreign.text.replace(/req_\w+/, ''), unknown.text.replace(/req_\w+/, ''));
  // A canvas of another organisation cannot be named in a call either, nor its file in a graph.
  refused(await api(t, 'other', 'POST', '/api/v1/capsules/run', { capsule_id: 'auteur.bong-joon-ho', capsule_version: '1.0.0', canvas_id: id, node_id: 'read' }), 404, 'NOT_FOUND');
  const stolen = { nodes: [{ id: 'probe', type: 'media.probe', data: { inputs: { clip: { kind: 'video', sha256: file.sha256, content_type: 'video/mp4', bytes: file.bytes, name: 'x' } } } }], edges: [] };
  const theirs = await canvas(t, stolen, 'other');
  refused(await api(t, 'other', 'POST', `/api/v1/canvases/${theirs.id}/runs`, {}), 400, 'VALIDATION_ERROR');
});

test('what only the server may say cannot be said', async () => {
  const answer = await api(t, 'member', 'POST', '/api/v1/canvases', { name: 'x', graph: small(), org: 'other', org_id: 'other', owner: 'x', id: 'x', revision: 9 });
  refused(answer, 400, 'VALIDATION_ERROR');
  assert.equal(answer.body.error.details.problems.length, 5);
  const call = await api(t, 'member', 'POST', '/api/v1/capsules/run', { capsule_id: 'auteur.bong-joon-ho', capsule_version: '1.0.0', org_id: 'other', capsule_ref: 'x', owner: 'me' });
  refused(call, 400, 'VALIDATION_ERROR');
  assert.deepEqual(call.body.error.details.problems.filter((p) => /org_id|capsule_ref|owner/.test(p.path)).length, 3);
});

test('the login address works once; its cookie reads, and writes only from this origin', async () => {
  const path = /http:\/\/[^/]+(\/login\?code=[\w-]+)/.exec(t.server.out)[1];
  const origin = `http://127.0.0.1:${t.server.port}`;
  assert.equal((await t.server.request('HEAD', path, { auth: null })).headers['set-cookie'], undefined, 'looking does not use it up');
  const first = await t.server.request('GET', path, { auth: null });
  assert.equal(first.status, 303);
  assert.equal(first.headers.location, '/');
  const set = first.headers['set-cookie'][0];
  for (const want of [/^talos_session=[\w-]{43};/, /; HttpOnly/, /; SameSite=Strict/, /; Path=\//]) assert.match(set, want);
  assert.equal((await t.server.request('GET', path, { auth: null })).status, 401, 'a second time');
  for (const bad of ['/login', '/login?code=', `/login?code=${'A'.repeat(43)}`, `/login?code=${'A'.repeat(9999)}`]) assert.ok([401, 0].includes((await t.server.request('GET', bad, { auth: null }).catch(() => ({ status: 0 }))).status), bad);
  const cookie = set.split(';')[0];
  const as = (method, url, body, headers = {}) => t.server.json(method, url, body, { auth: null, headers: { cookie, ...headers } });
  assert.equal((await as('GET', '/api/v1/me')).body.role, 'admin');
  refused(await as('POST', '/api/v1/canvases', { graph: small() }), 403, 'FORBIDDEN');
  for (const foreign of ['http://evil.example', 'null', `http://127.0.0.1:${t.server.port + 1}`, `${origin}.evil.example`, `${origin}, ${origin}`, `ftp://127.0.0.1:${t.server.port}`])
    refused(await as('POST', '/api/v1/canvases', { graph: small() }, { origin: foreign }), 403, 'FORBIDDEN');
  const made = await as('POST', '/api/v1/canvases', { graph: small() }, { origin });
  assert.equal(made.status, 201);
  const run = (await as('POST', `/api/v1/canvases/${made.body.id}/runs`, {}, { origin })).body.run_id;
  // A WebSocket: with the cookie it needs this origin; a token needs none, but a foreign one or two are refused to both.
  const ws = (headers, who = null) => socket(t, `/ws/runs/${run}`, { who, headers }).then((s) => s.closed.then(() => 101), (e) => e.status);
  assert.equal(await ws({ cookie, origin }), 101);
  assert.equal(await ws({ cookie }), 403);
  assert.equal(await ws({ cookie, origin: 'http://evil.example' }), 403);
  assert.equal(await ws({}), 401);
  const own = (await start(t, small()));
  const mine = (headers) => socket(t, `/ws/runs/${own}`, { who: 'member', headers }).then((s) => s.closed.then(() => 101), (e) => e.status);
  assert.equal(await mine({}), 101);
  assert.equal(await mine({ origin }), 101);
  assert.equal(await mine({ origin: 'http://evil.example' }), 403);
  const two = await raw(t, `GET /ws/runs/${own} HTTP/1.1\r\nHost: 127.0.0.1:${t.server.port}\r\nAuthorization: Bearer ${t.people.member}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: ${origin}\r\nOrigin: ${origin}\r\n\r\n`);
  assert.match(two.text, /^HTTP\/1.1 403 /);
  // A session ends by logging out, and lives on over a restart otherwise.
  await t.restart();
  assert.equal((await as('GET', '/api/v1/me')).status, 200);
  assert.equal((await as('POST', '/logout')).status, 403);
  const out = await as('POST', '/logout', undefined, { origin: `http://127.0.0.1:${t.server.port}` });
  assert.equal(out.status, 204);
  assert.match(out.headers['set-cookie'][0], /Max-Age=0/);
  assert.equal((await as('GET', '/api/v1/me')).status, 401);
  assert.equal((await as('GET', '/api/v1/me', undefined, { cookie: `${cookie}; ${cookie}` })).status, 401);
});
