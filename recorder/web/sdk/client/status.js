/** How current a subscription is: a small value, and the rule that makes it. */

/** After this many heartbeat intervals of silence nothing is known any more. */
export const STALE_INTERVALS = 2;

/**
 * `live`: everything heard of has been handed out. `behind`: so many more are known of (with a filter, before it is
 * live, an upper bound). `stale`: nothing was heard for so long that nobody knows. `disconnected`: there is no
 * connection, and the next try is at a known time.
 */
export class Status {
  /**
   * @param {"live" | "behind" | "stale" | "disconnected"} kind
   * @param {number} behind Deltas known of and not yet handed out.
   * @param {number} staleSeconds Since anything was heard.
   * @param {number | null} retrySeconds Until the next try; null where there is a connection, or will be none.
   */
  constructor(kind, behind, staleSeconds, retrySeconds) {
    this.kind = kind;
    this.behind = behind;
    this.staleSeconds = staleSeconds;
    this.retrySeconds = retrySeconds;
    Object.freeze(this);
  }

  toString() {
    switch (this.kind) {
      case "behind":
        return `behind ${this.behind}`;
      case "stale":
        return `stale ${Math.floor(this.staleSeconds)} s`;
      case "disconnected":
        return this.retrySeconds === null
          ? "disconnected"
          : `disconnected, retrying in ${Math.ceil(this.retrySeconds)} s`;
      default:
        return "live";
    }
  }
}

/**
 * @param {object} known
 * @param {boolean} known.connected Whether there is a connection.
 * @param {boolean} known.live Whether history is over.
 * @param {number} known.behind Deltas known of and not yet handed out.
 * @param {number} known.silentMs Since anything was heard.
 * @param {number} known.heartbeatMs The interval of heartbeats.
 * @param {number | null} known.retryMs Until the next try, where there is no connection.
 * @returns {Status}
 */
export function assess({ connected, live, behind, silentMs, heartbeatMs, retryMs }) {
  const known = Math.max(behind, 0);
  const silent = Math.max(silentMs, 0) / 1000;
  if (!connected) {
    return new Status("disconnected", known, silent, retryMs === null ? null : Math.max(retryMs, 0) / 1000);
  }
  if (silentMs > STALE_INTERVALS * heartbeatMs) return new Status("stale", known, silent, null);
  return new Status(live && known === 0 ? "live" : "behind", known, silent, null);
}
