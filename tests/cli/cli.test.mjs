// The command line from outside: what it prints where, and how it ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Server, program, talos, tempDir } from '../crash/server.mjs';

const work = tempDir('cli');
const data = path.join(work, 'data');
const graphFile = path.join(work, 'graph.json');
const script = '비가 온다. 그는 달린다! 누군가 쫓아온다. 조용한 방. 그녀는 웃는다.';
const graph = {
  nodes: [
    { id: 'script', type: 'text.analyze', data: { label: '대본', inputs: { text: script } } },
    { id: 'auteur', type: 'capsule', data: { label: '봉준호', capsuleId: 'auteur.bong-joon-ho', capsuleVersion: '1.0.0' } },
  ],
  edges: ['emotion_curve', 'duration_sec', 'scene_summary'].map((port) => ({ id: port, source: 'script', sourceHandle: port, target: 'auteur', targetHandle: port })),
};
const run = (args, env = {}) => talos(args, { env: { ...process.env, TALOS_DATA: data, LANG: 'C.UTF-8', ...env } });
const events = (stdout) => stdout.trim().split('\n').map((line) => JSON.parse(line));

before(() => {
  fs.mkdirSync(data);
  fs.writeFileSync(path.join(data, 'notes.txt'), 'somebody else’s file');
  fs.writeFileSync(graphFile, JSON.stringify(graph));
});
after(() => fs.rmSync(work, { recursive: true, force: true }));

test('help and version, for each command', () => {
  assert.match(run(['--version']).stdout, /^talos \d+\.\d+\.\d+\n$/);
  const help = run(['--help']);
  assert.equal(help.status, 0);
  for (const name of ['serve', 'run', 'why', 'approve', 'capsule', 'template', 'token', 'backup', 'check']) {
    assert.match(help.stdout, new RegExp(`^  ${name} `, 'm'));
    const one = run([name, '--help']);
    assert.equal(one.status, 0);
    assert.match(one.stdout, new RegExp(`^Usage: talos ${name}`));
    assert.match(one.stdout, /Exit status/);
    assert.equal(run([name, '--nonsense']).status, 2);
  }
});

test('wrong usage is status 2 and says what is wrong', () => {
  for (const args of [[], ['nosuch'], ['run'], ['run', 'a', 'b'], ['serve', '--listen', 'x:99999'], ['serve', 'x'], ['serve', '--cache-max', '1.5G'], ['serve', '--retention', '-1'], ['serve', '--retention', '1d'], ['serve', '--cpu', '0'], ['serve', '--media', 'x'], ['serve', '--net', '1025'],
    ['run', 'x', '--priority', 'urgent'], ['run', 'x', '--budget-cost', '0'], ['run', 'x', '--budget-tokens', '1.5'], ['why', 'x'], ['why', 'x', 'y', '--data', data, '--server', 'http://127.0.0.1:1'],
    ['approve', 'x', 'y'], ['approve', 'x', 'y', '--approve', '--reject'], ['approve', 'x', '--approve'], ['token', '--role', 'king'], ['token', '--ttl', 'soon'],
    ['token', '--org', 'talos'], ['backup'], ['capsule'], ['capsule', 'show'], ['template', 'list', 'x'], ['run', 'x', '--data', data, '--server', 'http://127.0.0.1:1']]) {
    const { status, stderr } = run(args);
    assert.equal(status, 2, args.join(' '));
    assert.notEqual(stderr, '');
  }
  assert.equal(run(['run', 'x', '--server', 'ftp://127.0.0.1']).status, 2);
});

test('a setting of the environment that cannot be read is status 2', () => {
  for (const env of [{ TALOS_RETENTION: 'soon' }, { TALOS_CACHE_MAX: 'much' }]) {
    const { status, stderr } = run(['serve', '--data', path.join(work, 'unread')], env);
    assert.equal(status, 2);
    assert.match(stderr, new RegExp(Object.keys(env)[0]));
  }
});

