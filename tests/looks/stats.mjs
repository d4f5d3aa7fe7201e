// Statistics of a picture that a colourist would name, measured from decoded frames, and a nearest-centroid classifier over them.
import { execFileSync } from "node:child_process";

const W = 160, H = 90;

function linear(v) {
  v /= 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
}
const LINEAR = Float64Array.from({ length: 256 }, (_, i) => linear(i));

// OKLab (Ottosson 2020) from 8-bit sRGB.
export function oklab(r, g, b) {
  const R = LINEAR[r], G = LINEAR[g], B = LINEAR[b];
  const l = Math.cbrt(0.4122214708 * R + 0.5363325363 * G + 0.0514459929 * B);
  const m = Math.cbrt(0.2119034982 * R + 0.6806995451 * G + 0.1073969566 * B);
  const s = Math.cbrt(0.0883024619 * R + 0.2817188376 * G + 0.6299787005 * B);
  return [0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s, 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s];
}

// Decodes a clip to small RGB frames, two a second.
export function frames(file) {
  const raw = execFileSync("ffmpeg", ["-v", "error", "-i", file, "-vf", `fps=2,scale=${W}:${H}:flags=area`, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
    { maxBuffer: 1 << 28 });
  const size = W * H * 3, all = [];
  for (let at = 0; at + size <= raw.length; at += size) all.push(raw.subarray(at, at + size));
  return all;
}

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];

// Median lightness, mean chroma, contrast (5 % to 95 % of L), halo (light around highlights against the rest), and a hue histogram of
// eight sectors weighted by chroma.
export function statistics(file) {
  const L = [], hue = new Float64Array(8);
  let chroma = 0, count = 0, halo = 0, haloCount = 0;
  for (const f of frames(file)) {
    const light = new Float64Array(W * H);
    for (let i = 0; i < W * H; i++) {
      const [l, a, b] = oklab(f[3 * i], f[3 * i + 1], f[3 * i + 2]);
      const c = Math.hypot(a, b);
      light[i] = l;
      L.push(l);
      chroma += c;
      count++;
      hue[Math.floor(((Math.atan2(b, a) + 2 * Math.PI) % (2 * Math.PI)) / (Math.PI / 4)) % 8] += c;
    }
    // Halo: how much light there is at four pixels from the edge of what is brightest, relative to the step between the two.
    const sorted = Float64Array.from(light).sort(), high = quantile(sorted, 0.97), mid = quantile(sorted, 0.5);
    for (let y = 6; y < H - 6; y += 2)
      for (let x = 6; x < W - 6; x++) {
        if (light[y * W + x] < high || light[y * W + x + 1] >= high) continue;
        halo += (light[y * W + x + 4] - mid) / Math.max(0.05, high - mid);
        haloCount++;
      }
  }
  L.sort((a, b) => a - b);
  const total = hue.reduce((a, b) => a + b, 1e-9);
  return [quantile(L, 0.5), 4 * (chroma / count), quantile(L, 0.95) - quantile(L, 0.05), haloCount ? halo / haloCount : 0, ...Array.from(hue, h => h / total)];
}

// samples: [{label, group, values}]. Each group is left out once; answers how many are named rightly, and the list of confusions.
export function leaveOneGroupOut(samples) {
  const labels = [...new Set(samples.map(s => s.label))], wrong = [];
  for (const group of new Set(samples.map(s => s.group))) {
    const train = samples.filter(s => s.group !== group), n = train[0].values.length;
    const mean = k => train.reduce((a, s) => a + s.values[k], 0) / train.length;
    const means = Array.from({ length: n }, (_, k) => mean(k));
    const spread = means.map((m, k) => Math.sqrt(train.reduce((a, s) => a + (s.values[k] - m) ** 2, 0) / train.length) + 1e-3);
    const centroid = label => {
      const mine = train.filter(s => s.label === label);
      return means.map((_, k) => mine.reduce((a, s) => a + s.values[k], 0) / mine.length);
    };
    const centroids = labels.map(centroid);
    for (const s of samples.filter(x => x.group === group)) {
      const distance = c => c.reduce((a, v, k) => a + ((v - s.values[k]) / spread[k]) ** 2, 0);
      const named = labels[centroids.map(distance).reduce((best, d, i, all) => (d < all[best] ? i : best), 0)];
      if (named !== s.label) wrong.push(`${s.group}: ${s.label} taken for ${named}`);
    }
  }
  return { right: samples.length - wrong.length, wrong };
}
