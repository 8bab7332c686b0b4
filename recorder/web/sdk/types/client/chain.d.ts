/** What is known of a delta's hash; only the first two are proofs. */
export const PROOFS: Readonly<{
    LINKED: "linked";
    BY_DIGEST: "linked by digest";
    CHAIN_OFF: "the chain is off";
    FILTERED: "the delta before was not sent";
    START: "the hash before the start is not known";
    RESET: "the hash after the reset is not known";
    SKIPPED: "the delta before was left out";
}>;
/** @typedef {Uint8Array | null | Promise<Uint8Array>} Digest Of a state; null where there is none. */
/** The chain does not hold: what was received is not what was recorded, or the other way round. */
export class ChainBroken extends ClientError {
    /**
     * @param {number} seq The first place where it does not.
     * @param {string} computed The hash that follows from what was received, in hex.
     * @param {string} found The hash that came.
     */
    constructor(seq: number, computed: string, found: string);
    seq: number;
    computed: string;
    found: string;
}
/** Follows the chain of one subscription, or of one walk through history. */
export class Verifier {
    /** @param {{seq: number, hash: string | null} | null} start Where it begins, as far as that is known. */
    constructor(start: {
        seq: number;
        hash: string | null;
    } | null);
    /** A seq, and what the link of the next one covers. @type {{seq: number, hash: string} | null} */
    place: {
        seq: number;
        hash: string;
    } | null;
    /** Why the hash before the next delta is not known, while there is no place. @type {string} */
    unknown: string;
    /**
     * Follow the next event. What it is verified against is settled before this returns: the next may be given at once.
     *
     * @param {import("./events.js").Event} event
     * @returns {string | null | Promise<string | null>} Of a delta, what is known of it: one of `PROOFS`; a promise of it
     *   where states are long. The promise is rejected with a `ChainBroken` where the hash is not what follows from the
     *   one before it.
     */
    follow(event: import("./events.js").Event): string | null | Promise<string | null>;
    #private;
}
/**
 * Of a state; null where there is none.
 */
export type Digest = Uint8Array | null | Promise<Uint8Array>;
import { ClientError } from "./errors.js";
