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
  constructor(baseMs, capMs, stableMs, random) {
    this.baseMs = baseMs;
    this.capMs = capMs;
    this.stableMs = stableMs;
    this.random = random;
    /** Connections that failed or did not hold, in a row. */
    this.tries = 0;
    /** When the current connection was made. @type {number | null} */
    this.connectedAt = null;
  }

  /** @param {number} now Milliseconds. */
  connected(now) {
    this.connectedAt = now;
  }

  /**
   * @param {number} now Milliseconds.
   * @returns {number} Milliseconds until the next try.
   */
  failed(now) {
    if (this.connectedAt !== null && now - this.connectedAt >= this.stableMs) this.tries = 0;
    this.connectedAt = null;
    const bound = Math.min(this.capMs, this.baseMs * 2 ** Math.min(this.tries, 60));
    this.tries++;
    return bound * this.random();
  }
}
