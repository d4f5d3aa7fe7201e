// Files: uploads raw and by form, in constant memory, and downloads by ranges; the media that runs make.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { api, canvas, clip, finished, raw, refused, setUp } from './lib.mjs';

let t;
before(async () => { t = await setUp('files'); });
after(() => t.end());

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
const send = async (body, headers = {}, who = 'member') => {
  const answer = await t.server.request('POST', '/api/v1/files', { body, headers, auth: t.people[who] });
  return { ...answer, text: answer.bytes.toString(), body: JSON.parse(answer.bytes) };
};
const get = (id, headers = {}, who = 'member') => t.server.request('GET', `/api/v1/files/${id}/content`, { headers, auth: t.people[who] });
const form = (parts, boundary = 'xYzZY') => Buffer.concat([...parts.map(([head, body]) => Buffer.concat([Buffer.from(`--${boundary}\r\n${head}\r\n\r\n`), Buffer.from(body), Buffer.from('\r\n')])), Buffer.from(`--${boundary}--\r\n`)]);

test('a raw body is stored, named, hashed and read again', async () => {
  const bytes = crypto.randomBytes(300000);
  const made = await send(bytes, { 'content-type': 'video/mp4; codecs=x', 'x-filename': encodeURIComponent('../내 영화 (1).mp4') });
  assert.equal(made.status, 201, made.text);
  t.check('POST', '/api/v1/files', made);
  assert.deepEqual([made.body.name, made.body.content_type, made.body.bytes, made.body.sha256], ['내 영화 (1).mp4', 'video/mp4', 300000, sha256(bytes)]);
  assert.equal(made.headers.location, `/api/v1/files/${made.body.id}`);
  assert.deepEqual((await api(t, 'viewer', 'GET', made.headers.location)).body, made.body);
  assert.deepEqual((await api(t, 'viewer', 'GET', '/api/v1/files?limit=1')).body.items, [made.body]);
  const got = await get(made.body.id, {}, 'viewer');
  assert.equal(got.status, 200);
  assert.ok(got.bytes.equals(bytes));
  assert.equal(got.headers['content-type'], 'video/mp4');
  assert.equal(got.headers['x-content-type-options'], 'nosniff');
  assert.equal(got.headers['content-disposition'], "inline; filename*=UTF-8''%EB%82%B4%20%EC%98%81%ED%99%94%20%281%29.mp4");
  assert.equal(got.headers.etag, `"${made.body.sha256}"`);
});

test('ranges', async () => {
  const bytes = crypto.randomBytes(100000);
  const { body: file } = await send(bytes);
  const part = async (range, headers = {}) => get(file.id, { range, ...headers });
  for (const [range, from, to] of [['bytes=0-0', 0, 1], ['bytes=5-9', 5, 10], ['bytes=99999-', 99999, 100000], ['bytes=-1', 99999, 100000], ['bytes=-200000', 0, 100000], ['bytes=50000-999999', 50000, 100000], ['bytes=0-', 0, 100000]]) {
    const got = await part(range);
    assert.equal(got.status, 206, range);
    assert.equal(got.headers['content-range'], `bytes ${from}-${to - 1}/100000`);
    assert.ok(got.bytes.equals(bytes.subarray(from, to)), range);
  }
  for (const range of ['bytes=100000-', 'bytes=999999-', 'bytes=-0']) {
    const got = await part(range);
    assert.equal(got.status, 416, range);
    assert.equal(got.headers['content-range'], 'bytes */100000');
  }
  for (const range of ['bytes=0-1,5-9', 'bytes=9-5', 'items=0-1', 'bytes=a-b', 'bytes=', 'bytes=1', 'bytes=99999999999999999999-']) {
    const got = await part(range);
    assert.equal(got.status, 200, range);
    assert.ok(got.bytes.equals(bytes), range);
  }
  assert.equal((await part('bytes=0-1', { 'if-range': `"${file.sha256}"` })).status, 206);
  assert.equal((await part('bytes=0-1', { 'if-range': '"other"' })).status, 200);
  assert.equal((await get(file.id, { 'if-none-match': `"x", "${file.sha256}"` })).status, 304);
  const head = await t.server.request('HEAD', `/api/v1/files/${file.id}/content`);
  assert.deepEqual([head.status, head.headers['content-length'], head.bytes.length], [200, '100000', 0]);
  assert.match(refused(await send(''), 400, 'VALIDATION_ERROR').message, /empty/);
});

