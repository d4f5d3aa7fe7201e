// Looks for secrets in bytes, in every dress that software puts on text: raw, JSON-escaped, base64 and base64url at three offsets, hexadecimal, URL-encoded, UTF-16, and any of these inside
// gzip, deflate or zlib streams.
import zlib from 'node:zlib';

const trim = { 0: [0, 0], 1: [2, 0], 2: [3, 0] }; // characters of base64 that depend on what stands before, by offset

export function dresses(secret) {
  const raw = Buffer.from(secret);
  const found = new Map();
  const known = new Set();
  const add = (name, bytes) => {
    const hex = Buffer.from(bytes).toString('hex');
    if (!known.has(hex)) found.set(name, Buffer.from(bytes));
    known.add(hex);
  };
  add('raw', raw);
  const escaped = JSON.stringify(secret).slice(1, -1);
  add('JSON', escaped);
  const ascii = [...escaped].map((c) => (c < '\x80' ? c : [...Buffer.from(c, 'utf16le').swap16().toString('hex').match(/.{4}/g)].map((h) => `\\u${h}`).join(''))).join('');
  add('JSON, ASCII', ascii);
  add('JSON, ASCII, upper case', ascii.replace(/\\u([0-9a-f]{4})/g, (_, h) => `\\u${h.toUpperCase()}`));
  add('hex', raw.toString('hex'));
  add('HEX', raw.toString('hex').toUpperCase());
  add('URL', encodeURIComponent(secret));
  add('URL, all', [...raw].map((b) => `%${b.toString(16).padStart(2, '0').toUpperCase()}`).join(''));
  add('UTF-16LE', Buffer.from(secret, 'utf16le'));
  for (const offset of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(offset), raw]).toString('base64').replace(/=+$/, '');
    const tail = (offset + raw.length) % 3 ? 1 : 0; // the last character depends on what follows
    const middle = text.slice(trim[offset][0], text.length - tail);
    add(`base64+${offset}`, middle);
    add(`base64url+${offset}`, middle.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return found;
}

// A scanner for many secrets at once: the first four bytes of each dress lead to the candidates.
export class Scanner {
  constructor(secrets) {
    this.table = new Map();
    this.seen = new Uint8Array(1 << 20);
    for (const { text, where } of secrets)
      for (const [dress, bytes] of dresses(text)) {
        const key = bytes.readUInt32LE(0);
        this.seen[this.slot(key)] = 1;
        if (!this.table.has(key)) this.table.set(key, []);
        this.table.get(key).push({ bytes, dress, where, text });
      }
  }

  slot(key) {
    return (Math.imul(key, 2654435761) >>> 12) & 0xfffff;
  }

  // Everything that is found in bytes and in what is packed inside them.
  scan(bytes, depth = 0) {
    const hits = [];
    for (let i = 0; i + 4 <= bytes.length; i++) {
      const key = (bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)) >>> 0;
      if (this.seen[this.slot(key)])
        for (const c of this.table.get(key) ?? [])
          if (i + c.bytes.length <= bytes.length && bytes.compare(c.bytes, 0, c.bytes.length, i, i + c.bytes.length) === 0)
            hits.push({ where: c.where, dress: c.dress, text: c.text, at: i, packed: depth });
      if (depth < 3 && packed(bytes, i)) {
        const inner = unpack(bytes.subarray(i));
        if (inner) hits.push(...this.scan(inner, depth + 1));
      }
    }
    return hits;
  }
}

const packed = (b, i) => (b[i] === 0x1f && b[i + 1] === 0x8b && b[i + 2] === 8) || (b[i] === 0x78 && (b[i + 1] === 0x9c || b[i + 1] === 0x01 || b[i + 1] === 0xda));

// What follows a packed stream is not its business, nor is a stream that was cut off.
function unpack(bytes) {
  const options = { finishFlush: zlib.constants.Z_SYNC_FLUSH, maxOutputLength: 1 << 26 };
  try {
    return bytes[0] === 0x1f ? zlib.inflateRawSync(bytes.subarray(gzipHead(bytes)), options) : zlib.inflateSync(bytes, options);
  } catch {
    return undefined;
  }
}

// Bytes before the deflated data (RFC 1952).
function gzipHead(b) {
  let at = 10;
  if (b[3] & 4) at += 2 + b.readUInt16LE(at);
  for (const field of [8, 16]) if (b[3] & field) at = b.indexOf(0, at) + 1;
  return b[3] & 2 ? at + 2 : at;
}
