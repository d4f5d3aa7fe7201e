// The graphs of the benches, the same for every engine: `node graphs.mjs DIR` writes for each NAME of `graphs`
//   NAME.json           neutral: {"name","nodes":[{"id","op","value"}|{"id","op","in":[ids],"b"?}],"edges","sum","sinks"}
//   NAME.talos.json     a talos graph document          NAME.lite.json   what litegraph's serialize() would give
//   NAME.red.json       a Node-RED flow, POST /NAME to its last node's answer (for the graphs of `red`)
//   NAME.expect         "SUM SINKS": the sum of all nodes' values in document order, and of the nodes that nobody consumes
// The values are worked out here, by none of the engines. Everything comes from one seed.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export const SEED = 20240607;
const LAYER = 100;

function random(seed) { // mulberry32
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const source = (i, value) => ({ id: `n${i}`, op: 'source', value });

function chain(count) {
  const nodes = [source(0, 1)];
  for (let i = 1; i < count; i++) nodes.push({ id: `n${i}`, op: i % 2 ? 'add' : 'subtract', in: [`n${i - 1}`], b: (i % 7) + 0.25 });
  return nodes;
}

function wide(count) {
  const nodes = [source(0, 3)];
  for (let i = 1; i <= count; i++) nodes.push({ id: `n${i}`, op: ['add', 'multiply', 'min', 'max'][i % 4], in: ['n0'], b: i * 0.5 });
  nodes.push({ id: `n${count + 1}`, op: 'add', in: nodes.slice(1).map((n) => n.id) });
  return nodes;
}

// Layers of 100. A node has two inputs, one of them out of the layer before it; so many have a third, from anywhere before, that there are
// exactly twice as many edges as nodes.
function dag(count) {
  const rnd = random(SEED + count), pick = (n) => Math.floor(rnd() * n);
  const nodes = [], thirds = 2 * LAYER, every = Math.floor((count - LAYER) / thirds);
  for (let i = 0; i < count; i++) {
    const layer = i - (i % LAYER);
    if (layer === 0) {
      nodes.push(source(i, pick(1000) / 8));
      continue;
    }
    const ins = [layer - LAYER + pick(LAYER)];
    const want = (i - LAYER) % every === 0 && (i - LAYER) / every < thirds ? 3 : 2;
    while (ins.length < want) {
      const k = pick(layer);
      if (!ins.includes(k)) ins.push(k);
    }
    nodes.push({ id: `n${i}`, op: ['add', 'subtract', 'min', 'max', 'mean'][pick(5)], in: ins.map((k) => `n${k}`) });
  }
  return nodes;
}

export const graphs = {
  chain: () => chain(1000), wide: () => wide(1000), dag: () => dag(10000),
  dag1000: () => dag(1000), dag100000: () => dag(100000), ten: () => chain(10),
};
const red = ['dag', 'ten'];

function apply(op, values) {
  const total = values.reduce((x, y) => {
    switch (op) {
      case 'subtract': return x - y;
      case 'multiply': return x * y;
      case 'min': return x < y ? x : y;
      case 'max': return x > y ? x : y;
      default: return x + y;
    }
  });
  return op === 'mean' ? total / values.length : total;
}

export function evaluate(nodes) {
  const values = new Map(), consumed = new Set();
  let sum = 0, sinks = 0, edges = 0;
  for (const n of nodes) { // in topological order as they are made
    const given = (n.in ?? []).map((id) => values.get(id));
    if (n.b !== undefined) given.push(n.b);
    values.set(n.id, n.op === 'source' ? n.value : apply(n.op, given));
    for (const id of n.in ?? []) consumed.add(id), edges++;
  }
  for (const n of nodes) {
    sum += values.get(n.id);
    if (!consumed.has(n.id)) sinks += values.get(n.id);
  }
  return { sum, sinks, edges, ends: nodes.filter((n) => !consumed.has(n.id)).map((n) => n.id) };
}

const PORT = ['a', 'b'];
const at = (i) => ({ x: 40 + 220 * Math.floor(i / LAYER), y: 40 + 90 * (i % LAYER) });

function talos(nodes) {
  const doc = { nodes: [], edges: [] };
  nodes.forEach((n, i) => {
    const data = n.op === 'source' ? { params: { value: n.value } } : { params: { op: n.op }, inputs: n.b === undefined ? undefined : { b: n.b } };
    doc.nodes.push({ id: n.id, type: n.op === 'source' ? 'input.number' : 'number.math', position: at(i), data });
    (n.in ?? []).forEach((from, k) => doc.edges.push({ id: `e${doc.edges.length}`, source: from, sourceHandle: 'value', target: n.id, targetHandle: PORT[k] ?? 'more' }));
  });
  return doc;
}

function lite(nodes) {
  const number = new Map(nodes.map((n, i) => [n.id, i + 1])), links = [], outgoing = new Map(nodes.map((n) => [n.id, []]));
  const list = nodes.map((n, i) => {
    const inputs = (n.in ?? []).map((from, k) => {
      links.push([links.length + 1, number.get(from), 0, i + 1, k, 'number']);
      outgoing.get(from).push(links.length);
      return { name: PORT[k] ?? `more${k}`, type: 'number', link: links.length };
    });
    return { id: i + 1, type: n.op === 'source' ? 'bench/source' : 'bench/math', pos: [at(i).x, at(i).y], size: { 0: 140, 1: 46 }, flags: {}, order: i, mode: 0, inputs,
      outputs: [{ name: 'value', type: 'number', links: outgoing.get(n.id) }], properties: n.op === 'source' ? { value: n.value } : { op: n.op, b: n.b } };
  });
  return { last_node_id: nodes.length, last_link_id: links.length, nodes: list, links, groups: [], config: {}, extra: {}, version: 0.4 };
}

// Function nodes, as people write arithmetic in Node-RED. One with several inputs waits until each has come; where several nodes are consumed by
// nobody, one more waits for all of these and answers.
function nodeRed(name, nodes) {
  const wires = new Map(nodes.map((n) => [n.id, []])), first = `${name}-in`, tab = `${name}-tab`, { ends } = evaluate(nodes);
  for (const n of nodes) for (const from of n.in ?? []) wires.get(from).push(`${name}-${n.id}`);
  for (const id of ends) wires.get(id).push(ends.length > 1 ? `${name}-end` : `${name}-out`);
  const EXPR = { add: 'x + y', subtract: 'x - y', multiply: 'x * y', min: 'x < y ? x : y', max: 'x > y ? x : y', mean: 'x + y' };
  const flow = [{ id: tab, type: 'tab', label: name }];
  const fn = (id, func, to, i) => flow.push({ id, type: 'function', z: tab, name: id, func, outputs: 1, timeout: 0, noerr: 0, initialize: '', finalize: '', libs: [], x: 200 + at(i).x, y: at(i).y, wires: [to] });
  // What came for this request so far, kept by the request's message id; null until all of it is there.
  const gather = (ids) => `const kept = context.get('kept') || {}, got = kept[msg._msgid] || (kept[msg._msgid] = {n: 0});
got[msg.topic] = msg.payload;
context.set('kept', kept);
if (++got.n < ${ids.length}) return null;
delete kept[msg._msgid];
const all = ${JSON.stringify(ids)}.map(k => got[k]);\n`;
  const sources = nodes.filter((n) => n.op === 'source').map((n) => `${name}-${n.id}`);
  flow.push({ id: first, type: 'http in', z: tab, name: '', url: `/${name}`, method: 'post', upload: false, swaggerDoc: '', x: 40, y: 40, wires: [sources] });
  nodes.forEach((n, i) => {
    const send = `msg.topic = '${n.id}';\nreturn msg;`;
    let func;
    if (n.op === 'source') func = `msg.payload = ${n.value};\n${send}`;
    else if (n.in.length === 1) func = `const x = msg.payload, y = ${n.b};\nmsg.payload = ${EXPR[n.op]};\n${send}`;
    else func = `${gather(n.in)}let value = all.reduce((x, y) => ${EXPR[n.op]});\nmsg.payload = ${n.op === 'mean' ? 'value / all.length' : 'value'};\n${send}`;
    if (ends.length === 1 && n.id === ends[0]) func = func.replace('return msg;', 'msg.payload = {sinks: msg.payload};\nreturn msg;');
    fn(`${name}-${n.id}`, func, wires.get(n.id), i);
  });
  if (ends.length > 1)
    fn(`${name}-end`, `${gather(ends)}msg.payload = {sinks: all.reduce((x, y) => x + y)};\nreturn msg;`, [`${name}-out`], nodes.length);
  flow.push({ id: `${name}-out`, type: 'http response', z: tab, name: '', statusCode: '', headers: {}, x: 400, y: 40, wires: [] });
  return flow;
}

export function write(dir, names = Object.keys(graphs)) {
  mkdirSync(dir, { recursive: true });
  for (const name of names) {
    const nodes = graphs[name](), { sum, sinks, edges } = evaluate(nodes);
    const put = (end, data) => writeFileSync(join(dir, `${name}.${end}`), typeof data === 'string' ? data : JSON.stringify(data));
    put('json', { name, nodes, edges, sum, sinks });
    put('talos.json', talos(nodes));
    put('lite.json', lite(nodes));
    if (red.includes(name)) put('red.json', nodeRed(name, nodes));
    put('expect', `${sum} ${sinks}\n`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (!process.argv[2]) throw new Error('graphs.mjs: which folder?');
  write(process.argv[2]);
}
