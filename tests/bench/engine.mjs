// The graph layer in memory beside litegraph.js, each in processes of its own, in turns. `node engine.mjs warm|cold|scale|memory` prints
//   warm    engine_GRAPH RATIO of a node's time, for chain, wide and dag
//   cold    cold_GRAPH RATIO: from the document's text to the end of its first run, in a fresh process
//   scale   scale_run, scale_cold RATIO: a node's cost in a graph of 100,000 over one in a graph of 1,000
//   memory  node_memory BYTES: what plan and run of 100,000 nodes hold a node, above its values
import { agree, bench, graph, graphDir, here, note, peerVersion, say } from './lib.mjs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const program = join(process.env.BUILD || join(here, '../../build'), 'tests/bench/engine');
const mode = process.argv[2];
const three = ['chain', 'wide', 'dag'], names = mode === 'memory' ? ['dag100000'] : mode === 'scale' ? ['dag1000', 'dag100000'] : three;

const best = (list) => Math.min(...list); // of several processes: the others had to share the machine

bench(() => {
  const dir = graphDir(names);
  const run = (command, args) => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 20 }).trim().split(' ').map(Number);
  const talos = (how, g) => {
    const [sum, value, highest] = run(program, [how, join(dir, `${g.name}.talos.json`)]);
    agree(`talos ${how} ${g.name}`, sum, g.sum);
    return how === 'memory' ? { value, highest } : value;
  };
  const lite = (how, g) => {
    const [sum, value] = run(process.execPath, [join(here, 'lite.mjs'), how, join(dir, `${g.name}.lite.json`)]);
    agree(`litegraph.js ${how} ${g.name}`, sum, g.sum);
    return value;
  };
  const list = names.map((name) => Object.assign(graph(dir, name), { n: graph(dir, name).talos.nodes.length }));
  const peer = () => `litegraph.js ${peerVersion('litegraph.js')} on Node.js ${process.versions.node}`;
  const us = (ms, g) => ((1000 * ms) / g.n).toFixed(3);

  if (mode === 'warm')
    for (const g of list) {
      const ours = [], theirs = [], steps = [], strict = [];
      for (let i = 0; i < 5; i++) {
        ours.push(talos('warm', g)), theirs.push(lite('warm', g));
        steps.push(talos('step', g)), strict.push(lite('strict', g));
      }
      note(`${g.name}, µs a node: talos ${us(best(ours), g)} (${us(best(steps), g)} stepped by hand), ${peer()} runStep() ${us(best(theirs), g)}, runStep(1, true) ${us(best(strict), g)}`);
      say(`engine_${g.name}`, best(ours) / best(theirs));
    }
  if (mode === 'cold')
    for (const g of list) {
      const ours = [], theirs = [];
      for (let i = 0; i < 9; i++) ours.push(talos('cold', g)), theirs.push(lite('cold', g));
      note(`${g.name}, text to the end of the first run: talos ${best(ours).toFixed(2)} ms, ${peer()} ${best(theirs).toFixed(2)} ms`);
      say(`cold_${g.name}`, best(ours) / best(theirs));
    }
  if (mode === 'scale')
    for (const how of ['warm', 'cold']) {
      const [small, large] = list, a = [], b = [];
      for (let i = 0; i < 7; i++) a.push(talos(how, small)), b.push(talos(how, large));
      note(`${how === 'cold' ? 'text to the end of the first run' : 'a run of a plan that is there'}, µs a node: ${us(best(a), small)} of 1,000, ${us(best(b), large)} of 100,000 (${peer()}: ${us(lite(how, small), small)}, ${us(lite(how, large), large)})`);
      say(how === 'cold' ? 'scale_cold' : 'scale_run', best(b) / large.n / (best(a) / small.n));
    }
  if (mode === 'memory') {
    const { value, highest } = talos('memory', list[0]);
    note(`100,000 nodes and 200,000 edges: ${value} bytes a node allocated at the end of the run beyond what was before it was planned, without 16 bytes for each value; ${highest} at the highest, resident, planning included`);
    say('node_memory', value);
  }
});
