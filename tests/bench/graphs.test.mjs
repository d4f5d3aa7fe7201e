// The benches' graphs: as many nodes and edges as the benches say, the same from the same seed, and talos comes to the values that the generator worked out by itself.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { evaluate, graphs, write } from './graphs.mjs';
import { agree, sumOf } from './lib.mjs';

test('the graphs have the sizes that the rows name', () => {
  for (const [name, nodes, edges] of [['chain', 1000, 999], ['wide', 1002, 2000], ['dag', 10000, 20000], ['dag1000', 1000, 2000], ['ten', 10, 9]]) {
    const made = graphs[name]();
    assert.equal(made.length, nodes, name);
    assert.equal(evaluate(made).edges, edges, name);
    assert.deepEqual(graphs[name](), made, name);
  }
});

test('talos computes them as the generator does', () => {
  const dir = mkdtempSync(join(tmpdir(), 'talos-graphs-'));
  try {
    write(dir, ['chain', 'wide', 'dag1000', 'ten']);
    for (const name of ['chain', 'wide', 'dag1000', 'ten']) {
      const file = join(dir, `${name}.talos.json`), [sum] = readFileSync(join(dir, `${name}.expect`), 'utf8').split(' ').map(Number);
      const out = execFileSync(process.env.TALOS_BIN ?? 'build/talos', ['run', file, '--json', '--data', join(dir, 'data')], { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] });
      agree(name, sumOf(out.trim().split('\n'), JSON.parse(readFileSync(file, 'utf8'))), sum);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
