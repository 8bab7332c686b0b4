/**
 * Verifying the hash chain: each delta's link, computed anew from the text that was received. The recipe is in
 * `recorder/core/chain.py`; the twin of this is `recorder/client/proof.py`.
 *
 * A hash covers the hash before it, so a delta can be verified where that one is known: from the delta before, from the
 * position it began or resumed at, from `live`, or because it is the first of all. Where it is not known, the delta's
 * own hash is taken as it stands, and what follows is verified against it. What is called linked was computed.
 */

import { ClientError } from "./errors.js";
import { sha256 } from "./sha256.js";

/** What is known of a delta's hash; only the first two are proofs. */
export const PROOFS = Object.freeze({
  LINKED: "linked",
  BY_DIGEST: "linked by digest",
  CHAIN_OFF: "the chain is off",
  FILTERED: "the delta before was not sent",
  START: "the hash before the start is not known",
  RESET: "the hash after the reset is not known",
  SKIPPED: "the delta before was left out",
});

const TAG = "recorder/chain/1";
const GENESIS = "0".repeat(64);
const HASH = /^[0-9a-f]{64}$/;
/** States of more bytes are left to WebCrypto, where there is one; for fewer its call costs more than the work. */
const SHORT = 1024;
/** Of how many sessions the last state is remembered, and of how many characters in all. */
const MOST_SESSIONS = 1000;
const MOST_CHARACTERS = 8 << 20;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const encoder = new TextEncoder();
/** @typedef {Uint8Array | null | Promise<Uint8Array>} Digest Of a state; null where there is none. */

/** The chain does not hold: what was received is not what was recorded, or the other way round. */
export class ChainBroken extends ClientError {
  /**
   * @param {number} seq The first place where it does not.
   * @param {string} computed The hash that follows from what was received, in hex.
   * @param {string} found The hash that came.
   */
  constructor(seq, computed, found) {
    super(`the chain is broken at seq ${seq}: the hash is ${found}, computed is ${computed}`);
    this.name = "ChainBroken";
    this.seq = seq;
    this.computed = computed;
    this.found = found;
  }
}

/** Follows the chain of one subscription, or of one walk through history. */
export class Verifier {
  /** What is before a delta is mostly what was after the one before it, and its digest is known. */
  #states = new LastStates();

  /** @param {{seq: number, hash: string | null} | null} start Where it begins, as far as that is known. */
  constructor(start) {
    /** A seq, and what the link of the next one covers. @type {{seq: number, hash: string} | null} */
    this.place = start !== null && start.hash !== null ? { seq: start.seq, hash: start.hash } : null;
    /** Why the hash before the next delta is not known, while there is no place. @type {string} */
    this.unknown = PROOFS.START;
  }

  /**
   * Follow the next event. What it is verified against is settled before this returns: the next may be given at once.
   *
   * @param {import("./events.js").Event} event
   * @returns {string | null | Promise<string | null>} Of a delta, what is known of it: one of `PROOFS`; a promise of it
   *   where states are long. The promise is rejected with a `ChainBroken` where the hash is not what follows from the
   *   one before it.
   */
  follow(event) {
    try {
      return this.#follow(event);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** @param {import("./events.js").Event} event */
  #follow(event) {
    switch (event.event) {
      case "delta":
        return this.#delta(event);
      case "live":
        this.#live(event.seq, event.hash);
        return null;
      case "reset":
        this.place = null; // what is known no longer counts
        this.unknown = PROOFS.RESET;
        return null;
      case "conflated":
        this.place = null;
        this.unknown = PROOFS.SKIPPED;
        return null;
      default:
        return null;
    }
  }

  /**
   * The server says where history ends.
   *
   * @param {number} seq
   * @param {string | null} hash The hash there, where it says one.
   */
  #live(seq, hash) {
    if (hash === null) return;
    checkHash(hash);
    if (this.place !== null && this.place.seq === seq && this.place.hash !== hash) {
      throw new ChainBroken(seq, this.place.hash, hash);
    }
    this.place = { seq, hash };
  }

  /** @param {import("./events.js").Delta} delta */
  #delta(delta) {
    const { seq, hash } = delta;
    const before = seq === 1 ? GENESIS : this.place?.seq === seq - 1 ? this.place.hash : null;
    if (hash === null) {
      this.place = { seq, hash: GENESIS }; // after it the chain begins again
      return PROOFS.CHAIN_OFF;
    }
    checkHash(hash);
    const unknown = this.place === null ? this.unknown : PROOFS.FILTERED;
    this.place = { seq, hash };
    return before === null ? unknown : this.#compare(before, delta, hash);
  }

  /**
   * @param {string} before
   * @param {import("./events.js").Delta} delta
   * @param {string} found
   * @returns {string | Promise<string>}
   */
  #compare(before, delta, found) {
    const judge = (/** @type {Uint8Array | null} */ first, /** @type {Uint8Array | null} */ second) => {
      const computed = linkOf(before, delta, first, second);
      if (computed !== found) throw new ChainBroken(delta.seq, computed, found);
      return delta.erased === null ? PROOFS.LINKED : PROOFS.BY_DIGEST;
    };
    const { sessionId } = delta.delta;
    const { rawBefore, rawAfter } = delta;
    const first = this.#states.digestOf(sessionId, rawBefore) ?? digestOf(rawBefore, delta.erased?.before);
    const second = digestOf(rawAfter, delta.erased?.after);
    this.#states.keep(sessionId, rawAfter, second);
    if (!(first instanceof Promise) && !(second instanceof Promise)) return judge(first, second);
    return Promise.all([first, second]).then((both) => judge(...both));
  }
}

