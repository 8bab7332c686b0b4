/**
 * @typedef {object} Options
 * @property {string} [url] Where the recorder is.
 * @property {string | string[]} [sessions] Only these; left out: all.
 * @property {string | string[]} [types] Only these; left out: all.
 * @property {string | number | Date} [since] Where to begin.
 * @property {"close" | "conflate"} [slow] What the recorder does where the way here is too slow: close the connection,
 *   which resumes (the default), or leave deltas out and send the latest states (`conflated`).
 * @property {string | (() => string | Promise<string>)} [token] For recorders that want one. Where tokens expire: a
 *   function that returns one, or a promise of one, which is asked at every connection. A refused token then ends it only
 *   where the function gives the same one again and again.
 * @property {boolean} [verify] Whether each delta's hash is computed anew; one that is wrong ends it as `ChainBroken`.
 * @property {boolean} [notices] Whether `hello`, `heartbeat`, `head` and `disconnected` are handed out too.
 * @property {(event: import("./events.js").Event) => void} [onEvent] Gets every event.
 * @property {(status: import("./status.js").Status) => void} [onStatus] Gets the status when it has changed.
 * @property {(error: Error) => void} [onError] Gets what ended the subscription.
 * @property {(message: string) => void} [onWarning] Gets what is wrong where no connection can be made, once an outage;
 *   `console.warn` by default.
 * @property {number} [heartbeatMs] The server's HEARTBEAT_INTERVAL (15000). After 2 of them without a word it is asked,
 *   after 2.5 the connection is given up and made anew.
 * @property {number} [backoffBaseMs] Bound of the delay before the first reconnection (250); it doubles with each.
 * @property {number} [backoffCapMs] Bound of every delay (30000).
 * @property {number} [backoffStableMs] A connection that held this long starts the count afresh (10000).
 * @property {number} [openTimeoutMs] How long the opening of a connection may take (10000).
 * @property {number} [maxWaiting] Events read ahead of an iterator (10000). Beyond that the connection is let go, and
 *   resumed once half of them are taken.
 * @property {number} [maxWaitingChars] The same in characters of their messages (16 Mi).
 * @property {() => number} [random] From 0 to below 1, for the jitter.
 * @property {typeof WebSocket} [WebSocket] Where the platform has none, or another shall be used.
 */
/**
 * @typedef {object} Wanted Options as they are gone by.
 * @property {string} base `ws://…` or `wss://…` without a slash at its end.
 * @property {string} http The same as `http://…` or `https://…`.
 * @property {string[]} sessions Empty: all.
 * @property {string[]} types Empty: all.
 * @property {string} since As it is spelled on the wire.
 * @property {"latest" | "earliest" | "state" | "position" | "seq" | "time"} sinceKind
 * @property {"close" | "conflate"} slow
 * @property {string | (() => string | Promise<string>) | null} token
 * @property {boolean} verify
 * @property {boolean} notices
 * @property {Options["onEvent"]} onEvent
 * @property {Options["onStatus"]} onStatus
 * @property {Options["onError"]} onError
 * @property {(message: string) => void} onWarning
 * @property {number} heartbeatMs
 * @property {number} backoffBaseMs
 * @property {number} backoffCapMs
 * @property {number} backoffStableMs
 * @property {number} openTimeoutMs
 * @property {number} maxWaiting
 * @property {number} maxWaitingChars
 * @property {() => number} random
 * @property {typeof WebSocket} WebSocket
 */
/**
 * @param {Options} options
 * @param {string} home The recorder's URL where none is given.
 * @returns {Wanted}
 * @throws {ClientError} One is not valid.
 */
export function checked(options: Options, home: string): Wanted;
/**
 * The addresses that a URL names.
 *
 * @param {string} url
 * @returns {{ws: string, http: string}} Both without a slash at their end.
 */
export function address(url: string): {
    ws: string;
    http: string;
};
/**
 * @param {string} what
 * @param {string | string[] | undefined} values
 * @param {string[]} [known] What is allowed.
 * @returns {string[]} Empty where nothing is chosen.
 */
export function list(what: string, values: string | string[] | undefined, known?: string[]): string[];
/**
 * @param {unknown} token
 * @returns {string | null}
 * @throws {ClientError} It is no text, or one that cannot be sent.
 */
