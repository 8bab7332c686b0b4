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
export function assess({ connected, live, behind, silentMs, heartbeatMs, retryMs }: {
    connected: boolean;
    live: boolean;
    behind: number;
    silentMs: number;
    heartbeatMs: number;
    retryMs: number | null;
}): Status;
/** How current a subscription is: a small value, and the rule that makes it. */
/** After this many heartbeat intervals of silence nothing is known any more. */
export const STALE_INTERVALS: 2;
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
    constructor(kind: "live" | "behind" | "stale" | "disconnected", behind: number, staleSeconds: number, retrySeconds: number | null);
    kind: "disconnected" | "live" | "behind" | "stale";
    behind: number;
    staleSeconds: number;
    retrySeconds: number | null;
    toString(): string;
}
