/**
 * Why it was not answered, in the server's own words where it gave some.
 *
 * @param {number} status
 * @param {string} what
 * @param {string} text The body: a problem document, or whatever stands between.
 * @returns {ClientError}
 */
export function refusal(status: number, what: string, text: string): ClientError;
/**
 * @typedef {object} ReaderOptions
 * @property {string} [url] Where the recorder is.
 * @property {import("./options.js").Options["token"]} [token] For recorders that want one; a function is asked at every
 *   request.
 * @property {AbortSignal} [signal] Ends what is being read: it throws the signal's reason.
 */
/** @typedef {number | string | Date} Point A seq, or a time. */
/**
 * @typedef {object} Filters
 * @property {string | string[]} [sessions] Only these; left out: all.
 * @property {string | string[]} [types] Only these; left out: all.
 * @property {number} [after] Only what follows this seq.
 * @property {number} [before] Only what comes before this seq.
 * @property {string | Date} [since] Only what was recorded from then on.
 * @property {string | Date} [until] Only what was recorded until then.
 * @property {"asc" | "desc"} [order] The oldest first (the default), or the newest.
 */
/** @typedef {{sessionId: string, seq: number, recordedAt: string, count: number, deleted: boolean}} SessionInfo */
/** @typedef {{sessionId: string, seq: number, state: any, rawState: string, deleted: boolean, erased: boolean}} SessionState */
/** @typedef {{seq: number, recordedAt: string, timestamp: string, type: string, lineage: string | null, before?: any,
 *    after?: any, rawBefore: string | undefined, rawAfter: string | undefined}} Touch */
/** Asks one recorder. Made by `reader`. */
export class Reader {
    /** @param {ReaderOptions & {url: string}} options */
    constructor({ url, token, signal }: ReaderOptions & {
        url: string;
    });
    /**
     * The deltas that were recorded, page by page, up to the last one.
     *
     * @param {Filters} [filters]
     * @returns {AsyncGenerator<Delta, void>}
     */
    history(filters?: Filters): AsyncGenerator<Delta, void>;
    /**
     * The sessions, the one that moved last first.
     *
     * @returns {AsyncGenerator<SessionInfo, void>}
     */
    sessions(): AsyncGenerator<SessionInfo, void>;
    /**
     * A session's state.
     *
     * @param {string} sessionId
     * @param {Point} [at] As of then; left out: now.
     * @returns {Promise<SessionState>}
     */
    state(sessionId: string, at?: Point): Promise<SessionState>;
    /**
     * What makes a session's state at one point into that at another.
     *
     * @param {string} sessionId
     * @param {{from?: Point, to?: Point, as?: "patch" | "merge"}} [points] Left out: what the last delta changed.
     * @returns {Promise<any>} A JSON Patch (RFC 6902), or a merge patch (RFC 7396).
     */
    diff(sessionId: string, points?: {
        from?: Point;
        to?: Point;
        as?: "patch" | "merge";
    }): Promise<any>;
    /**
     * The deltas that changed one place in a session's state, the newest first.
     *
     * @param {string} sessionId
     * @param {string} [path] A JSON Pointer, such as `/plan/3/status`; left out: the whole state.
     * @returns {AsyncGenerator<Touch, void>}
     */
    blame(sessionId: string, path?: string): AsyncGenerator<Touch, void>;
    /** What the recorder says of itself. @returns {Promise<any>} */
    stats(): Promise<any>;
    /** Where the recording ends, signed. @returns {Promise<any>} */
    head(): Promise<any>;
    /**
     * Everything that was recorded when it is asked, oldest first, as one file.
     *
     * @param {{sessions?: string | string[], types?: string | string[], format?: "ndjson" | "json" | "csv"}} [filters]
     * @returns {Promise<ReadableStream<Uint8Array>>} Its bytes, as they come.
     */
    export(filters?: {
        sessions?: string | string[];
        types?: string | string[];
        format?: "ndjson" | "json" | "csv";
    }): Promise<ReadableStream<Uint8Array>>;
    /** @param {string} path @returns {Promise<string>} The body of an answer. */
    text(path: string): Promise<string>;
    #private;
}
export type ReaderOptions = {
    /**
     * Where the recorder is.
     */
    url?: string | undefined;
    /**
     * For recorders that want one; a function is asked at every
     * request.
     */
    token?: import("./options.js").Options["token"];
    /**
     * Ends what is being read: it throws the signal's reason.
     */
    signal?: AbortSignal | undefined;
};
/**
 * A seq, or a time.
 */
export type Point = number | string | Date;
export type Filters = {
    /**
     * Only these; left out: all.
     */
    sessions?: string | string[] | undefined;
    /**
     * Only these; left out: all.
     */
    types?: string | string[] | undefined;
    /**
     * Only what follows this seq.
     */
    after?: number | undefined;
    /**
     * Only what comes before this seq.
     */
    before?: number | undefined;
    /**
     * Only what was recorded from then on.
     */
    since?: string | Date | undefined;
    /**
     * Only what was recorded until then.
     */
    until?: string | Date | undefined;
    /**
     * The oldest first (the default), or the newest.
     */
    order?: "desc" | "asc" | undefined;
};
export type SessionInfo = {
    sessionId: string;
    seq: number;
    recordedAt: string;
    count: number;
    deleted: boolean;
};
export type SessionState = {
    sessionId: string;
    seq: number;
    state: any;
    rawState: string;
    deleted: boolean;
    erased: boolean;
};
export type Touch = {
    seq: number;
    recordedAt: string;
    timestamp: string;
    type: string;
    lineage: string | null;
    before?: any;
    after?: any;
    rawBefore: string | undefined;
    rawAfter: string | undefined;
};
import { ClientError } from "./errors.js";
import { Delta } from "./events.js";
