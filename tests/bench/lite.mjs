// litegraph.js over one graph: `node lite.mjs warm|strict|cold NAME.lite.json` prints "SUM MS", the sum of all nodes' values and
//   warm: a pass, the tenth percentile of many, runStep(), over a graph that is loaded and has run; strict: by runStep(1, true), which lets errors out
//   cold: JSON.parse, configure and the first pass, once
// The program's own start and litegraph's are not counted.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { LiteGraph, LGraph } = createRequire(new URL('./peers/', import.meta.url))('litegraph.js');
const [mode, file] = process.argv.slice(2);
LiteGraph.MAX_NUMBER_OF_NODES = 1e6;

function Source() {
  this.addOutput('value', 'number');
}
Source.prototype.onExecute = function () {
  this.setOutputData(0, this.properties.value);
};
const apply = {
  add: (x, y) => x + y, subtract: (x, y) => x - y, multiply: (x, y) => x * y, min: (x, y) => (x < y ? x : y), max: (x, y) => (x > y ? x : y), mean: (x, y) => x + y,
};
function MathNode() {
  this.addOutput('value', 'number');
}
MathNode.prototype.onExecute = function () {
  const { op, b } = this.properties, f = apply[op], n = this.inputs.length;
  let value = this.getInputData(0), count = n;
  for (let i = 1; i < n; i++) value = f(value, this.getInputData(i));
  if (b !== undefined) value = f(value, b), count++;
  this.setOutputData(0, op === 'mean' ? value / count : value);
};
LiteGraph.registerNodeType('bench/source', Source);
LiteGraph.registerNodeType('bench/math', MathNode);

const text = readFileSync(file, 'utf8');
const sum = (graph) => graph._nodes.reduce((s, n) => s + n.getOutputData(0), 0);
const tenth = (a) => a.sort((x, y) => x - y)[Math.floor(a.length / 10)]; // what the machine does when it is left alone

const t0 = performance.now();
const graph = new LGraph();
graph.configure(JSON.parse(text));
graph.runStep();
const cold = performance.now() - t0;
if (mode === 'cold') {
  console.log(`${sum(graph)} ${cold}`);
} else {
  const passes = [], until = performance.now() + 700;
  for (let i = 0; i < 50 || performance.now() < until; i++) {
    const t = performance.now();
    if (mode === 'strict') graph.runStep(1, true);
    else graph.runStep();
    passes.push(performance.now() - t);
  }
  console.log(`${sum(graph)} ${tenth(passes)}`);
}
