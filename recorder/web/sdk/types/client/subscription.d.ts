/** @typedef {import("./events.js").Event} Event */
/** @typedef {ReturnType<typeof setTimeout>} Timer */
/** @typedef {{at: number, ms: number}} Asked */
/** @typedef {{resolve: (result: IteratorResult<Event>) => void, reject: (error: Error) => void}} Taker */
/** @implements {AsyncIterableIterator<Event>} */
export class Subscription implements AsyncIterableIterator<Event> {
    /** @param {import("./options.js").Wanted} wanted */
    constructor(wanted: import("./options.js").Wanted);
    /** Connections lost or failed so far. */
    reconnects: number;
    /** Settled when it is over: rejected with what ended it, unless that was `close`. @type {Promise<void>} */
    closed: Promise<void>;
    /** Where to resume after what was handed out; null before the first event and within a list of states. */
    get position(): string | null;
    /** What the server said of itself at the last connection; null before the first. */
    get hello(): import("./events.js").Hello | null;
    /** Deltas that came again and were dropped. */
    get duplicates(): number;
    /** Times the server broke the protocol (a gap is one); each was followed by a new connection. */
    get violations(): number;
    /** How current what was handed out is. */
    get status(): import("./status.js").Status;
    /** Try at once, where the next try would be later; else ask whether the server is there. */
    retry(): void;
    /** Disconnect; whoever iterates is at the end, and what was not taken is dropped. May be called again. */
    close(): void;
    /**
     * The next event.
     *
     * @returns {Promise<IteratorResult<Event, undefined>>}
     */
    next(): Promise<IteratorResult<Event, undefined>>;
    /** What a `for await` that is left does: disconnect. @returns {Promise<IteratorResult<Event, undefined>>} */
    return(): Promise<IteratorResult<Event, undefined>>;
    /** @returns {this} */
    [Symbol.asyncIterator](): this;
    #private;
}
export type Event = import("./events.js").Event;
export type Timer = ReturnType<typeof setTimeout>;
export type Asked = {
    at: number;
    ms: number;
};
export type Taker = {
    resolve: (result: IteratorResult<Event>) => void;
    reject: (error: Error) => void;
};
