// The looks differ by measure: six auteurs on five unlike clips, and a classifier that has never seen the clip names the auteur; skin and sky stay believable.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { makeClips, makePatches } from "./clips.mjs";
import { frames, leaveOneGroupOut, oklab, statistics } from "./stats.mjs";

const run = promisify(execFile);
const TALOS = process.env.TALOS_BIN ?? "build/talos";
const AUTEURS = ["bong-joon-ho", "park-chan-wook", "shinkai", "lee-junho", "na-hongjin", "hong-sangsoo"];
const dir = mkdtempSync(join(tmpdir(), "talos-looks-"));
test.after(() => rmSync(dir, { recursive: true, force: true }));

function graph() {
  const nodes = [{ id: "clip", type: "input.clip", data: { params: {} } }, { id: "analyze", type: "media.analyze", data: {} }], edges = [];
  const edge = (source, sourceHandle, target, targetHandle) => edges.push({ id: `e${edges.length}`, source, sourceHandle, target, targetHandle });
  edge("clip", "clip", "analyze", "clip");
  for (const a of AUTEURS) {
    nodes.push({ id: a, type: "capsule", data: { capsuleId: `auteur.${a}`, capsuleVersion: "1.0.0", params: {} } });
    nodes.push({ id: `look-${a}`, type: "media.look", data: { params: {} } });
    edge("analyze", "emotion_curve", a, "emotion_curve");
    edge("analyze", "duration_sec", a, "duration_sec");
    edge("clip", "clip", `look-${a}`, "clip");
    edge(a, "palette", `look-${a}`, "palette");
    edge(a, "style_vector", `look-${a}`, "style_vector");
  }
  return { nodes, edges };
}

// The graded files of a clip by auteur.
async function grade(clip) {
  const out = join(dir, `out-${clip.name}`), file = join(dir, `${clip.name}.json`);
  writeFileSync(file, JSON.stringify(graph()));
  await run(TALOS, ["run", file, "--data", join(dir, `data-${clip.name}`), "--input", `clip.file=${clip.file}`, "--out", out, "--json"], { maxBuffer: 1 << 28 });
  const made = readdirSync(out).filter(f => f.endsWith(".mp4"));
  return Object.fromEntries(AUTEURS.map(a => [a, join(out, made.find(f => f.includes(`look-${a}`)))]));
}

test("a classifier that has not seen the clip names the auteur in at least 27 of 30", async t => {
  const samples = [];
  for (const clip of makeClips(dir)) {
    const graded = await grade(clip);
    for (const [label, file] of Object.entries(graded)) samples.push({ label, group: clip.name, values: statistics(file) });
  }
  assert.equal(samples.length, 30);
  const { right, wrong } = leaveOneGroupOut(samples);
  t.diagnostic(`${right} of 30 (${cpus().length} cores)${wrong.length ? `; ${wrong.join("; ")}` : ""}`);
  assert.ok(right >= 27, `${right} of 30: ${wrong.join("; ")}`);
});

const degrees = (a, b) => ((Math.atan2(b, a) * 180) / Math.PI + 360) % 360;

// The mean colour of a patch, by its corner and size in a picture of 160×90.
function patch(frame, x0, y0, w, h) {
  const sum = [0, 0, 0];
  for (let y = y0; y < y0 + h; y++)
    for (let x = x0; x < x0 + w; x++) oklab(frame[3 * (160 * y + x)], frame[3 * (160 * y + x) + 1], frame[3 * (160 * y + x) + 2]).forEach((v, k) => (sum[k] += v / (w * h)));
  return { L: sum[0], C: Math.hypot(sum[1], sum[2]), h: degrees(sum[1], sum[2]) };
}

test("skin and sky stay believable in every look", async () => {
  const graded = await grade(makePatches(dir));
  for (const [auteur, file] of Object.entries(graded)) {
    const f = frames(file)[2];
    const skins = [patch(f, 10, 50, 35, 25), patch(f, 64, 50, 35, 25), patch(f, 117, 50, 35, 25)], sky = patch(f, 20, 12, 120, 12);
    for (const s of skins) {
      assert.ok(s.C < 0.02 || (s.h > 15 && s.h < 105), `${auteur}: skin at hue ${s.h.toFixed(0)}°, chroma ${s.C.toFixed(3)}`);
      assert.ok(s.C < 0.2, `${auteur}: skin at chroma ${s.C.toFixed(3)}`);
    }
    assert.ok(skins[0].L > skins[1].L && skins[1].L > skins[2].L, `${auteur}: skins keep their order from light to dark`);
    assert.ok(sky.C < 0.035 || (sky.h > 175 && sky.h < 330), `${auteur}: sky at hue ${sky.h.toFixed(0)}°, chroma ${sky.C.toFixed(3)}`);
  }
});
