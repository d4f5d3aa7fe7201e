// A talos server as a process of its own, for tests that kill it and for tests that listen to all it says.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const top = fileURLToPath(new URL('../..', import.meta.url));
export const program = process.env.TALOS_BIN ?? path.join(top, 'build/talos');
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const tempDir = (name) => fs.mkdtempSync(path.join(process.env.TMPDIR ?? os.tmpdir(), `talos-${name}-`));

// Runs a command of talos to its end.
export function talos(args, { binary = program, ...options } = {}) {
  return spawnSync(binary, args, { encoding: 'utf8', timeout: 120_000, maxBuffer: 1 << 28, ...options });
}

export function token(data, { sub = 'owner', org = 'local', role = 'admin', ...options } = {}) {
  const made = talos(['token', '--data', data, '--sub', sub, '--org', org, '--role', role], options);
  if (made.status !== 0) throw new Error(`talos token: ${made.stderr}`);
  return made.stdout.trim().split('\n').pop();
}

export class Server {
  // Resolves once the server listens. env: more of the environment.
  static async start({ data, env = {}, binary = program }) {
    const server = new Server();
    server.data = data;
    server.out = '';
    server.log = '';
    server.child = spawn(binary, ['serve', '--data', data, '--listen', '127.0.0.1:0'], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    server.ended = new Promise((done) => server.child.on('close', (code, signal) => done(signal ?? code)));
    server.child.stderr.setEncoding('utf8').on('data', (text) => { server.log += text; });
    await new Promise((done, fail) => {
      server.child.stdout.setEncoding('utf8').on('data', (text) => {
        server.out += text;
        const port = /^talos listens on http:\/\/127\.0\.0\.1:(\d+)\n/m.exec(server.out);
        if (port) {
          server.port = Number(port[1]);
          done();
        }
      });
      server.ended.then((how) => fail(new Error(`the server ended (${how}): ${server.log}`)));
    });
    server.token = token(data, { binary });
    return server;
  }

  async kill(signal) {
    this.child.kill(signal);
    return this.ended;
  }

  // Ends it as an operator does; resolves to its exit status.
  stop() {
    return this.kill('SIGTERM');
  }

  // One request; resolves to status, headers and body as bytes. A connection of its own each time.
  request(method, url, { body, headers = {}, auth = this.token, port = this.port } = {}) {
    return new Promise((done, fail) => {
      const all = { ...(auth ? { authorization: `Bearer ${auth}` } : {}), ...headers };
      if (body !== undefined) all['content-length'] = Buffer.byteLength(body);
      const req = http.request({ host: '127.0.0.1', port, method, path: url, headers: all, agent: false }, (res) => {
        const parts = [];
        res.on('data', (part) => parts.push(part));
        res.on('end', () => done({ status: res.statusCode, headers: res.headers, bytes: Buffer.concat(parts) }));
        res.on('error', fail);
      });
      req.on('error', fail);
      req.end(body);
    });
  }

  async json(method, url, body, options = {}) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const answer = await this.request(method, url, { ...options, body: text, headers: { ...(text ? { 'content-type': 'application/json' } : {}), ...options.headers } });
    answer.text = answer.bytes.toString();
    try {
      answer.body = JSON.parse(answer.text);
    } catch {
      answer.body = undefined;
    }
    return answer;
  }

  // The events of a stream, one by one, until it ends; a broken connection is an error.
  async *sse(url, { after, port = this.port } = {}) {
    const res = await new Promise((done, fail) => {
      const headers = { authorization: `Bearer ${this.token}`, accept: 'text/event-stream', ...(after === undefined ? {} : { 'last-event-id': String(after) }) };
      http.get({ host: '127.0.0.1', port, path: url, headers, agent: false }, done).on('error', fail);
    });
    if (res.statusCode !== 200) {
      res.resume();
      throw new Error(`${url}: ${res.statusCode}`);
    }
    let text = '';
    for await (const part of res.setEncoding('utf8')) {
      text += part;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const event = { id: '', data: undefined };
        for (const line of text.slice(0, end).split('\n')) {
          if (line.startsWith('id:')) event.id = line.slice(3).trim();
          else if (line.startsWith('data:')) event.data = (event.data === undefined ? '' : event.data + '\n') + line.slice(5).replace(/^ /, '');
        }
        if (event.data !== undefined) yield event;
      }
    }
  }
}
