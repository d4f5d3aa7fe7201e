// Golden tests of the ops that need a worker, a file or a sealed capsule, through `talos run`. `<op>.json` holds cases as for the other ops; a case may name a clip of media/ for its
// input "clip", and media.sheet has its analysis from media.analyze of the same clip. Files that come out are compared by their pictures. TALOS_GOLDEN=write writes the answers.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = path.dirname(fileURLToPath(import.meta.url));
const TALOS = process.env.TALOS_BIN ?? path.join(here, '../../build/talos');
const OPS = ['capsule', 'input.clip', 'media.analyze', 'media.look', 'media.probe', 'media.sheet'];
const writing = process.env.TALOS_GOLDEN === 'write';
const W = 16, H = 9;
const dir = fs.mkdtempSync(path.join(process.env.TMPDIR ?? os.tmpdir(), 'talos-golden-'));
test.after(() => fs.rmSync(dir, { recursive: true, force: true }));

const files = OPS.map((op) => ({ op, file: path.join(here, `${op}.json`), golden: JSON.parse(fs.readFileSync(path.join(here, `${op}.json`), 'utf8')) }));
const all = files.flatMap(({ op, golden }) => golden.cases.map((one, i) => ({ op, one, id: `${op}-${i}`, name: `${op}, ${one.name}` })));

// One graph with every case as a node.
function graph() {
  const nodes = new Map(), edges = [];
  const clip = (name) => nodes.set(name, { id: name, type: 'input.clip', data: { params: {} } });
  const edge = (source, sourceHandle, target, targetHandle) => edges.push({ id: `e${edges.length}`, source, sourceHandle, target, targetHandle });
  for (const { op, one, id } of all) {
    if (one.clip) clip(one.clip);
    if (op === 'input.clip') continue;
    nodes.set(id, { id, type: op, data: { ...one.data, params: one.params, inputs: one.inputs } });
    if (one.clip) edge(one.clip, 'clip', id, 'clip');
    if (op !== 'media.sheet') continue;
    nodes.set(`analysis-${one.clip}`, { id: `analysis-${one.clip}`, type: 'media.analyze', data: {} });
    edge(one.clip, 'clip', `analysis-${one.clip}`, 'clip');
    edge(`analysis-${one.clip}`, 'analysis', id, 'analysis');
  }
  return { nodes: [...nodes.values()], edges };
}

