// From HTTP POST to run.completed on a WebSocket, with events and everything on disk; Node-RED's first run of the same graph beside it.
// Each round is another organisation: nothing of an earlier one is kept for it. Prints
//   durable MS (first run of the 10,000)   again MS (nothing changed)   root_over_first RATIO (all sources changed)
//   durable_over_red RATIO                 scale_durable RATIO (cost per node, 100,000 over 1,000)
import { agree, bench, client, follower, graph, graphDir, median, note, now, peerVersion, request, say, startRed, startTalos, sumOf } from './lib.mjs';
import { join } from 'node:path';

const ROUNDS = 7;

bench(async () => {
  const dir = graphDir(['dag', 'dag1000', 'dag100000']), server = await startTalos();

  async function run(c, canvas, doc, sum) {
    const follow = await follower(server.port, c.headers), began = now();
    const { run_id } = await c.must('POST', `/api/v1/canvases/${canvas}/runs`, '{}');
    const { events, ended } = await follow(run_id);
    agree('talos', sumOf(events, doc), sum);
    return { ms: ended - began, events: events.length };
  }
  // First, again, and with every source changed: milliseconds each.
  async function round(org, g) {
    const c = client(server, org), { id } = await c.must('POST', '/api/v1/canvases', { name: g.name, graph: g.talos });
    const first = await run(c, id, g.talos, g.sum), again = await run(c, id, g.talos, g.sum);
    return { c, id, first: first.ms, again: again.ms, events: first.events };
  }
  async function changed(r, g) {
    // Twice every source: sums, differences, minima, maxima and means all double.
    const doc = { ...g.talos, nodes: g.talos.nodes.map((n) => (n.type === 'input.number' ? { ...n, data: { params: { value: 2 * n.data.params.value } } } : n)) };
    await r.c.must('PUT', `/api/v1/canvases/${r.id}`, { graph: doc });
    return (await run(r.c, r.id, doc, 2 * g.sum)).ms;
  }

  const dag = graph(dir, 'dag'), first = [], again = [], root = [];
  await round('warm', graph(dir, 'dag1000'));
  let events = 0;
  for (let i = 0; i < ROUNDS; i++) {
    const r = await round(`org${i}`, dag);
    first.push(r.first), again.push(r.again), root.push(await changed(r, dag));
    events = r.events;
    r.c.agent.destroy();
  }
  note(`10,000 nodes and 20,000 edges, HTTP POST to run.completed on a WebSocket, on disk, ${ROUNDS} organisations: first ${first.map((x) => x.toFixed(0))} ms (${events} events), again ${again.map((x) => x.toFixed(0))} ms, all sources changed ${root.map((x) => x.toFixed(0))} ms`);
  say('durable', median(first));
  say('again', median(again));
  say('root_over_first', Math.min(...root) / Math.min(...first)); // the disk adds to single ones what it likes

  const small = graph(dir, 'dag1000'), large = graph(dir, 'dag100000'), cost = { small: [], large: [] };
  for (let i = 0; i < 3; i++) {
    for (let k = 0; k < 5; k++) cost.small.push((await round(`small${i}.${k}`, small)).first);
    cost.large.push((await round(`large${i}`, large)).first);
  }
  note(`durable first runs: 1,000 nodes ${median(cost.small).toFixed(1)} ms, 100,000 nodes ${median(cost.large).toFixed(0)} ms; server's peak resident memory ${server.peakMiB().toFixed(0)} MiB`);
  say('scale_durable', median(cost.large) / 100 / median(cost.small));
  await server.stop();

  const red = await startRed(), deploy = await red.deploy(join(dir, 'dag.red.json')), times = [];
  for (let i = 0; i < 4; i++) {
    const t = now(), answer = await request(red.port, 'POST', '/dag');
    times.push(now() - t);
    agree('Node-RED', JSON.parse(answer.text).sinks, dag.sinks);
  }
  note(`Node-RED ${peerVersion('node-red')} on Node.js ${process.versions.node}: deploying ${deploy.toFixed(0)} ms, cold run ${times[0].toFixed(0)} ms, then ${times.slice(1).map((x) => x.toFixed(0))} ms, ${red.peakMiB().toFixed(0)} MiB; no events, nothing durable`);
  say('durable_over_red', median(first) / times[0]);
});