const numbers = (b) => ({
  nodes: [{ id: 'n', type: 'input.number', data: { params: { value: 7 } } }, { id: 'sum', type: 'number.math', data: { inputs: { b } } }],
  edges: [{ source: 'n', sourceHandle: 'value', target: 'sum', targetHandle: 'a' }],
});
const numbersFile = path.join(work, 'numbers.json');

// The same here and on a server.
function dryRunsAndReasons(where, env = {}) {
  const b = Math.floor(Math.random() * 1e9); // no earlier run had it
  fs.writeFileSync(numbersFile, JSON.stringify(numbers(b + 0.5)));
  const go = (args) => run([...args, ...where], env);
  const before = go(['run', numbersFile, '--dry-run']);
  assert.equal(before.status, 0, before.stderr);
  assert.match(before.stdout, /^ {2}runs +sum$/m);
  const [queued] = events(go(['run', numbersFile, '--json', '--priority', 'low', '--budget-tokens', '5', '--budget-cost', '0.5']).stdout);
  const after = go(['run', numbersFile, '--dry-run']);
  assert.match(after.stdout, /^ {2}there already +n\n {2}there already +sum\nTo run: 0, there already: 2\. Estimate: 0 s, 0 tokens, 0 USD\.\n$/);
  assert.deepEqual(JSON.parse(go(['run', numbersFile, '--dry-run', '--json']).stdout).cached, ['n', 'sum']);
  fs.writeFileSync(numbersFile, JSON.stringify(numbers(b)));
  const [again] = events(go(['run', numbersFile, '--json']).stdout);
  const why = go(['why', again.run_id, 'sum']);
  assert.equal(why.status, 0, why.stderr);
  // On a server each run of a file is of a canvas of its own, and is not compared with others.
  assert.match(why.stdout, where.length ? /^"sum" ran because no earlier run / : new RegExp(`^"sum" ran because .* ${queued.run_id}\\.\\n {2}literal b: .* -> ${b}\\n$`));
  assert.equal(JSON.parse(go(['why', again.run_id, 'n', '--json']).stdout).reason, 'cached');
  for (const [id, node] of [[again.run_id, 'nobody'], ['x', 'n']]) assert.equal(go(['why', id, node]).status, 3);
  fs.writeFileSync(numbersFile, JSON.stringify({ nodes: [{ id: 'a', type: 'no.such' }], edges: [] }));
  const broken = go(['run', numbersFile, '--dry-run']);
  assert.equal(broken.status, 2);
  assert.match(broken.stderr, /no\.such/);
}

test('dry runs, and why a node ran or did not', () => dryRunsAndReasons([]));

test('what is not there is status 3', () => {
  assert.equal(run(['run', 'nosuch']).status, 3);
  assert.equal(run(['run', '/nowhere/graph.json']).status, 3);
  assert.equal(run(['check', '--data', path.join(work, 'none')]).status, 3);
  assert.equal(fs.existsSync(path.join(work, 'none')), false);
  assert.equal(run(['capsule', 'show', 'auteur.nobody']).status, 3);
  assert.equal(run(['template', 'show', 'nosuch']).status, 3);
});

test('a first start asks nothing and leaves other files alone', () => {
  const fresh = path.join(work, 'a', 'b');
  assert.equal(run(['capsule', 'list', '--data', fresh]).status, 0);
  assert.equal(fs.statSync(fresh).mode & 0o777, 0o700);
  assert.equal(fs.statSync(path.join(fresh, 'root.key')).mode & 0o777, 0o600);
  const listed = run(['capsule', 'list']);
  assert.equal(listed.status, 0);
  assert.equal(listed.stdout.trim().split('\n').length, 6);
  assert.match(listed.stdout, /^auteur\.bong-joon-ho +1\.0\.0 +/m);
  assert.equal(fs.readFileSync(path.join(data, 'notes.txt'), 'utf8'), 'somebody else’s file');
});

