/**
 * What a server sends, read: from one message's text to one event, or null for what is not known here.
 *
 * Unknown fields and events are ignored, as the protocol asks of clients. What does not fit otherwise is a `Violation`.
 * An event keeps the message's text, so that the states in it can be had exactly as they were published.
 */

import { Violation } from "./errors.js";
import { member, members } from "./json.js";

/**
 * @typedef {object} Envelope The delta inside a delta event, as it was published.
 * @property {"created" | "updated" | "deleted"} type
 * @property {string} sessionId
 * @property {any} [before]
 * @property {any} [after]
 * @property {string} timestamp
 * @property {string} [id]
 */

/** @typedef {{before?: string, after?: string}} Digests SHA-256 in hex, of states whose content was erased. */

/** @typedef {{event: "hello", protocol: number, epoch: string, head: number, durable: number | null,
 *    recording: boolean, durability: string, lossWindowMs: number | null}} Hello */
/** @typedef {{event: "heartbeat", epoch: string, head: number, durable: number | null, at: string,
 *    position: string | null}} Heartbeat Up to `position` nothing that matches is missing; null before it is live. */
/** @typedef {{event: "disconnected", why: string, retrySeconds: number}} Disconnected */
/** @typedef {{event: "erased", sessionId: string, through: number, count: number, erasedAt: string}} Erased */
/** @typedef {{event: "conflated", epoch: string, from: number, to: number, count: number}} Conflated With
 *    `slow: "conflate"`: the deltas after `from` up to `to` are left out, `count` of them for this subscription. A `State`
 *    follows for each session that they were about (`null` where it was deleted), then `Live`, or another `Conflated`. */
/** @typedef {{event: "head", epoch: string, seq: number, [field: string]: unknown}} Head A signed head. */
/** @typedef {Delta | State | Live | Reset | Erased | Conflated | Hello | Heartbeat | Head | Disconnected} Event */

/** A recorded delta. */
export class Delta {
  /**
   * @param {any} wire The message.
   * @param {string} epoch
   * @param {string} text Of the message.
   */
  constructor(wire, epoch, text) {
    /** @type {"delta"} */
    this.event = "delta";
    /** @type {number} */
    this.seq = wire.seq;
    this.epoch = epoch;
    /** @type {string} */
    this.recordedAt = wire.recordedAt;
    /** The chain's hash in hex; null where the chain is off. @type {string | null} */
    this.hash = wire.hash ?? null;
    /** `broken` where `before` is not the state last recorded; else null. @type {"broken" | null} */
    this.lineage = wire.lineage ?? null;
    /** Whether the recorder filled in `before`. @type {boolean} */
    this.beforeFilled = wire.beforeFilled === true;
    /** With an id: the digest of what was sent, in hex. @type {string | null} */
    this.idDigest = wire.idDigest ?? null;
    /** Digests of states that were erased since. @type {Digests | null} */
    this.erased = wire.erased ?? null;
    /** @type {Envelope} */
    this.delta = wire.delta;
    /** What is known of its hash, where the subscription verifies: one of `PROOFS`. @type {string | null} */
    this.proof = null;
    /** The message as it was sent. */
    this.text = text;
  }

  /** Where to resume to get what follows. */
  get position() {
    return positionText(this);
  }

  /** The text of the state before, as it was published; undefined where there is none. */
  get rawBefore() {
    return this.#raw("before");
  }

  /** The text of the state after, as it was published; undefined where there is none. */
  get rawAfter() {
    return this.#raw("after");
  }

  /** The texts of the states, once somebody has asked. @type {Map<string, string> | null} */
  #texts = null;

  /** @param {string} name */
  #raw(name) {
    this.#texts ??= new Map(members(member(this.text, "delta") ?? "{}"));
    const text = this.#texts.get(name);
    return text === "null" ? undefined : text;
  }
}

/** A session's state, in a list of states. */
export class State {
  /**
   * @param {any} wire The message.
   * @param {string} epoch
   * @param {string} text Of the message.
   */
  constructor(wire, epoch, text) {
    /** @type {"state"} */
    this.event = "state";
    /** The delta that made it. @type {number} */
    this.seq = wire.seq;
    this.epoch = epoch;
    /** @type {string} */
    this.sessionId = wire.sessionId;
    /** @type {any} */
    this.state = wire.state;
    /** The message as it was sent. */
    this.text = text;
  }

