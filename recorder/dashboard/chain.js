/**
 * The hash chain, computed anew in the browser from what history answers: whether each entry's hash is the one that
 * follows from its content and from the hash before it. The recipe is in recorder/model/chain.py; every byte that is
 * hashed is the byte that was sent.
 */

import { parse, raw } from "./json.js";
import { partsOf } from "./summary.js";

/** @typedef {import("./summary.js").Parts} Parts */
/** @typedef {import("./feed-log.js").Entry} Entry */

const TAG = "recorder/chain/1";
const encoder = new TextEncoder();

/**
 * The first place at which the chain does not hold.
 * @typedef {object} Fault
 * @property {number} seq
 * @property {string} session
 * @property {"hash" | "gap"} kind `hash`: the entry is not the one that was recorded; `gap`: entries before it are missing.
 * @property {string} text In words.
 */

/** A walk along the chain, oldest entry first. */
export class ChainWalk {
  /**
   * @param {number} from The seq of the first entry.
   * @param {string | null} hash The hash before it in hex; null: not known, so that the first entry's own is taken for true.
   */
  constructor(from, hash) {
    this.next = from; // the seq that must come
    this.known = hash !== null; // whether `previous` is
    this.previous = hash === null ? new Uint8Array(32) : bytesOf(hash); // the hash before it
    this.checked = 0; // how many links held
    this.unchained = 0; // how many entries have no hash
    this.erased = 0; // how many were checked by the digests of what was erased
    /** @type {Fault | null} */
    this.fault = null;
  }

  /**
   * Check some more.
   * @param {Entry[]} entries The next ones, oldest first.
   * @returns {Promise<boolean>} Whether all of them hold; if not, `fault` says where not.
   */
  async add(entries) {
    const read = await Promise.all(entries.map((entry) => withDigests(partsOf(parse(entry.text)))));
    for (const { parts, before, after } of read) {
      if (parts.seq !== this.next) {
        this.fail(parts, "gap", `after seq ${this.next - 1} comes seq ${parts.seq}: what was between is missing`);
        return false;
      }
      this.next = parts.seq + 1;
      if (!(await this.check(parts, before, after))) return false;
    }
    return true;
  }

  /**
   * @param {Parts} parts
   * @param {Uint8Array | null} before Digest of the state before.
   * @param {Uint8Array | null} after Digest of the state after.
   * @returns {Promise<boolean>}
   */
  async check(parts, before, after) {
    if (parts.hash === null) {
      // The chain was off, and begins again behind.
      this.unchained++;
      this.previous = new Uint8Array(32);
      this.known = true;
      return true;
    }
    if (this.known) {
      const found = hexOf(await linkOf(this.previous, parts, before, after));
      if (found !== parts.hash) {
        this.fail(parts, "hash", `its content and the hash before it make ${found.slice(0, 16)}…, but it carries ${parts.hash.slice(0, 16)}…`);
        return false;
      }
      this.checked++;
      if (parts.erased) this.erased++;
    }
    this.known = true;
    this.previous = bytesOf(parts.hash);
    return true;
  }

  /** @param {Parts} parts @param {Fault["kind"]} kind @param {string} text */
  fail(parts, kind, text) {
    this.fault = { seq: parts.seq, session: parts.session, kind, text };
  }

  /** @returns {string} The hash of the last entry, in hex. */
  get hash() {
    return hexOf(this.previous);
  }
}

/**
 * The hash of an entry.
 * @param {Uint8Array} previous
 * @param {Parts} parts
 * @param {Uint8Array | null} before
 * @param {Uint8Array | null} after
 * @returns {Promise<Uint8Array>}
 */
async function linkOf(previous, parts, before, after) {
  return sha256(
    joined([
      previous,
      ...field(encoder.encode(TAG)),
      ...field(encoder.encode(String(parts.seq))),
      ...field(encoder.encode(parts.session)),
      ...field(encoder.encode(parts.type)),
      ...field(before),
      ...field(after),
      ...field(encoder.encode(parts.timestamp)),
      ...field(encoder.encode(parts.recordedAt)),
      ...field(parts.id === null ? null : encoder.encode(parts.id)),
      ...field(parts.idDigest === null ? null : bytesOf(parts.idDigest)),
      ...field(encoder.encode(parts.filled ? "1" : "0")),
      ...field(parts.broken ? encoder.encode("broken") : null),
    ]),
  );
}

/**
 * The digests of an entry's states: of those that were erased the ones that are left of them.
 * @param {Parts} parts
 */
async function withDigests(parts) {
  const one = async (/** @type {"before" | "after"} */ side) => {
    const left = parts.erased?.[side];
    if (left) return bytesOf(left);
    const state = parts[side];
    return state ? sha256(encoder.encode(raw(state))) : null;
  };
  const [before, after] = await Promise.all([one("before"), one("after")]);
  return { parts, before, after };
}

/**
 * A value with its length in front of it; null has a mark of its own.
 * @param {Uint8Array | null} value
 * @returns {Uint8Array[]}
 */
function field(value) {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, value === null ? 0xffffffff : value.length);
  return value === null ? [length] : [length, value];
}

/** @param {Uint8Array[]} parts @returns {Uint8Array<ArrayBuffer>} */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {Uint8Array<ArrayBuffer>} data @returns {Promise<Uint8Array>} */
async function sha256(data) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

/** @param {string} hex @returns {Uint8Array} */
function bytesOf(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** @param {Uint8Array} bytes @returns {string} */
function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