test('specs and templates are shown without their inside', () => {
  const spec = JSON.parse(run(['capsule', 'show', 'auteur.shinkai@1.0.0']).stdout);
  assert.equal(spec.id, 'auteur.shinkai');
  assert.equal(spec.adapter, undefined);
  assert.ok(spec.exposedParams.light_diffusion);
  const templates = JSON.parse(run(['template', 'list', '--json']).stdout);
  assert.ok(templates.length >= 3);
  for (const { id } of templates) assert.ok(JSON.parse(run(['template', 'show', id]).stdout).graph.nodes.length > 0);
});

test('a token is the last line, and nothing else is on standard output', () => {
  const { status, stdout } = run(['token', '--sub', 'kim', '--org', 'studio', '--role', 'viewer', '--ttl', '5m']);
  assert.equal(status, 0);
  assert.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  const claims = JSON.parse(Buffer.from(stdout.split('.')[1], 'base64url'));
  assert.deepEqual([claims.sub, claims.org, claims.role, claims.exp - claims.nbf], ['kim', 'studio', 'viewer', 300]);
});

test('run --json prints the events as they are, and nothing else', () => {
  const { status, stdout, stderr } = run(['run', graphFile, '--json']);
  assert.equal(status, 0, stderr);
  const seen = events(stdout);
  assert.deepEqual(seen.map((e) => e.seq), seen.map((_, i) => i + 1));
  assert.equal(seen[0].type, 'run.queued');
  assert.equal(seen.at(-1).type, 'run.completed');
  assert.equal(seen.at(-1).payload.outputs.auteur.style_vector.length, 12);
});

test('run prints a summary without a terminal’s signs where there is no terminal', () => {
  const { status, stdout, stderr } = run(['run', graphFile, '--set', 'auteur.pacing=slow', '--set', 'auteur.style_intensity=1.0']);
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(stdout + stderr, /\x1b/);
  for (const wanted of ['봉준호', 'style_vector', 'log_shot_length', 'palette', '#', 'composition_hints', 'db:patterns:']) assert.ok(stdout.includes(wanted), wanted);
  assert.match(stderr, /대본: done/);
});

