// What the benches over HTTP share: servers that they start and end, requests over one kept connection, a WebSocket that only counts.
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { randomBytes } from 'node:crypto';
import { setPriority, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as graphs from './graphs.mjs';

export const here = dirname(fileURLToPath(import.meta.url));
const build = process.env.BUILD || join(here, '../../build'), talosBin = process.env.TALOS_BIN || join(build, 'talos');
const endings = [];

export const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
export const say = (name, value) => console.log(`${name} ${Number.isFinite(value) ? +value.toPrecision(4) : value}`);
export const note = (text) => console.log(`# ${text}`);
export const now = () => performance.now();

export function tempDir() {
  const dir = mkdtempSync(join(tmpdir(), 'talos-bench-'));
  endings.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// The graphs, written once for all benches of one `run`, which hands the folder on.
export function graphDir(names) {
  const dir = process.env.BENCH_GRAPHS || tempDir();
  try {
    for (const name of names) readFileSync(join(dir, `${name}.expect`));
  } catch {
    graphs.write(dir, names);
  }
  return dir;
}
export function graph(dir, name) {
  const [sum, sinks] = readFileSync(join(dir, `${name}.expect`), 'utf8').trim().split(' ').map(Number);
  return { name, sum, sinks, talos: JSON.parse(readFileSync(join(dir, `${name}.talos.json`), 'utf8')) };
}
export function agree(what, have, want) {
  if (!(Math.abs(have - want) <= 1e-9 * Math.max(1, Math.abs(want)))) throw new Error(`${what}: its values sum to ${have}, not to ${want}`);
}

// Runs main, ends all that was started, and says by the status whether it went well.
export async function bench(main) {
  let status = 0;
  try {
    setPriority(-15); // for all sides alike, where it is allowed: other work on the machine spoils less
  } catch {}
  try {
    await main();
  } catch (e) {
    console.error(e.stack ?? e);
    status = 1;
  }
  for (const end of endings.reverse()) await end();
  process.exit(status);
}

const freePort = () => new Promise((done) => {
  const s = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = s.address();
    s.close(() => done(port));
  });
});

// Starts a program and waits for a line of its output; text grows with what it says.
async function start(program, args, ready, options = {}) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const server = { child, text: '' };
  const gone = new Promise((done) => child.once('exit', done).once('error', done));
  child.once('error', (e) => (server.failed = e));
  child.stdout.on('data', (b) => (server.text += b));
  child.stderr.on('data', (b) => (server.errors = ((server.errors ?? '') + b).slice(-4000)));
  server.stop = async () => {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 10000);
    await gone;
    clearTimeout(late);
  };
  endings.push(server.stop);
  server.until = async (pattern, from = 0, ms = 120000) => {
    for (const end = now() + ms; !pattern.test(server.text.slice(from));) {
      if (server.failed || child.exitCode !== null || now() > end) throw new Error(`${program} did not say ${pattern}: ${server.text.slice(-500)}${server.failed ?? server.errors ?? ''}`);
      await new Promise((r) => setTimeout(r, 2));
    }
  };
  await server.until(ready);
  return server;
}

const status = (pid, name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

export async function startTalos() {
  const data = tempDir();
  const server = await start(talosBin, ['serve', '--data', data, '--listen', '127.0.0.1:0'], /talos listens on http:\S+\n/);
  server.port = Number(/listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(server.text)[1]);
  server.peakMiB = () => status(server.child.pid, 'VmHWM');
  server.token = (org) => execFileSync(talosBin, ['token', '--data', data, '--sub', 'bench', '--org', org, '--role', 'member', '--ttl', '1h'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim().split('\n').pop();
  return server;
}

// One organisation's view of a talos: requests over one kept connection.
export function client(server, org) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 }), headers = { Authorization: `Bearer ${server.token(org)}` };
  const ask = (method, path, body) => request(server.port, method, path, body, agent, headers);
  return { ask, headers, agent, async must(method, path, body) {
    const r = await ask(method, path, body);
    if (r.status >= 300) throw new Error(`${method} ${path}: ${r.status} ${r.text.slice(0, 500)}`);
    return JSON.parse(r.text || 'null');
  } };
}

export function request(port, method, path, body, agent, headers = {}) {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((done, failed) => {
    const req = http.request({ host: '127.0.0.1', port, method, path, agent, headers: { ...headers, ...(method === 'GET' ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }) } }, (res) => {
      const parts = [];
      res.on('data', (b) => parts.push(b));
      res.on('end', () => done({ status: res.statusCode, text: Buffer.concat(parts).toString() }));
      res.on('error', failed);
    });
    req.on('error', failed);
    req.end(text);
  });
}

