/**
 * @param {number} code One of the close codes after which there is no use in coming back.
 * @param {string} message What the server said.
 * @returns {ClientError} What that is for the caller.
 */
export function finalError(code: number, message: string): ClientError;
export const PROTOCOL_VERSION: 1;
/** How often in a row, without getting on, the server may break the protocol before that is final. */
export const MAX_STRIKES: 3;
/** @typedef {"down" | "greeting" | "replay" | "listing" | "moving on" | "live"} Phase Where a connection is. */
/** @typedef {{epoch: string, seq: number, hash: string | null}} Position */
export class Resume {
    /**
     * @param {string} since Where to begin, as spelled on the wire.
     * @param {import("./options.js").Wanted["sinceKind"]} kind
     * @param {boolean} filtered Whether only some are asked for, so that numbers may be missing.
     */
    constructor(since: string, kind: import("./options.js").Wanted["sinceKind"], filtered: boolean);
    since: string;
    kind: "time" | "state" | "position" | "seq" | "latest" | "earliest";
    filtered: boolean;
    /** @type {Phase} */
    phase: Phase;
    /** Of the current or last connection. */
    epoch: string;
    /** The highest seq heard of in this epoch. */
    head: number;
    /** Everything up to here has been handed out. @type {Position | null} */
    position: Position | null;
    /** Deltas that came again and were dropped. */
    duplicates: number;
    /** Times the server broke the protocol. */
    violations: number;
    unlisted: boolean;
    void: boolean;
    gapless: boolean;
    strikes: number;
    /** The furthest that `position` has been in this epoch. @type {Position | null} */
    furthest: Position | null;
    complaint: string;
    /** While moving on: what was left out ends here. @type {number | null} */
    skipped: number | null;
    /** The `since` to connect with now. */
    get query(): string;
    /** A connection was opened with `query`. */
    connected(): void;
    /**
     * A message came.
     *
     * @param {unknown} data Its payload.
     * @returns {import("./events.js").Event[]} What to hand out, in order.
     * @throws {Violation} The protocol is broken: close the connection and call `violated`.
     * @throws {ClientError} A refusal that is final.
     */
    receive(data: unknown): import("./events.js").Event[];
    /**
     * The connection is gone.
     *
     * @param {number} code The close code; 1006 where there was none.
     * @param {string} reason
     * @returns {string} Why, for people: it may be tried again.
     * @throws {ClientError} It may not.
     */
    disconnected(code: number, reason: string): string;
    /**
     * `receive` threw a violation, and the connection was closed.
     *
     * @param {Violation} violation
     * @returns {string} As `disconnected`.
     */
    violated(violation: Violation): string;
    #private;
}
/**
 * Where a connection is.
 */
export type Phase = "down" | "greeting" | "replay" | "listing" | "moving on" | "live";
export type Position = {
    epoch: string;
    seq: number;
    hash: string | null;
};
import { ClientError } from "./errors.js";
import { Violation } from "./errors.js";