test('on a terminal: bars and swatches in colour, and none with NO_COLOR', async () => {
  const inTerminal = (env) => new Promise((done) => {
    const child = spawn('script', ['-qec', `${program} run ${graphFile}`, '/dev/null'], { env: { ...process.env, TALOS_DATA: data, LANG: 'C.UTF-8', TERM: 'xterm', ...env } });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => { text += part; });
    child.on('close', (status) => done({ status, text }));
  });
  const colour = await inTerminal({ NO_COLOR: '' });
  assert.equal(colour.status, 0, colour.text);
  assert.match(colour.text, /█/);
  assert.match(colour.text, /\x1b\[48;2;\d+;\d+;\d+m/);
  const plain = await inTerminal({ NO_COLOR: '1' });
  assert.doesNotMatch(plain.text, /\x1b\[[0-9;]*m/);
});

test('a graph that is not valid: all its problems, status 2', () => {
  const { status, stderr } = run(['run', graphFile, '--set', 'auteur.style_intensity=0.41', '--set', 'auteur.nosuch=1', '--set', 'script.language=xx']);
  assert.equal(status, 2);
  for (const wanted of ['style_intensity', 'nosuch', 'language']) assert.ok(stderr.includes(wanted), stderr);
});

test('a run that fails is status 1 and says where and why', () => {
  const empty = path.join(work, 'empty.json');
  fs.writeFileSync(empty, JSON.stringify({ nodes: [{ id: 'leer', type: 'text.analyze', data: { inputs: { text: '  ' } } }], edges: [] }));
  const { status, stdout } = run(['run', empty]);
  assert.equal(status, 1);
  assert.match(stdout, /failed at leer: /);
});

test('Ctrl-C cancels the run: its last event says so, status 130', async () => {
  const long = path.join(work, 'long.json');
  const nodes = [];
  for (let i = 0; i < 30000; i++) nodes.push({ id: `n${i}`, type: 'text.analyze', data: { inputs: { text: `${script} ${i} ${Date.now()}` } } });
  fs.writeFileSync(long, JSON.stringify({ nodes, edges: [] }));
  const child = spawn(program, ['run', long, '--json'], { env: { ...process.env, TALOS_DATA: data }, stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  let interrupted = false;
  child.stdout.setEncoding('utf8').on('data', (part) => {
    out += part;
    if (!interrupted && out.includes('run.progress')) {
      interrupted = true;
      child.kill('SIGINT');
    }
  });
  const status = await new Promise((done) => child.on('close', done));
  assert.equal(status, 130);
  assert.equal(events(out).at(-1).type, 'run.cancelled');
  assert.equal(run(['check']).status, 0);
});

describe('beside a server', () => {
  let server;
  before(async () => { server = await Server.start({ data }); });
  after(() => server.kill('SIGKILL'));

  test('its directory is refused to a second one', () => {
    for (const args of [['serve', '--listen', '127.0.0.1:0'], ['run', graphFile]]) {
      const { status, stderr } = run(args);
      assert.equal(status, 4);
      assert.match(stderr, /in use/);
    }
    const taken = run(['serve', '--data', path.join(work, 'other'), '--listen', `127.0.0.1:${server.port}`]);
    assert.equal(taken.status, 4);
    assert.match(taken.stderr, /in use/);
  });

  test('token, check, capsule and template work', () => {
    for (const args of [['token'], ['check', '--deep'], ['capsule', 'list'], ['template', 'list']]) {
      const { status, stdout, stderr } = run(args);
      assert.equal(status, 0, stdout + stderr);
    }
  });

  test('run --server shows the same as the server’s own record', async () => {
    const { status, stdout, stderr } = run(['run', graphFile, '--json', '--server', `http://127.0.0.1:${server.port}`, '--token', server.token]);
    assert.equal(status, 0, stderr);
    const seen = stdout.trim().split('\n');
    const again = [];
    for await (const { data: text } of server.sse(`/api/v1/runs/${JSON.parse(seen[0]).run_id}/stream`)) {
      again.push(text);
      if (text.includes('"run.completed"')) break;
    }
    assert.deepEqual(seen, again);
  });

  test('dry runs and reasons on a server', () => dryRunsAndReasons(['--server', `127.0.0.1:${server.port}`], { TALOS_TOKEN: server.token }));

  test('why --data beside the server is refused', () => assert.equal(run(['why', 'x', 'y']).status, 4));

  test('approve answers what a step waits for', async () => {
    const gate = { nodes: [{ id: 'g', type: 'gate', data: { params: { prompt: 'Good?' }, inputs: { value: 7 } } }], edges: [] };
    const at = ['--server', `127.0.0.1:${server.port}`, '--token', server.token];
    const { body } = await server.json('POST', '/api/v1/runs', { graph: gate });
    for await (const { data: text } of server.sse(`/api/v1/runs/${body.run_id}/stream`))
      if (text.includes('"waiting_for"')) break;
    const not = run(['approve', body.run_id, 'nobody', '--approve', ...at]);
    assert.equal(not.status, 1);
    assert.match(not.stderr, /does not wait/);
    assert.equal(run(['approve', body.run_id, 'g', '--retry', ...at]).status, 2, 'no decision of a gate');
    const yes = run(['approve', body.run_id, 'g', '--approve', '--comment', 'fine', ...at]);
    assert.equal(yes.status, 0, yes.stderr);
    assert.equal(yes.stdout, 'g: approve\n');
    let last;
    for await (const { data: text } of server.sse(`/api/v1/runs/${body.run_id}/stream`)) last = JSON.parse(text);
    assert.equal(last.type, 'run.completed');
    assert.equal(last.payload.outputs.g.comment, 'fine');
    assert.equal(run(['approve', 'x', 'g', '--approve', ...at]).status, 3);
    assert.equal(run(['approve', body.run_id, 'g', '--approve', '--server', '127.0.0.1:9', '--token', 'x']).status, 6);
  });

  test('run --server goes on where its connection broke', async () => {
    const many = path.join(work, 'many.json');
    const nodes = Array.from({ length: 2000 }, (_, i) => ({ id: `n${i}`, type: 'text.analyze', data: { inputs: { text: `${script} ${i}` } } }));
    fs.writeFileSync(many, JSON.stringify({ nodes, edges: [] }));
    let breaks = 0;
    // Passes on, and breaks every stream after some bytes, three times.
    const proxy = net.createServer((client) => {
      const upstream = net.connect(server.port, '127.0.0.1');
      const end = () => { client.destroy(); upstream.destroy(); };
      let stream = false;
      let bytes = 0;
      client.on('data', (part) => { stream ||= part.includes('/stream'); upstream.write(part); }).on('error', end).on('close', end);
      upstream.on('data', (part) => {
        bytes += part.length;
        if (stream && breaks < 3 && bytes > 2000) {
          breaks++;
          upstream.destroy();
          client.end(part.subarray(0, part.length >> 1));
        } else {
          client.write(part);
        }
      }).on('error', end).on('close', end);
    });
    await new Promise((done) => proxy.listen(0, '127.0.0.1', done));
    const child = spawn(program, ['run', many, '--json', '--server', `127.0.0.1:${proxy.address().port}`, '--token', server.token], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (part) => { out += part; });
    const status = await new Promise((done) => child.on('close', done));
    proxy.close();
    assert.equal(status, 0);
    assert.equal(breaks, 3);
    const seen = events(out);
    assert.deepEqual(seen.map((e) => e.seq), seen.map((_, i) => i + 1));
    assert.equal(seen.at(-1).type, 'run.completed');
  });

  test('run --server: refused without a token, 6; invalid, 2; unreachable, 6', () => {
    const url = `127.0.0.1:${server.port}`;
    assert.equal(run(['run', graphFile, '--server', url, '--token', 'x.y.z']).status, 6);
    const invalid = run(['run', graphFile, '--server', url, '--set', 'auteur.nosuch=1'], { TALOS_TOKEN: server.token });
    assert.equal(invalid.status, 2);
    assert.match(invalid.stderr, /auteur\.nosuch/);
    const nobody = run(['run', graphFile, '--server', '127.0.0.1:9', '--token', 'x']);
    assert.equal(nobody.status, 6);
    assert.match(nobody.stderr, /cannot be reached/);
  });

  test('a backup opens as a data directory with its key, and holds the same runs', async () => {
    const copy = path.join(work, 'copy');
    const made = run(['backup', copy]);
    assert.equal(made.status, 0, made.stderr);
    assert.equal(run(['backup', copy]).status, 2, 'a directory that is not empty');
    assert.equal(fs.existsSync(path.join(copy, 'root.key')), false);
    fs.copyFileSync(path.join(data, 'root.key'), path.join(copy, 'root.key'));
    fs.chmodSync(path.join(copy, 'root.key'), 0o600);
    const checked = run(['check', '--deep', '--data', copy]);
    assert.equal(checked.status, 0, checked.stdout);
    const here = await server.json('GET', '/api/v1/runs?limit=100');
    const other = await Server.start({ data: copy });
    try {
      const there = await other.json('GET', '/api/v1/runs?limit=100');
      assert.deepEqual(there.body.items.map((r) => r.id), here.body.items.map((r) => r.id));
    } finally {
      await other.kill('SIGKILL');
    }
  });

  test('SIGTERM and SIGINT end it with status 0', async () => {
    assert.equal(await server.stop(), 0);
    const again = await Server.start({ data });
    assert.equal(await again.kill('SIGINT'), 0);
    assert.match(again.out, /^talos listens on .*\nLog in once, within 10 minutes: http:\/\/127\.0\.0\.1:\d+\/login\?code=[\w-]+\n$/);
  });
});