  /** The text of the state, as it was published. */
  get rawState() {
    return member(this.text, "state");
  }
}

/** History is over: from here on deltas come as they happen. */
export class Live {
  /** @param {number} seq @param {string} epoch @param {string | null} hash */
  constructor(seq, epoch, hash) {
    /** @type {"live"} */
    this.event = "live";
    this.seq = seq;
    this.epoch = epoch;
    /** The chain's hash there, in hex; null where it is not known. */
    this.hash = hash;
  }

  /** Where to resume to get what follows. */
  get position() {
    return positionText(this);
  }
}

/** What was derived so far is void: the position cannot be honoured. Next come the states as of now, then `live`. */
export class Reset {
  /** @param {string} reason @param {string} epoch @param {number | null} oldest @param {number} head */
  constructor(reason, epoch, oldest, head) {
    /** @type {"reset"} */
    this.event = "reset";
    this.reason = reason;
    this.epoch = epoch;
    this.oldest = oldest;
    this.head = head;
  }
}

/**
 * A place, as text: with the hash there where that is known, so that a recorder whose history is another says so.
 *
 * @param {{epoch: string, seq: number, hash: string | null}} place
 */
export function positionText({ epoch, seq, hash }) {
  return hash === null ? `${epoch}:${seq}` : `${epoch}:${seq}:${hash}`;
}

const isText = (/** @type {unknown} */ value) => typeof value === "string";
const isSeq = (/** @type {unknown} */ value) => Number.isSafeInteger(value) && Number(value) >= 0;
const isObject = (/** @type {unknown} */ value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);
/** @param {(value: unknown) => boolean} rule */
const orNone = (rule) => (/** @type {unknown} */ value) => value === undefined || value === null || rule(value);

/** What belongs to each event that is known. @type {Record<string, Record<string, (value: unknown) => boolean>>} */
const FIELDS = {
  hello: { protocol: isSeq, epoch: isText, head: isSeq },
  delta: { seq: isSeq, recordedAt: isText, delta: isObject, hash: orNone(isText), lineage: orNone(isText),
    idDigest: orNone(isText), erased: orNone(isObject) },
  state: { seq: isSeq, sessionId: isText },
  live: { seq: isSeq, hash: orNone(isText) },
  reset: { reason: isText, epoch: isText, oldest: isSeq, head: isSeq },
  heartbeat: { epoch: isText, head: isSeq, through: orNone(isSeq) },
  erased: { sessionId: isText, through: isSeq },
  conflated: { epoch: isText, from: isSeq, to: isSeq, count: isSeq },
  head: { epoch: isText, seq: isSeq },
  error: { code: isText, message: isText },
};
const IN_DELTA = { type: isText, sessionId: isText, timestamp: isText, id: orNone(isText) };

/**
 * @param {unknown} data A message's payload.
 * @returns {any} Its fields; null for an event of a kind that is not known here.
 * @throws {Violation} It is no text, no JSON, no event, or an event without what belongs to it.
 */
export function decode(data) {
  if (typeof data !== "string") throw new Violation("a message that is not text");
  let wire;
  try {
    wire = JSON.parse(data);
  } catch (error) {
    throw new Violation(`a message is not JSON: ${/** @type {Error} */ (error).message}`);
  }
  if (!isObject(wire) || !isText(wire.event)) throw new Violation(`a message that is no event: ${data.slice(0, 80)}`);
  const fields = Object.hasOwn(FIELDS, wire.event) ? FIELDS[wire.event] : undefined;
  if (fields === undefined) return null;
  check(wire, fields, wire.event);
  if (wire.event === "delta") check(wire.delta, IN_DELTA, "delta.delta");
  return wire;
}

/**
 * @param {any} found
 * @param {Record<string, (value: unknown) => boolean>} fields
 * @param {string} where
 */
function check(found, fields, where) {
  for (const name in fields) {
    if (!fields[name](found[name])) throw new Violation(`${where} has no valid ${name}`);
  }
}
