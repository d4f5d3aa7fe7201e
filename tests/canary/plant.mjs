// Copies the built-in catalog and plants a random string of its own in every private field of every capsule: node ids, edge ids, labels, prompts, hint texts of branches that are
// never taken. What the capsules do stays the same. Usage: node plant.mjs TO  (writes TO/catalog/… and TO/canaries.json)
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

fs.rmSync(to, { recursive: true, force: true });
fs.cpSync(from, path.join(to, 'catalog'), { recursive: true, filter: (file) => fs.statSync(file).isDirectory() || file.endsWith('.json') });
for (const id of fs.readdirSync(path.join(to, 'catalog/auteur'))) {
  const file = path.join(to, 'catalog/auteur', id, 'private.json');
  const graph = JSON.parse(fs.readFileSync(file, 'utf8'));
  plant(graph, id);
  fs.writeFileSync(file, JSON.stringify(graph));
}
fs.writeFileSync(path.join(to, 'canaries.json'), JSON.stringify(planted, null, 1));
