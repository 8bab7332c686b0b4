/**
 * Verifying the hash chain with WebCrypto: each delta's link, computed anew from the text that was received. The recipe
 * is in `recorder/model/chain.py`; the twin of this is `recorder/client/proof.py`.
 *
 * A hash covers the hash before it, so a delta can be verified where that one is known: from the delta before, from the
 * position it began or resumed at, from `live`, or because it is the first of all. Where it is not known, the delta's
 * own hash is taken as it stands, and what follows is verified against it. What is called linked was computed.
 */

import { ClientError } from "./errors.js";

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
const encoder = new TextEncoder();

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
  /**
   * @param {{seq: number, hash: string | null} | null} start Where it begins, as far as that is known.
   * @throws {ClientError} There is no WebCrypto here.
   */
  constructor(start) {
    if (globalThis.crypto?.subtle === undefined) {
      throw new ClientError("nothing can be verified here", "WebCrypto wants a page of https, or of this machine");
    }
    /** A seq, and what the link of the next one covers. @type {{seq: number, hash: string} | null} */
    this.place = start !== null && start.hash !== null ? { seq: start.seq, hash: start.hash } : null;
    /** Why the hash before the next delta is not known, while there is no place. @type {string} */
    this.unknown = PROOFS.START;
  }

  /**
   * Follow the next event. What it is verified against is settled before this returns: the next may be given at once.
   *
   * @param {import("./events.js").Event} event
   * @returns {Promise<string | null>} Of a delta, what is known of it: one of `PROOFS`.
   * @throws {ChainBroken} Its hash is not what follows from the one before it.
   */
  async follow(event) {
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
  async #delta(delta) {
    const { seq, hash } = delta;
    const before = seq === 1 ? GENESIS : this.place?.seq === seq - 1 ? this.place.hash : null;
    if (hash === null) {
      this.place = { seq, hash: GENESIS }; // after it the chain begins again
      return PROOFS.CHAIN_OFF;
    }
    checkHash(hash);
    const unknown = this.place === null ? this.unknown : PROOFS.FILTERED;
    this.place = { seq, hash };
    return before === null ? unknown : compare(before, delta, hash);
  }
}

/**
 * @param {string} before
 * @param {import("./events.js").Delta} delta
 * @param {string} found
 */
async function compare(before, delta, found) {
  const computed = await linkOf(before, delta);
  if (computed !== found) throw new ChainBroken(delta.seq, computed, found);
  return delta.erased === null ? PROOFS.LINKED : PROOFS.BY_DIGEST;
}

/**
 * The hash of a delta.
 *
 * @param {string} before The hash before it, in hex.
 * @param {import("./events.js").Delta} delta
 * @returns {Promise<string>} In hex.
 */
export async function linkOf(before, delta) {
  const { type, sessionId, timestamp, id } = delta.delta;
  const digests = await Promise.all([
    digestOf(delta.rawBefore, delta.erased?.before),
    digestOf(delta.rawAfter, delta.erased?.after),
  ]);
  return hexOf(
    await sha256([
      bytesOf(before),
      ...field(TAG),
      ...field(String(delta.seq)),
      ...field(sessionId),
      ...field(type),
      ...field(digests[0]),
      ...field(digests[1]),
      ...field(timestamp),
      ...field(delta.recordedAt),
      ...field(id ?? null),
      ...field(delta.idDigest === null ? null : bytesOf(checkHash(delta.idDigest))),
      ...field(delta.beforeFilled ? "1" : "0"),
      ...field(delta.lineage),
    ]),
  );
}

/**
 * @param {string | undefined} state
 * @param {string | undefined} erased The digest of a state whose content was erased, in hex.
 */
async function digestOf(state, erased) {
  if (state !== undefined) return sha256([encoder.encode(state)]);
  return erased === undefined ? null : bytesOf(checkHash(erased));
}

/**
 * A value with its length in front of it; null has a mark of its own.
 *
 * @param {string | Uint8Array | null} value
 * @returns {Uint8Array[]}
 */
function field(value) {
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes === null ? 0xffffffff : bytes.length);
  return bytes === null ? [length] : [length, bytes];
}

/** @param {Uint8Array[]} parts */
async function sha256(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

/** @param {string} hex */
function bytesOf(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** @param {Uint8Array} bytes */
function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text */
function checkHash(text) {
  if (!HASH.test(text)) throw new ClientError(`${text.slice(0, 80)} is no SHA-256`);
  return text;
}