export function tokenOf(token: unknown): string | null;
export type Options = {
    /**
     * Where the recorder is.
     */
    url?: string | undefined;
    /**
     * Only these; left out: all.
     */
    sessions?: string | string[] | undefined;
    /**
     * Only these; left out: all.
     */
    types?: string | string[] | undefined;
    /**
     * Where to begin.
     */
    since?: string | number | Date | undefined;
    /**
     * What the recorder does where the way here is too slow: close the connection,
     * which resumes (the default), or leave deltas out and send the latest states (`conflated`).
     */
    slow?: "close" | "conflate" | undefined;
    /**
     * For recorders that want one. Where tokens expire: a
     * function that returns one, or a promise of one, which is asked at every connection. A refused token then ends it only
     * where the function gives the same one again and again.
     */
    token?: string | (() => string | Promise<string>) | undefined;
    /**
     * Whether each delta's hash is computed anew; one that is wrong ends it as `ChainBroken`.
     */
    verify?: boolean | undefined;
    /**
     * Whether `hello`, `heartbeat`, `head` and `disconnected` are handed out too.
     */
    notices?: boolean | undefined;
    /**
     * Gets every event.
     */
    onEvent?: ((event: import("./events.js").Event) => void) | undefined;
    /**
     * Gets the status when it has changed.
     */
    onStatus?: ((status: import("./status.js").Status) => void) | undefined;
    /**
     * Gets what ended the subscription.
     */
    onError?: ((error: Error) => void) | undefined;
    /**
     * Gets what is wrong where no connection can be made, once an outage;
     * `console.warn` by default.
     */
    onWarning?: ((message: string) => void) | undefined;
    /**
     * The server's HEARTBEAT_INTERVAL (15000). After 2 of them without a word it is asked,
     * after 2.5 the connection is given up and made anew.
     */
    heartbeatMs?: number | undefined;
    /**
     * Bound of the delay before the first reconnection (250); it doubles with each.
     */
    backoffBaseMs?: number | undefined;
    /**
     * Bound of every delay (30000).
     */
    backoffCapMs?: number | undefined;
    /**
     * A connection that held this long starts the count afresh (10000).
     */
    backoffStableMs?: number | undefined;
    /**
     * How long the opening of a connection may take (10000).
     */
    openTimeoutMs?: number | undefined;
    /**
     * Events read ahead of an iterator (10000). Beyond that the connection is let go, and
     * resumed once half of them are taken.
     */
    maxWaiting?: number | undefined;
    /**
     * The same in characters of their messages (16 Mi).
     */
    maxWaitingChars?: number | undefined;
    /**
     * From 0 to below 1, for the jitter.
     */
    random?: (() => number) | undefined;
    /**
     * Where the platform has none, or another shall be used.
     */
    WebSocket?: {
        new (url: string | URL, protocols?: string | string[]): WebSocket;
        prototype: WebSocket;
        readonly CONNECTING: 0;
        readonly OPEN: 1;
        readonly CLOSING: 2;
        readonly CLOSED: 3;
    } | undefined;
};
/**
 * Options as they are gone by.
 */
export type Wanted = {
    /**
     * `ws://…` or `wss://…` without a slash at its end.
     */
    base: string;
    /**
     * The same as `http://…` or `https://…`.
     */
    http: string;
    /**
     * Empty: all.
     */
    sessions: string[];
    /**
     * Empty: all.
     */
    types: string[];
    /**
     * As it is spelled on the wire.
     */
    since: string;
    sinceKind: "latest" | "earliest" | "state" | "position" | "seq" | "time";
    slow: "close" | "conflate";
    token: string | (() => string | Promise<string>) | null;
    verify: boolean;
    notices: boolean;
    onEvent: Options["onEvent"];
    onStatus: Options["onStatus"];
    onError: Options["onError"];
    onWarning: (message: string) => void;
    heartbeatMs: number;
    backoffBaseMs: number;
    backoffCapMs: number;
    backoffStableMs: number;
    openTimeoutMs: number;
    maxWaiting: number;
    maxWaitingChars: number;
    random: () => number;
    WebSocket: typeof WebSocket;
};
