/**
 * The JavaScript client of a recorder: live deltas in a browser or in Node, across reconnections.
 *
 *     import { subscribe } from "http://127.0.0.1:8765/client.js";
 *
 *     const events = subscribe({ since: "earliest" });
 *     for await (const event of events) {
 *       if (event.event === "delta") console.log(event.position, event.delta.sessionId, event.delta.after);
 *       console.log(String(events.status));          // live | behind 12 | stale 31 s | disconnected, retrying in 2 s
 *     }
 *
 * or with callbacks, which are called at once as events come, in order:
 *
 *     const events = subscribe({ sessions: "s1", onEvent: show, onStatus: (status) => badge(status), onError: tell });
 *     events.close();
 *
 * What it promises: every matching delta once and in order from where it began, or a `reset` first that says why that
 * cannot be, then the states as of now. The position moves only with what was handed out. It reconnects by itself, with
 * back-off and jitter, and at once when the network or the page comes back; only a refusal that would be the same next
 * time (a bad subscription, a token that is not valid) ends it, as a `ClientError`.
 *
 * `subscribe(options)`
 *   url        Where the recorder is; by default where this module came from.
 *   sessions   An id, or a list of them; left out: all.
 *   types      `created`, `updated`, `deleted`, or a list of these; left out: all.
 *   since      `latest` (default), `earliest`, `state`, `epoch:seq`, a seq (number), an RFC 3339 time, a `Date`.
 *   token      Sent as the WebSocket subprotocol `bearer.TOKEN`; never in a URL. A function (async or not) that gives one
 *              is asked at every connection: for tokens that expire.
 *   verify     Whether each delta's hash is computed anew: `event.proof` says what is known of it
 *              (`linked`, or in words why not), and a hash that is wrong ends it with a `ChainBroken`.
 *   notices    Whether `hello`, `heartbeat`, `head` and `disconnected` are handed out too.
 *   onEvent    Gets every event; then nothing is left for an iterator.
 *   onStatus   Gets the status whenever what it says has changed.
 *   onWarning  Gets, once an outage, why no connection can be made; `console.warn` where it is left out.
 *   onError    Gets the `ClientError` that ended it; else the iterator throws it, and `closed` is rejected with it.
 *   more       Times and limits: `Options` in client/options.js.
 *
 * It returns a `Subscription`: an async iterator with
 *   close()    Disconnect; whoever iterates is at the end. May be called again.
 *   position   `epoch:seq:hash` (`epoch:seq` where there is no chain): where to resume after what was handed out; null
 *              before the first event.
 *   status     {kind: "live" | "behind" | "stale" | "disconnected", behind, staleSeconds, retrySeconds}; `String()` of
 *              it is for people.
 *   hello      What the server said of itself at the last connection, or null.
 *   retry()    Try at once where there is no connection; else ask whether the server is there.
 *   closed     A promise: settled when it is over, for whatever reason.
 *
 * Events are as on the wire (README, "Subscribing"), with `epoch` and `position` added where they have one:
 *   delta      {event, seq, epoch, position, recordedAt, hash, lineage, beforeFilled, idDigest, erased, proof, delta,
 *              text}
 *              `delta` is {type, sessionId, before, after, timestamp, id}. JSON.parse rounds numbers beyond 2^53: where
 *              that matters, `rawBefore` and `rawAfter` are the texts as they were published, and
 *              `parseExact(event.rawAfter)` keeps every number.
 *   state      {event, seq, epoch, sessionId, state, rawState, text}
 *   live       {event, seq, epoch, hash, position}
 *   reset      {event, reason, epoch, oldest, head}; reason `cut` is the client's own: a list of states was cut off and
 *              begins again.
 *   erased     {event, sessionId, through, count, erasedAt}
 *   disconnected  {event, why, retrySeconds} (a notice)
 *
 * `reader({ url, token, signal })` reads what was recorded, with the same token: `history(filters)`, `sessions()` and
 * `blame(session, path)` are async iterators; `state(session, at)`, `diff(session, { from, to, as })`, `stats()`, `head()`
 * and `export(filters)` are promises. What the recorder answers is thrown as a `ClientError` with its `code`.
 *
 * `verify({ url, token, after, signal, onProgress })` verifies what is recorded, page by page, and returns
 * {checked, proven, unproven: {reason: how many}, first, last, bad: null | {seq, why}}.
 */

export { ChainBroken, PROOFS } from "./client/chain.js";
export { ClientError, TokenRefused } from "./client/errors.js";
export { Delta, Live, Reset, State } from "./client/events.js";
export { ExactNumber, parseExact } from "./client/json.js";
export { Reader } from "./client/reading.js";
export { Status } from "./client/status.js";
export { Subscription } from "./client/subscription.js";

import { Reader } from "./client/reading.js";
import { verify as verifyChain } from "./client/verify.js";
import { checked } from "./client/options.js";
import { Subscription } from "./client/subscription.js";

/** Where this module came from: with nothing said, that is the recorder. */
const HOME = new URL(".", import.meta.url).href;

/**
 * Subscribe to a recorder.
 *
 * @param {import("./client/options.js").Options} [options]
 * @returns {Subscription} It connects at once.
 * @throws {import("./client/errors.js").ClientError} An option is not valid.
 */
export function subscribe(options = {}) {
  return new Subscription(checked(options, HOME));
}

/**
 * Read what was recorded.
 *
 * @param {import("./client/reading.js").ReaderOptions} [options]
 * @returns {Reader} Nothing is asked before it is needed.
 * @throws {import("./client/errors.js").ClientError} An option is not valid.
 */
export function reader(options = {}) {
  return new Reader({ ...options, url: options.url ?? HOME });
}

/**
 * Verify the chain of what is recorded.
 *
 * @param {Partial<import("./client/verify.js").VerifyOptions>} [options]
 * @returns {Promise<import("./client/verify.js").Report>}
 */
export function verify(options = {}) {
  return verifyChain({ ...options, url: options.url ?? HOME });
}