// What the eye sees of a file: its size, and of some of its pictures the mean colour of 16×9 fields, a row of them a line.
function seen(file) {
  const probe = JSON.parse(execFileSync('ffprobe', ['-v', 'error', '-of', 'json', '-show_entries', 'stream=codec_type,codec_name,width,height,nb_frames', file]));
  const streams = probe.streams.map(({ codec_type, codec_name, width, height, nb_frames }) => ({ codec_type, codec_name, width, height, frames: codec_type === 'video' && nb_frames ? Number(nb_frames) : undefined }));
  const count = streams.find((s) => s.codec_type === 'video').frames ?? 1;
  const which = count > 1 ? [Math.floor(count / 8), Math.floor(count / 2), Math.floor((7 * count) / 8)] : [0];
  const raw = execFileSync('ffmpeg', ['-v', 'error', '-i', file, '-vf', `select='${which.map((n) => `eq(n,${n})`).join('+')}',scale=${W}:${H}:flags=area+accurate_rnd+bitexact`, '-vsync', '0', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-']);
  assert.equal(raw.length, which.length * W * H * 3);
  const row = (at) => Array.from({ length: W }, (_, x) => raw.subarray(at + 3 * x, at + 3 * x + 3).toString('hex')).join(' ');
  return { streams: JSON.parse(JSON.stringify(streams)), pictures: which.map((n, k) => ({ frame: n, fields: Array.from({ length: H }, (_, y) => row(3 * W * (H * k + y))) })) };
}

// Capsules run side by side, so that which row of the sheet is whose is not told.
const numberless = (output) => JSON.parse(JSON.stringify(output).replaceAll(/(sheet:CREBIT_DERIVED_INSIGHTS:)\d+/g, '$1…'));

// Golden and now are the same, but for numbers and colours that depend on the processor's own way of decoding and scaling.
function alike(have, want, at, tolerance) {
  const fail = () => assert.fail(`${at}: golden ${JSON.stringify(want)}, now ${JSON.stringify(have)}`);
  if (typeof want === 'number' && typeof have === 'number') {
    const slack = Number.isInteger(want) && Number.isInteger(have) ? 0 : tolerance.number;
    if (Math.abs(have - want) > slack * Math.max(1, Math.abs(want))) fail();
  } else if (want && typeof want === 'object') {
    if (!have || Array.isArray(want) !== Array.isArray(have)) fail();
    assert.deepEqual(Object.keys(have).sort(), Object.keys(want).sort(), at);
    for (const key of Object.keys(want)) alike(have[key], want[key], `${at}.${key}`, tolerance);
  } else if (typeof want === 'string' && /^#?[0-9a-fA-F]{6}( [0-9a-fA-F]{6})*$/.test(want)) {
    const parts = (text) => [...Buffer.from(String(text).replace(/[# ]/g, ''), 'hex')];
    const a = parts(have), b = parts(want);
    if (a.length !== b.length || a.some((v, i) => Math.abs(v - b[i]) > tolerance.colour)) fail();
  } else if (have !== want) {
    fail();
  }
}
const exact = { number: 0, colour: 0 };
const TOLERANCE = { 'media.analyze': { number: 0.002, colour: 2 }, 'media.look': { number: 0.005, colour: 5 }, 'media.sheet': { number: 0, colour: 4 } };

let outputs;
test('all cases run', { timeout: 300_000 }, async () => {
  const file = path.join(dir, 'graph.json'), out = path.join(dir, 'out'), clips = [...new Set(all.map(({ one }) => one.clip).filter(Boolean))];
  fs.writeFileSync(file, JSON.stringify(graph()));
  const inputs = clips.flatMap((name) => ['--input', `${name}.file=${path.join(here, 'media', `${name}.mp4`)}`]);
  const { stdout } = await promisify(execFile)(TALOS, ['run', file, '--data', path.join(dir, 'data'), '--out', out, '--json', ...inputs], { maxBuffer: 1 << 28 });
  const last = stdout.trim().split('\n').map((line) => JSON.parse(line)).at(-1);
  assert.equal(last.type, 'run.completed', JSON.stringify(last));
  outputs = last.payload.outputs;
  const made = fs.readdirSync(out);
  for (const { op, one, id } of all) {
    const had = numberless(outputs[op === 'input.clip' ? one.clip : id]);
    const port = { 'media.look': 'video', 'media.sheet': 'image' }[op];
    one.now = had && port ? { ...had, [port]: { kind: had[port].kind, content_type: had[port].content_type, name: had[port].name, ...seen(path.join(out, made.find((n) => n.includes(id)))) } } : had;
  }
});

for (const { op, one, name } of all) {
  test(name, { skip: writing }, () => alike(one.now, one.outputs, name, TOLERANCE[op] ?? exact));
}

test('the comparison can fail', () => {
  const want = { n: 0.5, count: 3, colour: '#102030', fields: ['102030 405060'] };
  alike({ n: 0.501, count: 3, colour: '#112030', fields: ['102031 405060'] }, want, 'a', { number: 0.002, colour: 1 });
  for (const change of [{ n: 0.503 }, { count: 4 }, { colour: '#122030' }, { fields: ['102030 405062'] }, { fields: ['102030'] }, { more: 1 }, { n: '0.5' }])
    assert.throws(() => alike({ ...want, ...change }, want, 'a', { number: 0.002, colour: 1 }));
});

test('answers are written', { skip: !writing }, () => {
  for (const { file, golden } of files) {
    for (const one of golden.cases) {
      one.outputs = one.now;
      delete one.now;
    }
    const lines = golden.cases.map((one) => `    {\n${Object.entries(one).map(([key, value]) => `      ${JSON.stringify(key)}: ${pretty(value)}`).join(',\n')}\n    }`);
    fs.writeFileSync(file, `{\n  "op": ${JSON.stringify(golden.op)},\n  "cases": [\n${lines.join(',\n')}\n  ]\n}\n`);
  }
});

// One line a port, and one a row of fields.
function pretty(value, indent = '      ') {
  const text = JSON.stringify(value);
  if (text.length < 160 || typeof value !== 'object') return text;
  const deeper = `${indent}  `, open = Array.isArray(value) ? '[]' : '{}';
  if (Array.isArray(value) && typeof value[0] === 'number') return text;
  const inner = Object.entries(value).map(([key, v]) => `${deeper}${Array.isArray(value) ? '' : `${JSON.stringify(key)}: `}${pretty(v, deeper)}`);
  return `${open[0]}\n${inner.join(',\n')}\n${indent}${open[1]}`;
}