test('what could run in a browser is never shown in place', async () => {
  for (const type of ['text/html', 'image/svg+xml', 'application/xhtml+xml', 'text/javascript', 'application/pdf', 'nonsense', 'a/b/c', 'text/html\t;x', '']) {
    const { body } = await send('<script>alert(1)</script>', { 'content-type': type, 'x-filename': 'x.html"\r\nSet-Cookie: a' .replace(/[\r\n]/g, '') });
    const got = await get(body.id);
    assert.equal(got.headers['content-type'], 'application/octet-stream', type);
    assert.match(got.headers['content-disposition'], /^attachment; filename\*=UTF-8''[\w%.-]+$/);
    assert.equal(got.headers['content-security-policy'], "default-src 'none'; sandbox");
  }
  const odd = (await send('x', { 'x-filename': '%00%01/..' })).body;
  assert.equal(odd.name, 'file');
});

test('a form: the part with a filename, whatever stands around it', async () => {
  const bytes = Buffer.concat([Buffer.from('\r\n--xYzZ'), crypto.randomBytes(200000), Buffer.from('\r\n--xYzZY not the end\r\n--')]);
  const body = form([['Content-Disposition: form-data; name="note"', '--xYzZY'], ['Content-Type: image/png\r\ncontent-disposition: form-data; name="file"; filename="a \\"b\\".png"', bytes],
    ['Content-Disposition: form-data; name="a; filename=evil.sh"', 'not this one']], 'xYzZYbound');
  const type = 'multipart/form-data; charset=utf-8; boundary="xYzZYbound"';
  const made = await send(body, { 'content-type': type });
  assert.equal(made.status, 201, made.text);
  assert.deepEqual([made.body.name, made.body.content_type, made.body.sha256], ['a "b".png', 'image/png', sha256(bytes)]);
  // However it is cut into pieces.
  const small = form([['Content-Disposition: form-data; name="f"; filename="x"', 'hello\r\n-\r\n--xYz\r\n']]);
  const head = `POST /api/v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${t.people.member}\r\nContent-Type: multipart/form-data; boundary=xYzZY\r\nContent-Length: ${small.length}\r\nConnection: close\r\n\r\n`;
  const pieces = await raw(t, [Buffer.from(head), ...[...small].map((b) => Buffer.from([b]))], { pause: 1, ms: 20000 });
  assert.match(pieces.text, /^HTTP\/1.1 201 /);
  assert.ok(pieces.text.includes(sha256('hello\r\n-\r\n--xYz\r\n')));
  const empty = await send(form([['Content-Disposition: form-data; name="f"; filename="empty"', '']]), { 'content-type': 'multipart/form-data; boundary=xYzZY' });
  assert.match(refused(empty, 400, 'VALIDATION_ERROR').message, /the file is empty/);
  const two = ['a', 'b'].map((name) => [`Content-Disposition: form-data; name="${name}"; filename="${name}.png"`, name]);
  assert.match(refused(await send(form(two), { 'content-type': 'multipart/form-data; boundary=xYzZY' }), 400, 'VALIDATION_ERROR').message, /more than one file/);
  for (const [bad, b] of [['', ''], ['nothing', ''], ['--xYzZY', ''], [form([['Content-Disposition: form-data; name="note"', 'x']]), ''], [form([['Content-Disposition: form-data; name="f"; filename="x"', 'y']]).subarray(0, -10), ''],
    [`--xYzZYjunk\r\n\r\n\r\n--xYzZY--`, ''], [`--xYzZY\r\n${'x'.repeat(9000)}\r\n\r\n`, '']])
    assert.equal((await send(bad + b === '' ? '' : bad, { 'content-type': 'multipart/form-data; boundary=xYzZY' })).status, 400, String(bad).slice(0, 50));
  for (const bad of ['multipart/form-data', 'multipart/form-data; boundary=', `multipart/form-data; boundary=${'x'.repeat(71)}`]) assert.equal((await send(small, { 'content-type': bad })).status, 400, bad);
});

