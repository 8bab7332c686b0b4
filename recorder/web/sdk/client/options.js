/** What may be asked of a subscription, checked: times in milliseconds (`…Ms`). */

import { ClientError } from "./errors.js";

const TYPES = ["created", "updated", "deleted"];
const POSITION = /^[0-9A-Za-z]{1,32}:\d{1,19}(:[0-9a-f]{64})?$/;
const SENDABLE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const SCHEMES = new Map([["http:", "ws:"], ["ws:", "ws:"], ["https:", "wss:"], ["wss:", "wss:"]]);

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
export function checked(options, home) {
  const known = { ...DEFAULTS, WebSocket: globalThis.WebSocket, url: home, ...given(options) };
  if (typeof known.WebSocket !== "function") {
    throw new ClientError("there is no WebSocket here", "give one as the option WebSocket, or use Node 22 or later");
  }
  for (const name of /** @type {const} */ (["heartbeatMs", "openTimeoutMs", "maxWaiting", "maxWaitingChars"])) {
    if (!(known[name] > 0)) throw new ClientError(`option ${name} must be greater than 0, is ${known[name]}`);
  }
  if (known.slow !== "close" && known.slow !== "conflate") {
    throw new ClientError(`slow: ${String(known.slow)} is neither close nor conflate`);
  }
  const since = known.since instanceof Date ? known.since.toISOString() : String(known.since);
  const { ws, http } = address(known.url);
  return {
    ...known,
    base: ws,
    http,
    sessions: list("sessions", known.sessions),
    types: list("types", known.types, TYPES),
    since,
    sinceKind: kindOf(since),
    token: typeof known.token === "function" ? known.token : tokenOf(known.token),
  };
}

const DEFAULTS = {
  /** @type {string | number | Date} */
  since: "latest",
  /** @type {"close" | "conflate"} */
  slow: "close",
  /** @type {Options["token"]} */
  token: undefined,
  verify: false,
  notices: false,
  onEvent: undefined,
  onStatus: undefined,
  onError: undefined,
  onWarning: (/** @type {string} */ message) => console.warn(message),
  heartbeatMs: 15_000,
  backoffBaseMs: 250,
  backoffCapMs: 30_000,
  backoffStableMs: 10_000,
  openTimeoutMs: 10_000,
  maxWaiting: 10_000,
  maxWaitingChars: 16 << 20,
  random: Math.random,
};

const NAMES = new Set([...Object.keys(DEFAULTS), "url", "sessions", "types", "WebSocket"]);

/**
 * @param {Options} options
 * @returns {Options} Those that are given.
 */
function given(options) {
  const found = Object.entries(options).filter(([, value]) => value !== undefined && value !== null);
  for (const [name] of found) {
    if (!NAMES.has(name)) throw new ClientError(`unknown option ${name}`, `known: ${[...NAMES].join(", ")}`);
  }
  return Object.fromEntries(found);
}

/**
 * The addresses that a URL names.
 *
 * @param {string} url
 * @returns {{ws: string, http: string}} Both without a slash at their end.
 */
export function address(url) {
  let parts;
  try {
    parts = new URL(url);
  } catch {
    throw new ClientError(`not a URL: ${url}`, "such as http://127.0.0.1:8765");
  }
  const scheme = SCHEMES.get(parts.protocol);
  if (scheme === undefined) throw new ClientError(`not the URL of a recorder: ${url}`, "such as http://127.0.0.1:8765");
  if (parts.username || parts.password || parts.search || parts.hash) {
    throw new ClientError("the URL of a recorder has no user, query or fragment", "a token is given as token");
  }
  const place = `//${parts.host}${parts.pathname.replace(/\/+$/, "")}`;
  return { ws: `${scheme}${place}`, http: `${scheme === "wss:" ? "https:" : "http:"}${place}` };
}

/**
 * @param {string} what
 * @param {string | string[] | undefined} values
 * @param {string[]} [known] What is allowed.
 * @returns {string[]} Empty where nothing is chosen.
 */
export function list(what, values, known) {
  if (values === undefined) return [];
  // A lone text is one name, and not a list of its letters.
  const found = typeof values === "string" ? [values] : Symbol.iterator in Object(values) ? [...new Set(values)] : null;
  if (found === null) throw new ClientError(`${what}: ${String(values)} is neither a text nor a list of texts`);
  if (found.length === 0) throw new ClientError(`${what} is empty, which would mean none`, "leave it out for all");
  for (const value of found) {
    if (typeof value !== "string" || (known !== undefined && !known.includes(value))) {
      throw new ClientError(`${what}: ${String(value)} is not one`, known?.join(", "));
    }
  }
  return found;
}

/**
 * @param {unknown} token
 * @returns {string | null}
 * @throws {ClientError} It is no text, or one that cannot be sent.
 */
export function tokenOf(token) {
  if (token === undefined) return null;
  if (typeof token !== "string") throw new ClientError(`the token is no text: it is of type ${typeof token}`);
  if (!SENDABLE.test(token)) {
    // As the name of a subprotocol (RFC 7230, "token"), the only way a browser has.
    throw new ClientError("a token with characters that a browser cannot send", "letters, digits and !#$%&'*+-.^_`|~");
  }
  return token;
}

/**
 * @param {string} since
 * @returns {Wanted["sinceKind"]}
 */
function kindOf(since) {
  if (since === "latest" || since === "earliest" || since === "state") return since;
  if (/^\d{1,19}$/.test(since)) return "seq";
  if (POSITION.test(since)) return "position";
  if (/^\d{4}-\d\d-\d\d[Tt ]/.test(since)) return "time";
  throw new ClientError(`since: ${since} is no position`, "latest, earliest, state, a position, a seq, or a time");
}
