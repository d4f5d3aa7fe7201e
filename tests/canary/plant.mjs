// Copies the built-in catalog and plants a random string of its own in every private field of every capsule: node ids, edge ids, labels, prompts, hint texts of branches that are
// never taken. One capsule also gets a parameter for administrators, which no built-in has (admin.test.mjs), one a second question to the language model (resume.test.mjs), one a subgraph, a loop and a map. What the capsules do stays the same. Usage: node plant.mjs TO  (writes TO/catalog/…, TO/next/catalog/… and TO/canaries.json)
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const from = fileURLToPath(new URL('../../catalog', import.meta.url));
const to = process.argv[2];
const planted = [];

// Letters only, so that it may stand in any field; long enough never to occur by chance.
function canary(where) {
  const text = `zq${[...crypto.randomBytes(18)].map((b) => String.fromCharCode(97 + (b % 26))).join('')}`;
  planted.push({ text, where });
  return text;
}

function plant(graph, capsule) {
  const names = new Map();
  for (const node of graph.nodes) {
    const where = `${capsule}: node ${node.id}`;
    names.set(node.id, canary(`${where}: id`));
    node.id = names.get(node.id);
    node.data = { ...node.data, label: canary(`${where}: label`) };
    const params = node.data.params ?? {};
    for (const key of ['system', 'prompt'])
      if (typeof params[key] === 'string') params[key] = `${canary(`${where}: ${key}, start`)} ${params[key]} ${canary(`${where}: ${key}, end`)}`;
    if (node.data.graph) plant(node.data.graph, `${where}, inside`);
    if (Array.isArray(params.templates)) {
      const impossible = [['rain', '>', 1e9]];
      params.templates.push({ when: impossible, en: canary(`${where}: hint`), ko: `한국어 ${canary(`${where}: hint in Korean`)}` });
    }
  }
  for (const edge of graph.edges) {
    edge.source = names.get(edge.source);
    edge.target = names.get(edge.target);
    edge.id = canary(`${capsule}: edge ${edge.id}`);
  }
}

// A parameter for administrators in the place of a number that is fixed: with its default nothing changes.
const adminOnly = { capsule: 'lee-junho', param: 'frame_balance', port: 'symmetry' };
function plantParameter(file, graph) {
  const spec = JSON.parse(fs.readFileSync(file, 'utf8')), target = graph.nodes.find((n) => n.type === 'style.compose');
  const { [adminOnly.port]: fixed, ...rest } = target.data.inputs;
  spec.exposedParams[adminOnly.param] = { type: 'number', min: 0, max: 1, step: 0.04, default: fixed, visibility: 'admin' };
  target.data.inputs = rest;
  graph.edges.push({ id: 'admin', source: graph.nodes.find((n) => n.type === 'graph.input').id, sourceHandle: `param.${adminOnly.param}`, target: target.id, targetHandle: adminOnly.port });
  fs.writeFileSync(file, JSON.stringify(spec));
}

// The same question once more, with the first one's answer as its local branch.
const asksTwice = 'shinkai';
function plantQuestion(graph) {
  const ask = graph.nodes.find((n) => n.type === 'llm.chat'), again = { ...structuredClone(ask), id: 'again' };
  for (const edge of graph.edges.filter((e) => e.source === ask.id && e.sourceHandle === 'result')) edge.source = again.id;
  for (const edge of graph.edges.filter((e) => e.target === ask.id && e.targetHandle !== 'local')) graph.edges.push({ ...edge, id: `again ${edge.id}`, target: again.id });
  graph.edges.push({ id: 'again', source: ask.id, sourceHandle: 'result', target: again.id, targetHandle: 'local' });
  graph.nodes.push(again);
}

// A number that is fixed comes out of a subgraph that asks the model, and of a loop; a map asks for each of its items, the last of which fails. The names of their ports are canaries too.
const holdsGroups = 'na-hongjin';
function plantGroups(graph) {
  const target = graph.nodes.find((n) => n.type === 'style.compose'), { beat_sync: fixed, ...rest } = target.data.inputs;
  const port = (what) => canary(`${holdsGroups}: port ${what}`);
  const [y, x, answer] = ['of a subgraph', 'of a loop', 'of a map'].map(port);
  const edge = (source, sourceHandle, to, targetHandle) => ({ id: `${source} ${to}`, source, sourceHandle, target: to, targetHandle });
  const ask = (inputs) => ({ id: 'ask', type: 'llm.chat', data: { params: { system: 'You count.', prompt: 'How much?' }, inputs } });
  const group = (type, into, out, nodes, edges, data) => ({ id: `a ${type}`, type, data: {
    ...data, ports: { in: into, out }, graph: { nodes: [{ id: 'in', type: 'graph.input' }, ...nodes, { id: 'out', type: 'graph.output' }], edges },
  } });
  const number = (name) => [{ name, type: 'number' }];
  const same = (a) => ({ id: 'same', type: 'number.math', data: { inputs: { ...a, b: 0 } } });
  target.data.inputs = rest;
  graph.nodes.push(
    group('subgraph', [], number(y), [same({ a: fixed }), ask({})], [edge('same', 'value', 'ask', 'local'), edge('ask', 'result', 'out', y)]),
    group('loop', number(x), number(x), [same({})], [edge('in', x, 'same', 'a'), edge('same', 'value', 'out', x)], { params: { until: `${x} > 1e9 or iteration >= 2` } }),
    group('map', number('item'), number(answer), [same({}), ask({})], [edge('in', 'item', 'same', 'a'), edge('same', 'value', 'ask', 'local'), edge('ask', 'result', 'out', answer)],
      { params: { on_item_error: 'continue' }, inputs: { items: [fixed, 1, 'no number'] } }),
  );
  graph.edges.push(edge('a subgraph', y, 'a loop', x), edge('a loop', x, target.id, 'beat_sync'));
}

fs.rmSync(to, { recursive: true, force: true });
fs.cpSync(from, path.join(to, 'catalog'), { recursive: true, filter: (file) => fs.statSync(file).isDirectory() || file.endsWith('.json') });
for (const id of fs.readdirSync(path.join(to, 'catalog/auteur'))) {
  const file = path.join(to, 'catalog/auteur', id, 'private.json');
  const graph = JSON.parse(fs.readFileSync(file, 'utf8'));
  if (id === adminOnly.capsule) plantParameter(path.join(to, 'catalog/auteur', id, 'spec.json'), graph);
  if (id === asksTwice) plantQuestion(graph);
  if (id === holdsGroups) plantGroups(graph);
  plant(graph, id);
  fs.writeFileSync(file, JSON.stringify(graph));
}
// The catalog of a later program: one capsule in a newer version that comes to something else (tests/crash/versions.test.mjs).
const newer = path.join(to, 'next/catalog/auteur/hong-sangsoo');
fs.cpSync(path.join(to, 'catalog'), path.join(to, 'next/catalog'), { recursive: true });
const change = (file, how) => {
  const value = JSON.parse(fs.readFileSync(path.join(newer, file), 'utf8'));
  how(value);
  fs.writeFileSync(path.join(newer, file), JSON.stringify(value));
};
change('spec.json', (spec) => { spec.version = '1.1.0'; });
change('private.json', (graph) => { graph.nodes.find((n) => n.type === 'style.compose').data.inputs.beat_sync = 0.9; });
fs.writeFileSync(path.join(to, 'canaries.json'), JSON.stringify(planted, null, 1));