/** The digests of sessions' last states, by their texts; those that moved longest ago are forgotten first. */
class LastStates {
  /** @type {Map<string, {text: string, digest: Digest}>} */
  #bySession = new Map();
  #characters = 0;

  /**
   * @param {string} session
   * @param {string | undefined} text
   * @returns {Digest} Null where it is not known.
   */
  digestOf(session, text) {
    const known = this.#bySession.get(session);
    return known !== undefined && known.text === text ? known.digest : null;
  }

  /**
   * @param {string} session
   * @param {string | undefined} text Of its last state.
   * @param {Digest} digest
   */
  keep(session, text, digest) {
    this.#forget(session);
    if (text === undefined) return;
    this.#bySession.set(session, { text, digest });
    this.#characters += text.length;
    for (const oldest of this.#bySession.keys()) {
      if (this.#bySession.size <= MOST_SESSIONS && this.#characters <= MOST_CHARACTERS) return;
      this.#forget(oldest);
    }
  }

  /** @param {string} session */
  #forget(session) {
    this.#characters -= this.#bySession.get(session)?.text.length ?? 0;
    this.#bySession.delete(session);
  }
}

/**
 * The hash of a delta.
 *
 * @param {string} before The hash before it, in hex.
 * @param {import("./events.js").Delta} delta
 * @param {Uint8Array | null} first The digest of its state before; null where there is none.
 * @param {Uint8Array | null} second The same of its state after.
 * @returns {string} In hex.
 */
function linkOf(before, delta, first, second) {
  const { type, sessionId, timestamp, id } = delta.delta;
  const { seq, recordedAt, idDigest, beforeFilled, lineage } = delta;
  const text = new Fields(bytesOf(before));
  for (const value of [TAG, String(seq), sessionId, type, first, second, timestamp, recordedAt, id ?? null]) {
    text.add(value);
  }
  text.add(idDigest === null ? null : bytesOf(checkHash(idDigest)));
  text.add(beforeFilled ? "1" : "0");
  text.add(lineage);
  return hexOf(sha256(text.bytes));
}

/** Values, each with its length in front of it, behind a beginning; null has a mark of its own. */
class Fields {
  #bytes = new Uint8Array(512);
  #size;

  /** @param {Uint8Array} beginning */
  constructor(beginning) {
    this.#bytes.set(beginning);
    this.#size = beginning.length;
  }

  /** @returns {Uint8Array} */
  get bytes() {
    return this.#bytes.subarray(0, this.#size);
  }

  /** @param {string | Uint8Array | null} value */
  add(value) {
    // A character is three bytes at most.
    this.#needs(4 + (value === null ? 0 : value.length * 3));
    const from = this.#size + 4;
    let size = 0;
    if (typeof value === "string") size = encoder.encodeInto(value, this.#bytes.subarray(from)).written;
    else if (value !== null) {
      this.#bytes.set(value, from);
      size = value.length;
    }
    const mark = value === null ? 0xffffffff : size;
    for (let byte = 0; byte < 4; byte++) this.#bytes[this.#size + byte] = mark >>> (24 - 8 * byte);
    this.#size = from + size;
  }

  /** @param {number} more */
  #needs(more) {
    if (this.#size + more <= this.#bytes.length) return;
    const grown = new Uint8Array(2 * (this.#size + more));
    grown.set(this.bytes);
    this.#bytes = grown;
  }
}

/**
 * @param {string | undefined} state
 * @param {string | undefined} erased The digest of a state whose content was erased, in hex.
 * @returns {Digest}
 */
function digestOf(state, erased) {
  if (state === undefined) return erased === undefined ? null : bytesOf(checkHash(erased));
  const bytes = encoder.encode(state);
  const subtle = globalThis.crypto?.subtle;
  if (bytes.length <= SHORT || subtle === undefined) return sha256(bytes);
  return subtle.digest("SHA-256", bytes).then((digest) => new Uint8Array(digest));
}

/** @param {string} hex */
function bytesOf(hex) {
  const bytes = new Uint8Array(hex.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** @param {Uint8Array} bytes */
function hexOf(bytes) {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/** @param {string} text */
function checkHash(text) {
  if (!HASH.test(text)) throw new ClientError(`${text.slice(0, 80)} is no SHA-256`);
  return text;
}
