// Small runs over HTTP: 10 nodes, with events, on disk, each answered with its end. Rates at 64 connections over Node-RED's http-in → 10 nodes → response, by the
// same tool in turns; and how long one takes when it is alone. Prints "load RATIO" and "p99 MS".
import { agree, bench, client, graph, graphDir, median, note, now, peerVersion, request, say, startRed, startTalos, tempDir, wrk } from './lib.mjs';
import { execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';

// What the disk alone takes, in milliseconds.
function syncs() {
  const fd = openSync(join(tempDir(), 'sync'), 'w'), block = Buffer.alloc(4096, 1), took = [];
  for (let i = 0; i < 200; i++) {
    const t = now();
    writeSync(fd, block);
    fdatasyncSync(fd);
    took.push(now() - t);
  }
  closeSync(fd);
  return took;
}

const ROUNDS = 3, SECONDS = Number(process.env.SECONDS_EACH || 3);

bench(async () => {
  const dir = graphDir(['ten']), ten = graph(dir, 'ten'), server = await startTalos(), red = await startRed();
  await red.deploy(join(dir, 'ten.red.json'));
  agree('Node-RED', JSON.parse((await request(red.port, 'POST', '/ten')).text).sinks, ten.sinks);
  const c = client(server, 'bench'), { id } = await c.must('POST', '/api/v1/canvases', { name: 'ten', graph: ten.talos });
  const path = `/api/v1/canvases/${id}/runs`, body = '{"async_mode":false}', headers = c.headers;
  const answer = await c.must('POST', path, body);
  if (answer.status !== 'done') throw new Error(`a run is answered with ${JSON.stringify(answer).slice(0, 300)}`);
  agree('talos', Object.values(answer.result.outputs).reduce((s, o) => s + o.value, 0), ten.sum);
  // The same graph in the request itself, with another number each time: read, checked and planned anew, and nothing of it is kept.
  const source = ten.talos.nodes[0], [before, after] = JSON.stringify({ async_mode: false, graph: ten.talos }).split(`"value":${source.data.params.value}`);
  const other = `local n = 0
function request()
  n = n + 1
  return wrk.format("POST", nil, nil, ${JSON.stringify(before)} .. '"value":' .. n .. ${JSON.stringify(after)})
end`;

  const rates = { talos: [], red: [], fresh: [] };
  const load = { connections: 64, seconds: SECONDS };
  await wrk({ ...load, port: red.port, path: '/ten', seconds: 1 }); // for the compiler
  for (let i = 0; i < ROUNDS; i++) {
    rates.red.push((await wrk({ ...load, port: red.port, path: '/ten' })).rate);
    rates.talos.push((await wrk({ ...load, port: server.port, path, body, headers })).rate);
    rates.fresh.push((await wrk({ ...load, port: server.port, path: '/api/v1/runs', headers, script: other })).rate);
  }
  const alone = [], disk = [];
  for (let i = 0; i < ROUNDS; i++) {
    alone.push(await wrk({ connections: 1, seconds: SECONDS, port: server.port, path, body, headers }));
    disk.push(...syncs());
  }
  disk.sort((a, b) => a - b);
  const show = (list) => list.map((x) => x.toFixed(0)).join(', ');
  note(`${execFileSync('sh', ['-c', 'wrk -v | head -n 1; true'], { encoding: 'utf8' }).split(' [')[0]}, 64 connections: talos ${show(rates.talos)} runs/s of a stored canvas (${show(rates.fresh)} of a graph sent along, another number each), Node-RED ${peerVersion('node-red')} on Node.js ${process.versions.node} ${show(rates.red)}/s`);
  note(`alone, POST to its answer with the run's end: median ${alone.map((x) => x.p50.toFixed(2)).join(', ')} ms, p99 ${alone.map((x) => x.p99.toFixed(2)).join(', ')} ms; a bare fdatasync of 4 KiB in between: median ${disk[disk.length >> 1].toFixed(2)} ms, p99 ${disk[Math.floor(disk.length * 0.99)].toFixed(2)} ms`);
  say('load', median(rates.talos.map((x, i) => x / rates.red[i])));
  say('p99', median(alone.map((x) => x.p99)));
});