// A connection that becomes a WebSocket on a run: `follow(id)` resolves with all events' texts once the server has closed it behind the terminal event, and with
// when that event was there. Connects ahead, so that what is timed is the server's.
export async function follower(port, headers) {
  const socket = net.connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  await new Promise((done, failed) => socket.once('connect', done).once('error', failed));
  return (run) => new Promise((done, failed) => {
    const events = [];
    let have = Buffer.alloc(0), open = false, parts = [], ended = 0;
    socket.on('error', failed);
    socket.on('close', () => (ended ? done({ events, ended }) : failed(new Error('the WebSocket closed before the run had ended'))));
    socket.on('data', (bytes) => {
      have = have.length ? Buffer.concat([have, bytes]) : bytes;
      if (!open) {
        const end = have.indexOf('\r\n\r\n');
        if (end < 0) return;
        if (!have.toString('latin1', 0, 12).startsWith('HTTP/1.1 101')) return failed(new Error(have.toString('latin1', 0, 400)));
        have = have.subarray(end + 4);
        open = true;
      }
      for (;;) {
        if (have.length < 2) return;
        let len = have[1] & 127, at = 2;
        if (len === 126) len = have.length < 4 ? Infinity : have.readUInt16BE(2), at = 4;
        else if (len === 127) len = have.length < 10 ? Infinity : Number(have.readBigUInt64BE(2)), at = 10;
        if (have.length < at + len) return;
        const code = have[0] & 15, last = have[0] & 128;
        if (code === 8) return socket.destroy();
        if (code <= 2) {
          parts.push(have.subarray(at, at + len));
          if (last) {
            const message = parts.length === 1 ? parts[0] : Buffer.concat(parts);
            parts = [];
            events.push(message);
            if (/"type":"run\.(completed|failed|cancelled)"/.test(message.toString('latin1', 0, 300))) ended = now();
          }
        }
        have = have.subarray(at + len);
      }
    });
    const lines = Object.entries(headers).map(([k, v]) => `${k}: ${v}\r\n`).join('');
    socket.write(`GET /ws/runs/${run} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${lines}\r\n`);
  });
}

// Sum of all nodes' values, in the order of the document, from what run.partial told.
export function sumOf(events, doc) {
  const values = new Map();
  for (const text of events) {
    const event = JSON.parse(text);
    if (event.type === 'run.failed') throw new Error(JSON.stringify(event.payload));
    for (const r of event.type === 'run.partial' ? event.payload.results : []) values.set(r.node, r.outputs.value);
  }
  return doc.nodes.reduce((sum, n) => sum + values.get(n.id), 0);
}

// ---- the peers ----

export const peers = join(here, 'peers');
export const peerVersion = (name) => JSON.parse(readFileSync(join(peers, 'node_modules', name, 'package.json'), 'utf8')).version;

export async function startRed() {
  const dir = tempDir(), port = await freePort(), settings = join(dir, 'settings.cjs');
  writeFileSync(settings, `module.exports = ${JSON.stringify({ uiHost: '127.0.0.1', disableEditor: true, httpAdminRoot: '/admin', httpNodeRoot: '/', apiMaxLength: '100mb', flowFile: 'flows.json',
    credentialSecret: false, logging: { console: { level: 'info', metrics: false, audit: false } }, externalModules: { palette: { allowInstall: false }, modules: { allowInstall: false } } })};`);
  const server = await start(process.execPath, ['--max-old-space-size=6144', join(peers, 'node_modules/node-red/red.js'), '-u', dir, '-s', settings, '-p', String(port)], /Started flows/);
  server.port = port;
  server.peakMiB = () => status(server.child.pid, 'VmHWM');
  // Milliseconds until the flow has started.
  server.deploy = async (file) => {
    const from = server.text.length, t = now();
    const r = await request(port, 'POST', '/admin/flows', readFileSync(file, 'utf8'), undefined, { 'Node-RED-Deployment-Type': 'full' });
    if (r.status !== 204) throw new Error(`Node-RED refuses the flow: ${r.status} ${r.text.slice(0, 300)}`);
    await server.until(/Started flows/, from);
    return now() - t;
  };
  return server;
}

// wrk: one thread, the same for both sides. Returns requests a second and percentiles in ms; answers that are no 2xx are an error.
export function wrk({ port, path, connections, seconds, headers = {}, body = '', script = '' }) {
  const lua = join(tempDir(), 'wrk.lua');
  writeFileSync(lua, `wrk.method = "POST"
wrk.body = ${JSON.stringify(body)}
wrk.headers["Content-Type"] = "application/json"
${Object.entries(headers).map(([k, v]) => `wrk.headers[${JSON.stringify(k)}] = ${JSON.stringify(v)}`).join('\n')}
${script}
function done(summary, latency, requests)
  io.write(string.format("WRK %d %d %d %f %f\\n", summary.requests, summary.duration, summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
`);
  const child = spawn('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', lua, `http://127.0.0.1:${port}${path}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((done, failed) => {
    let text = '';
    child.stdout.on('data', (b) => (text += b));
    child.once('error', failed);
    child.once('exit', () => {
      const m = /WRK (\d+) (\d+) (\d+) (\S+) (\S+)/.exec(text);
      if (!m || Number(m[3]) || !Number(m[1])) failed(new Error(`wrk ${path}: ${text}`));
      else done({ rate: Number(m[1]) / (Number(m[2]) / 1e6), p50: Number(m[4]), p99: Number(m[5]) });
    });
  });
}
