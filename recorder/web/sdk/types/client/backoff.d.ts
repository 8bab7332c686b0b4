/**
 * How long to wait before the next try: exponential, with full jitter, so that a thousand pages of a server that
 * restarts do not come back in the same instant. Only a connection that held for a while starts the count afresh.
 */
export class Backoff {
    /**
     * @param {number} baseMs Bound of the first delay.
     * @param {number} capMs The bound doubles with each try up to this.
     * @param {number} stableMs A connection that held this long starts the count afresh.
     * @param {() => number} random From 0 to below 1.
     */
    constructor(baseMs: number, capMs: number, stableMs: number, random: () => number);
    baseMs: number;
    capMs: number;
    stableMs: number;
    random: () => number;
    /** Connections that failed or did not hold, in a row. */
    tries: number;
    /** When the current connection was made. @type {number | null} */
    connectedAt: number | null;
    /** @param {number} now Milliseconds. */
    connected(now: number): void;
    /**
     * @param {number} now Milliseconds.
     * @returns {number} Milliseconds until the next try.
     */
    failed(now: number): number;
}
