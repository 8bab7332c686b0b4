/**
 * SHA-256 (FIPS 180-4), at once.
 *
 * WebCrypto's digests are faster by the byte, but each is a promise and a way to another thread: for what a delta has to
 * be hashed, some hundred bytes three times over, that costs more than the work. And there is no WebCrypto on a page that
 * came by http from another machine. Nothing secret is hashed here.
 */

const BLOCK = 64;
/** The first words of the fractional parts of the roots of the first primes: cube roots, and square roots. */
const [ROUNDS, START] = constants();
/** The message schedule of a block. */
const schedule = new Int32Array(64);
/** What is left of a message, and its end. */
const tail = new Uint8Array(2 * BLOCK);

/**
 * The digest of a message.
 *
 * @param {Uint8Array} message
 * @returns {Uint8Array} 32 bytes.
 */
export function sha256(message) {
  const state = START.slice();
  const size = message.length;
  const whole = size - (size % BLOCK);
  for (let at = 0; at < whole; at += BLOCK) compress(state, message, at);
  const rest = size - whole;
  const end = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
  tail.fill(0);
  tail.set(message.subarray(whole));
  tail[rest] = 0x80;
  // The size in bits, of which a number has more than 32.
  putWord(tail, end - 8, Math.floor(size / 2 ** 29));
  putWord(tail, end - 4, size << 3);
  for (let at = 0; at < end; at += BLOCK) compress(state, tail, at);
  const digest = new Uint8Array(32);
  for (let word = 0; word < 8; word++) putWord(digest, 4 * word, state[word]);
  return digest;
}

/**
 * Take in a block.
 *
 * @param {Int32Array} state
 * @param {Uint8Array} bytes
 * @param {number} from
 */
function compress(state, bytes, from) {
  const w = schedule;
  for (let i = 0, at = from; i < 16; i++, at += 4) {
    w[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15];
    const y = w[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
  }
  let a = state[0], b = state[1], c = state[2], d = state[3]; // taken apart as a list this would cost as much again
  let e = state[4], f = state[5], g = state[6], h = state[7];
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i] + w[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

/** @param {Uint8Array} bytes @param {number} at @param {number} word */
function putWord(bytes, at, word) {
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}

function constants() {
  /** @type {number[]} */
  const primes = [];
  for (let number = 2; primes.length < 64; number++) {
    if (primes.every((prime) => number % prime !== 0)) primes.push(number);
  }
  const words = (/** @type {number[]} */ roots) => Int32Array.from(roots, (root) => ((root % 1) * 2 ** 32) | 0);
  return [words(primes.map(Math.cbrt)), words(primes.slice(0, 8).map(Math.sqrt))];
}
