/**
 * A place, as text: with the hash there where that is known, so that a recorder whose history is another says so.
 *
 * @param {{epoch: string, seq: number, hash: string | null}} place
 */
export function positionText({ epoch, seq, hash }: {
    epoch: string;
    seq: number;
    hash: string | null;
}): string;
/**
 * @param {unknown} data A message's payload.
 * @returns {any} Its fields; null for an event of a kind that is not known here.
 * @throws {Violation} It is no text, no JSON, no event, or an event without what belongs to it.
 */
export function decode(data: unknown): any;
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
    constructor(wire: any, epoch: string, text: string);
    /** @type {"delta"} */
    event: "delta";
    /** @type {number} */
    seq: number;
    epoch: string;
    /** @type {string} */
    recordedAt: string;
    /** The chain's hash in hex; null where the chain is off. @type {string | null} */
    hash: string | null;
    /** `broken` where `before` is not the state last recorded; else null. @type {"broken" | null} */
    lineage: "broken" | null;
    /** Whether the recorder filled in `before`. @type {boolean} */
    beforeFilled: boolean;
    /** With an id: the digest of what was sent, in hex. @type {string | null} */
    idDigest: string | null;
    /** Digests of states that were erased since. @type {Digests | null} */
    erased: Digests | null;
    /** @type {Envelope} */
    delta: Envelope;
    /** What is known of its hash, where the subscription verifies: one of `PROOFS`. @type {string | null} */
    proof: string | null;
    /** The message as it was sent. */
    text: string;
    /** Where to resume to get what follows. */
    get position(): string;
    /** The text of the state before, as it was published; undefined where there is none. */
    get rawBefore(): string | undefined;
    /** The text of the state after, as it was published; undefined where there is none. */
    get rawAfter(): string | undefined;
    #private;
}
/** A session's state, in a list of states. */
export class State {
    /**
     * @param {any} wire The message.
     * @param {string} epoch
     * @param {string} text Of the message.
     */
    constructor(wire: any, epoch: string, text: string);
    /** @type {"state"} */
    event: "state";
    /** The delta that made it. @type {number} */
    seq: number;
    epoch: string;
    /** @type {string} */
    sessionId: string;
    /** @type {any} */
    state: any;
    /** The message as it was sent. */
    text: string;
    /** The text of the state, as it was published. */
    get rawState(): string | undefined;
}
/** History is over: from here on deltas come as they happen. */
export class Live {
    /** @param {number} seq @param {string} epoch @param {string | null} hash */
    constructor(seq: number, epoch: string, hash: string | null);
    /** @type {"live"} */
    event: "live";
    seq: number;
    epoch: string;
    /** The chain's hash there, in hex; null where it is not known. */
    hash: string | null;
    /** Where to resume to get what follows. */
    get position(): string;
}
/** What was derived so far is void: the position cannot be honoured. Next come the states as of now, then `live`. */
export class Reset {
    /** @param {string} reason @param {string} epoch @param {number | null} oldest @param {number} head */
    constructor(reason: string, epoch: string, oldest: number | null, head: number);
    /** @type {"reset"} */
    event: "reset";
    reason: string;
    epoch: string;
    oldest: number | null;
    head: number;
}
/**
 * The delta inside a delta event, as it was published.
 */
export type Envelope = {
    type: "created" | "updated" | "deleted";
    sessionId: string;
    before?: any;
    after?: any;
    timestamp: string;
    id?: string | undefined;
};
/**
 * SHA-256 in hex, of states whose content was erased.
 */
export type Digests = {
    before?: string;
    after?: string;
};
export type Hello = {
    event: "hello";
    protocol: number;
    epoch: string;
    head: number;
    durable: number | null;
    recording: boolean;
    durability: string;
    lossWindowMs: number | null;
};
/**
 * Up to `position` nothing that matches is missing; null before it is live.
 */
export type Heartbeat = {
    event: "heartbeat";
    epoch: string;
    head: number;
    durable: number | null;
    at: string;
    position: string | null;
};
export type Disconnected = {
    event: "disconnected";
    why: string;
    retrySeconds: number;
};
export type Erased = {
    event: "erased";
    sessionId: string;
    through: number;
    count: number;
    erasedAt: string;
};
/**
 * With
 *   `slow: "conflate"`: the deltas after `from` up to `to` are left out, `count` of them for this subscription. A `State`
 *   follows for each session that they were about (`null` where it was deleted), then `Live`, or another `Conflated`.
 */
export type Conflated = {
    event: "conflated";
    epoch: string;
    from: number;
    to: number;
    count: number;
};
/**
 * A signed head.
 */
export type Head = {
    event: "head";
    epoch: string;
    seq: number;
    [field: string]: unknown;
};
export type Event = Delta | State | Live | Reset | Erased | Conflated | Hello | Heartbeat | Head | Disconnected;