test('a large upload and download in constant memory', async () => {
  const resident = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${t.server.child.pid}/status`, 'utf8'))[1]) / 1024;
  const block = crypto.randomBytes(1 << 20);
  const count = 200;
  const hash = crypto.createHash('sha256');
  const before = resident();
  let most = 0;
  const made = await new Promise((done, fail) => {
    const req = http.request({ host: '127.0.0.1', port: t.server.port, method: 'POST', path: '/api/v1/files', headers: { authorization: `Bearer ${t.people.member}`, 'content-length': count << 20 } }, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; }).on('end', () => done(JSON.parse(text)));
    });
    req.on('error', fail);
    let i = 0;
    const more = () => {
      while (i < count) {
        i++;
        hash.update(block);
        most = Math.max(most, resident());
        if (!req.write(block)) return void req.once('drain', more);
      }
      req.end();
    };
    more();
  });
  assert.equal(made.bytes, count << 20);
  assert.equal(made.sha256, hash.digest('hex'));
  const got = crypto.createHash('sha256');
  await new Promise((done, fail) => {
    http.get({ host: '127.0.0.1', port: t.server.port, path: `/api/v1/files/${made.id}/content`, headers: { authorization: `Bearer ${t.people.member}` } }, (res) => {
      res.on('data', (d) => { got.update(d); }).on('end', done).on('error', fail);
    }).on('error', fail);
  });
  assert.equal(got.digest('hex'), made.sha256);
  // Sanitizers keep what was freed; the bound is for programs without them.
  if (before < 100) assert.ok(Math.max(most, resident()) - before < 24, `${before} MiB grew to ${most}`);
});

test('the medium that a node made, by ranges', async (context) => {
  const file = clip(t.data);
  if (!file) return context.skip('there is no ffmpeg');
  const up = (await send(fs.readFileSync(file), { 'content-type': 'video/mp4', 'x-filename': 'clip.mp4' })).body;
  const graph = { nodes: [{ id: 'clip', type: 'input.clip', data: { params: { file: up.id } } }, { id: 'analyze', type: 'media.analyze' }, { id: 'sheet', type: 'media.sheet' }], edges: [] };
  for (const [source, sourceHandle, target, targetHandle] of [['clip', 'clip', 'analyze', 'clip'], ['clip', 'clip', 'sheet', 'clip'], ['analyze', 'analysis', 'sheet', 'analysis'], ['analyze', 'palette', 'sheet', 'palette'], ['analyze', 'emotion_curve', 'sheet', 'emotion_curve']])
    graph.edges.push({ id: `${source}.${sourceHandle}-${target}.${targetHandle}`, source, sourceHandle, target, targetHandle });
  const { id } = await canvas(t, graph);
  const started = await api(t, 'member', 'POST', `/api/v1/canvases/${id}/runs`, {});
  assert.equal(started.status, 202, started.text);
  const run = await finished(t, started.body.run_id);
  assert.equal(run.status, 'done', JSON.stringify(run));
  const value = run.result.outputs.sheet.image;
  const url = `/api/v1/runs/${run.id}/nodes/sheet/outputs/image/content`;
  const got = await t.server.request('GET', url);
  assert.equal(got.status, 200);
  assert.equal(got.headers['content-type'], 'image/png');
  assert.equal(sha256(got.bytes), value.sha256);
  assert.deepEqual([...got.bytes.subarray(1, 4)], [...Buffer.from('PNG')]);
  const part = await t.server.request('GET', url, { headers: { range: 'bytes=1-3' } });
  assert.deepEqual([part.status, part.bytes.toString()], [206, 'PNG']);
  for (const path of ['nodes/sheet/outputs/nosuch', 'nodes/nobody/outputs/image', 'nodes/analyze/outputs/palette', 'nodes/analyze/outputs/analysis']) refused(await api(t, 'member', 'GET', `/api/v1/runs/${run.id}/${path}/content`), 404, 'NOT_FOUND');
  refused(await api(t, 'other', 'GET', url), 404, 'NOT_FOUND');
  // Another organisation cannot use the file by its id.
  const theirs = await canvas(t, { nodes: [graph.nodes[0]], edges: [] }, 'other');
  const stolen = await api(t, 'other', 'POST', `/api/v1/canvases/${theirs.id}/runs`, {});
  if (stolen.status === 202) assert.equal((await finished(t, stolen.body.run_id, 'other')).status, 'failed');
  else assert.ok([400, 404].includes(stolen.status));
});
