/**
 * A subscription: the shell around `Resume` that connects, waits, and hands events to callbacks or to whoever iterates.
 *
 * A browser's WebSocket cannot be told to wait. So what is read ahead of an iterator is bounded in another way: beyond
 * the bound the connection is let go, and resumed from there once half of it is taken; nothing is lost by that. A list
 * of states alone is taken whole, since half of one is no place to resume from.
 *
 * Silence is watched by a clock that ticks each second. A tick that comes much too late means that the machine slept or
 * the page was frozen: then the server is asked at once, and a connection that died meanwhile is made anew.
 */

import { Backoff } from "./backoff.js";
import { Verifier } from "./chain.js";
import { ClientError, TokenRefused, Violation } from "./errors.js";
import { decode } from "./events.js";
import { tokenOf } from "./options.js";
import { Resume, finalError } from "./resume.js";
import { STALE_INTERVALS, assess } from "./status.js";

/** After this many heartbeat intervals of silence, and no answer, a connection is given up. */
const DEAD_INTERVALS = 2.5;
/** A longer URL does not pass everywhere (8 KiB is a common limit): then it goes as a message. */
const MAX_URL = 4000;
const TICK_MS = 1000;
/** A tick this late was none: the machine slept, or the page was frozen. */
const SLEPT_MS = 5000;
/** How long the answer to a question may take that is asked after a sleep. */
const PATIENCE_MS = 3000;
/** Changes of the status within this time are told as one. */
const STATUS_MS = 50;
/** How often in a row the same token, given by a function, may be refused before that is final. */
const MAX_SAME_REFUSED = 3;
const PING = '{"op":"ping"}';
/** Events that move the position. */
const MOVING = new Set(["delta", "live", "reset", "heartbeat"]);
const NOTICES = new Set(["hello", "heartbeat", "head", "disconnected"]);

/** @typedef {import("./events.js").Event} Event */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

/** @typedef {{at: number, ms: number}} Asked */
/** @typedef {{resolve: (result: IteratorResult<Event>) => void, reject: (error: Error) => void}} Taker */

/** @implements {AsyncIterableIterator<Event>} */
export class Subscription {
  #wanted;
  #resume;
  #backoff;
  /** The current connection. @type {WebSocket | null} */
  #socket = null;
  /** Whether the current connection was opened. */
  #opened = false;
  /** Connections tried so far: what an older one brings is not looked at. */
  #attempt = 0;
  /** The token of the current or last connection. @type {string | null} */
  #shown = null;
  /** The token that was refused last, and how often in a row. @type {{token: string | null, times: number}} */
  #refusal = { token: null, times: 0 };
  /** Whether the server has said hello on the current connection. */
  #works = false;
  /** Whether this outage was told. */
  #warned = false;
  /** What is still to be asked for by message, where a URL could not carry it. @type {string | null} */
  #question = null;
  /** Read, not taken. @type {Event[]} */
  #waiting = [];
  /** Characters of it. */
  #waitingChars = 0;
  /** Whether the connection was let go until more is taken. */
  #held = false;
  /** Who waits for the next event. @type {Taker[]} */
  #takers = [];
  /** When something was heard last. */
  #heardAt = performance.now();
  /** When the server was asked whether it is there, and for how long it may think. @type {Asked | null} */
  #asked = null;
  /** When the last tick was, by the clock that goes on while the machine sleeps. */
  #tickedAt = Date.now();
  /** When the next try is, and its timer. @type {{at: number, timer: Timer} | null} */
  #retry = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticker;
  /** @type {Timer | undefined} */
  #opening;
  /** @type {Timer | undefined} */
  #telling;
  #told = "";
  /** Follows the chain, where that was asked for. @type {Verifier | null} */
  #verifier = null;
  /** Settled when everything received so far has been handed out. @type {Promise<unknown>} */
  #verified = Promise.resolve();
  /** Events that are being verified. */
  #verifying = 0;
  /** Whether it is over. */
  #over = false;
  /** What ended it, until an iterator has thrown it. @type {Error | null} */
  #failure = null;
  /** @type {string | null} */
  #position = null;
  /** Where it moves to once all that waits was taken. @type {string | null} */
  #passed = null;
  /** @type {import("./events.js").Hello | null} */
  #hello = null;
  /** @type {{resolve: () => void, reject: (error: Error) => void}} */
  #settle;
  /** Connections lost or failed so far. */
  reconnects = 0;

  /** @param {import("./options.js").Wanted} wanted */
  constructor(wanted) {
    this.#wanted = wanted;
    const filtered = wanted.sessions.length > 0 || wanted.types.length > 0;
    this.#resume = new Resume(wanted.since, wanted.sinceKind, filtered);
    this.#backoff = new Backoff(wanted.backoffBaseMs, wanted.backoffCapMs, wanted.backoffStableMs, wanted.random);
    if (wanted.verify) this.#verifier = new Verifier(this.#resume.position);
    let settle = /** @type {any} */ (null);
    /** Settled when it is over: rejected with what ended it, unless that was `close`. @type {Promise<void>} */
    this.closed = new Promise((resolve, reject) => (settle = { resolve, reject }));
    this.#settle = settle;
    // A failure that a callback or an iterator is told of is not to be reported a second time.
    if (wanted.onError !== undefined || wanted.onEvent === undefined) this.closed.catch(() => {});
    globalThis.addEventListener?.("online", this.#onWake);
    globalThis.addEventListener?.("offline", this.#onDoubt);
    globalThis.addEventListener?.("pageshow", this.#onWake);
    globalThis.document?.addEventListener("visibilitychange", this.#onWake);
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#connect();
  }

  // For callers

  /** Where to resume after what was handed out; null before the first event and within a list of states. */
  get position() {
    return this.#position;
  }

  /** What the server said of itself at the last connection; null before the first. */
  get hello() {
    return this.#hello;
  }

  /** Deltas that came again and were dropped. */
  get duplicates() {
    return this.#resume.duplicates;
  }

  /** Times the server broke the protocol (a gap is one); each was followed by a new connection. */
  get violations() {
    return this.#resume.violations;
  }

  /** How current what was handed out is. */
  get status() {
    const { phase, head, position, filtered } = this.#resume;
    let behind = this.#waiting.length + this.#verifying;
    if (!(phase === "live" && filtered)) behind += head - (position?.seq ?? 0);
    const now = performance.now();
    return assess({
      connected: this.#held || (phase !== "down" && phase !== "greeting"),
      live: phase === "live",
      behind,
      silentMs: this.#held ? 0 : now - this.#heardAt,
      heartbeatMs: this.#wanted.heartbeatMs,
      retryMs: this.#retry === null ? null : this.#retry.at - now,
    });
  }

  /** Try at once, where the next try would be later; else ask whether the server is there. */
  retry() {
    this.#onWake();
  }

  /** Disconnect; whoever iterates is at the end, and what was not taken is dropped. May be called again. */
  close() {
    this.#end(null);
  }

  /** @returns {this} */
  [Symbol.asyncIterator]() {
    return this;
  }

  /**
   * The next event.
   *
   * @returns {Promise<IteratorResult<Event, undefined>>}
   */
  next() {
    const event = this.#waiting.shift();
    if (event !== undefined) {
      this.#waitingChars -= sizeOf(event);
      this.#note(event);
      this.#passOn();
      this.#goOn();
      return Promise.resolve({ value: event, done: false });
    }
    if (this.#failure !== null) {
      const error = this.#failure;
      this.#failure = null;
      return Promise.reject(error);
    }
    if (this.#over) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  /** What a `for await` that is left does: disconnect. @returns {Promise<IteratorResult<Event, undefined>>} */
  return() {
    this.close();
    return Promise.resolve({ value: undefined, done: true });
  }

  // The connection

  #connect() {
    clearTimeout(this.#retry?.timer);
    this.#retry = null;
    this.#opened = this.#works = false;
    this.#asked = null;
    const { token } = this.#wanted;
    const attempt = ++this.#attempt;
    if (typeof token === "function") void this.#askToken(token, attempt);
    else this.#open(token);
    this.#changed();
  }

  /**
   * @param {() => string | Promise<string>} give
   * @param {number} attempt
   */
  async #askToken(give, attempt) {
    let token = null;
    try {
      const given = await inTime(give, this.#wanted.openTimeoutMs);
      token = tokenOf(given ?? null);
    } catch (error) {
      if (this.#over || attempt !== this.#attempt) return;
      if (error instanceof ClientError) return this.#end(error); // there will be none
      return this.#again(`the token function failed: ${/** @type {Error} */ (error)?.message ?? error}`);
    }
    if (!this.#over && attempt === this.#attempt) this.#open(token);
  }

  /** @param {string | null} token */
  #open(token) {
    const { WebSocket, openTimeoutMs } = this.#wanted;
    const { url, question } = this.#address();
    this.#question = question;
    this.#shown = token;
    let socket;
    try {
      socket = new WebSocket(url, token === null ? [] : [`bearer.${token}`]);
    } catch (error) {
      // Such as a page of https that asks for ws: it would be the same the next time.
      return this.#end(new ClientError(`${url} cannot be connected to: ${/** @type {Error} */ (error).message}`));
    }
    this.#socket = socket;
    this.#opening = setTimeout(() => this.#cut("it could not be opened in time"), openTimeoutMs);
    socket.onopen = () => this.#onOpen(socket);
    socket.onmessage = ({ data }) => this.#onMessage(socket, data);
    socket.onclose = ({ code, reason }) => this.#onClose(socket, code, reason);
    // Not every platform says `close` behind the error of a connection that could not be opened.
    socket.onerror = () => {
      if (!this.#opened) this.#onClose(socket, 1006, "");
    };
  }

  /** Where to connect to, and what to ask for by message where that is too long for a URL. */
  #address() {
    const { base, sessions, types } = this.#wanted;
    const since = this.#resume.query;
    const query = new URLSearchParams();
    for (const session of sessions) query.append("session", session);
    for (const type of types) query.append("type", type);
    query.append("since", since);
    const slow = this.#wanted.slow === "conflate" ? "&slow=conflate" : "";
    const url = `${base}/ws?${query}${slow}`;
    if (url.length <= MAX_URL) return { url, question: null };
    // Nothing has this name, so what comes after `live` is the answer to the message alone.
    const nothing = `nothing-${Math.random().toString(36).slice(2)}${Date.now().toString(36)}`;
    const message = { op: "subscribe", since, sessions, ...(types.length > 0 && { types }) };
    return { url: `${base}/ws?session=${nothing}&since=latest${slow}`, question: JSON.stringify(message) };
  }

  /** @param {WebSocket} socket */
  #onOpen(socket) {
    if (socket !== this.#socket) return;
    clearTimeout(this.#opening);
    this.#opened = true;
    this.#heard();
    this.#resume.connected();
    this.#backoff.connected(performance.now());
  }

  /** @param {WebSocket} socket @param {unknown} data */
  #onMessage(socket, data) {
    if (socket !== this.#socket) return;
    this.#heard();
    try {
      if (this.#question !== null && decode(data)?.event === "live") {
        socket.send(this.#question);
        this.#question = null;
        return;
      }
      for (const event of this.#resume.receive(data)) this.#received(event);
    } catch (error) {
      this.#drop();
      this.#judged(() => {
        if (error instanceof Violation) return this.#resume.violated(error);
        this.#resume.phase = "down";
        throw error;
      });
    }
    this.#changed();
  }

  /** @param {WebSocket} socket @param {number} code @param {string} reason */
  #onClose(socket, code, reason) {
    if (socket !== this.#socket) return;
    const opened = this.#opened;
    this.#drop();
    if (opened) this.#judged(() => this.#resume.disconnected(code, reason));
    else void this.#askWhy();
  }

  /** @param {string} why Nothing comes any more, and nobody says why. */
  #cut(why) {
    this.#drop();
    this.#judged(() => this.#resume.disconnected(1006, why));
  }

  /** Have no connection any more; what it still brings is not looked at. */
  #drop() {
    clearTimeout(this.#opening);
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // Without a listener, one that fails while it is closed would be an uncaught error in some places.
    socket.onerror = () => {};
    socket.close();
  }

  /** A browser does not say why a connection could not be opened: whether it would ever be, HTTP can tell. */
  async #askWhy() {
    const { http } = this.#wanted;
    const attempt = this.#attempt;
    this.#changed();
    let why = `${http} cannot be reached`;
    /** @type {ClientError | null} */
    let final = null;
    try {
      const { ok, status, said } = await this.#fetched("/api/stats");
      if (status === 401 || status === 403) {
        final = finalError(status === 401 ? 4401 : 4403, `${http} answered ${status}: ${said}`);
      } else if (status === 404 && (await this.#fetched("/ws")).status === 404) {
        final = new ClientError(`${http} answered 404: ${said}`, "is this the URL of a recorder?");
      }
      why = ok ? `${http} took no connection` : `${http} answered ${status}: ${said}`;
    } catch {
      // Not reachable, or not for pages of this origin: what was assumed.
    }
    if (this.#over || attempt !== this.#attempt || this.#socket !== null || this.#retry !== null) return;
    this.#judged(() => {
      if (final !== null) throw final;
      return why;
    });
  }

  /** @param {string} path */
  async #fetched(path) {
    const { http, openTimeoutMs } = this.#wanted;
    const answer = await fetch(http + path, {
      cache: "no-store",
      headers: this.#shown === null ? {} : { Authorization: `Bearer ${this.#shown}` },
      signal: AbortSignal.timeout(openTimeoutMs),
    });
    return { ok: answer.ok, status: answer.status, said: detailOf(await answer.text()) };
  }

  /** @param {() => string} verdict Says why, or throws what is final. */
  #judged(verdict) {
    let why;
    try {
      why = verdict();
    } catch (error) {
      if (!(error instanceof TokenRefused) || this.#isFinal(error)) return this.#end(/** @type {Error} */ (error));
      why = error.message;
    }
    this.#again(why);
  }

  /** @param {TokenRefused} error @returns {boolean} Whether no other token can be had. */
  #isFinal(error) {
    if (typeof this.#wanted.token !== "function") return true;
    const again = this.#refusal.token === this.#shown;
    this.#refusal = { token: this.#shown, times: again ? this.#refusal.times + 1 : 1 };
    return this.#refusal.times >= MAX_SAME_REFUSED && !error.message.includes("expired");
  }

  /** @param {string} why */
  #again(why) {
    if (this.#over) return;
    this.reconnects++;
    const delay = this.#backoff.failed(performance.now());
    this.#retry = { at: performance.now() + delay, timer: setTimeout(() => this.#connect(), delay) };
    if (!this.#works) this.#warn(why, delay);
    this.#works = false;
    this.#received({ event: "disconnected", why, retrySeconds: delay / 1000 });
    this.#changed();
  }

  /**
   * Once an outage, whoever waits must learn that there may be nothing to wait for.
   *
   * @param {string} why
   * @param {number} delay
   */
  #warn(why, delay) {
    if (this.#warned) return;
    this.#warned = true;
    const next = `next try in ${(delay / 1000).toFixed(1)} s, and so on until it works`;
    const advice = "Is a recorder running there ('recorder serve' starts one), and is the address right?";
    call(this.#wanted.onWarning, `cannot subscribe at ${this.#wanted.base}: ${why}; ${next}. ${advice}`);
  }

  // Handing out

  /** @param {Event} event It is handed out, in its turn, once it is verified where that was asked for. */
  #received(event) {
    if (event.event === "hello") {
      this.#works = true;
      this.#warned = false;
      this.#refusal.times = 0;
    }
    const verifier = this.#verifier;
    if (verifier === null) return this.#handOut(event);
    const proof = verifier.follow(event);
    if (!(proof instanceof Promise) && this.#verifying === 0) return this.#proven(event, proof);
    // It waits its turn; what is wrong here is told in its turn, too, behind everything before it.
    if (proof instanceof Promise) proof.catch(() => {});
    this.#verifying++;
    this.#holdIfFull();
    this.#verified = this.#verified
      .then(() => proof)
      .then((known) => {
        this.#verifying--;
        this.#proven(event, known);
        this.#goOn();
      })
      .catch((error) => this.#end(error));
  }

  /** @param {Event} event @param {string | null} proof */
  #proven(event, proof) {
    if (event.event === "delta") event.proof = proof;
    this.#handOut(event);
  }

  /** @param {Event} event */
  #handOut(event) {
    if (event.event === "hello") this.#hello = event;
    if (this.#over) return;
    if (NOTICES.has(event.event) && !this.#wanted.notices) {
      // Where nothing that matches was recorded for long, the position must not stay behind what retention removes.
      if (event.event === "heartbeat") this.#passed = event.position ?? this.#passed;
      return this.#passOn();
    }
    const { onEvent } = this.#wanted;
    if (onEvent !== undefined) {
      this.#note(event);
      call(onEvent, event);
      return;
    }
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      this.#note(event);
      taker.resolve({ value: event, done: false });
      return;
    }
    if (MOVING.has(event.event)) this.#passed = null; // its own position counts
    this.#waiting.push(event);
    this.#waitingChars += sizeOf(event);
    this.#holdIfFull();
  }

  /** Let the connection go where more is waiting than may be; a list of states is taken whole. */
  #holdIfFull() {
    const { phase } = this.#resume;
    if (!this.#isFull(1) || phase === "listing" || phase === "moving on" || this.#socket === null) return;
    this.#held = true;
    this.#drop();
    this.#resume.phase = "down";
  }

  /** Connect again where that waited for events to be taken, or verified. */
  #goOn() {
    if (!this.#held || this.#isFull(0.5)) return;
    this.#held = false;
    this.#connect();
  }

  /** @param {number} part Of the bound. */
  #isFull(part) {
    const { maxWaiting, maxWaitingChars } = this.#wanted;
    const waiting = this.#waiting.length + this.#verifying;
    return waiting > maxWaiting * part || this.#waitingChars > maxWaitingChars * part;
  }

  /** @param {Event} event It is handed out. */
  #note(event) {
    if (event.event === "delta" || event.event === "live") this.#position = event.position;
    else if (event.event === "heartbeat") this.#position = event.position ?? this.#position;
    else if (event.event === "reset") this.#position = null;
  }

  /** Move the position with the last heartbeat, where everything before it was taken. */
  #passOn() {
    if (this.#passed === null || this.#waiting.length > 0) return;
    this.#position = this.#passed;
    this.#passed = null;
  }

  /** @param {Error | null} error What ended it; null where the caller did. */
  #end(error) {
    if (this.#over) return;
    this.#over = true;
    this.#held = false;
    clearInterval(this.#ticker);
    clearTimeout(this.#telling);
    clearTimeout(this.#retry?.timer);
    this.#retry = null;
    this.#drop();
    this.#resume.phase = "down";
    globalThis.removeEventListener?.("online", this.#onWake);
    globalThis.removeEventListener?.("offline", this.#onDoubt);
    globalThis.removeEventListener?.("pageshow", this.#onWake);
    globalThis.document?.removeEventListener("visibilitychange", this.#onWake);
    const takers = this.#takers.splice(0);
    if (error === null) {
      this.#waiting.length = this.#waitingChars = 0;
      this.#settle.resolve();
    } else {
      this.#settle.reject(error);
      const first = takers.shift();
      if (first === undefined) this.#failure = error;
      else first.reject(error);
      if (this.#wanted.onError !== undefined) call(this.#wanted.onError, error);
    }
    for (const taker of takers) taker.resolve({ value: undefined, done: true });
    this.#tell();
  }

  // The clock

  #heard() {
    this.#heardAt = performance.now();
    this.#asked = null;
  }

  #tick() {
    const slept = Date.now() - this.#tickedAt > SLEPT_MS;
    this.#tickedAt = Date.now();
    if (this.#opened && this.#socket !== null) this.#watch(slept);
    this.#changed();
  }

  /** @param {boolean} slept Whether nobody knows what happened meanwhile. */
  #watch(slept) {
    const now = performance.now();
    const { heartbeatMs } = this.#wanted;
    if (this.#asked !== null) {
      if (now - this.#asked.at >= this.#asked.ms) this.#cut("nothing was heard for too long");
    } else if (slept) {
      this.#ask(PATIENCE_MS);
    } else if (now - this.#heardAt > STALE_INTERVALS * heartbeatMs) {
      // Asked before it is given up: the server's heartbeat may be slower than ours is set to.
      this.#ask((DEAD_INTERVALS - STALE_INTERVALS) * heartbeatMs);
    }
  }

  /** @param {number} ms How long the answer may take. */
  #ask(ms) {
    this.#asked = { at: performance.now(), ms };
    this.#socket?.send(PING);
  }

  /** The network is back, or the page is looked at again. */
  #onWake = () => {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.#retry !== null) this.#connect();
    else this.#onDoubt();
  };

  /** The server may be out of reach, and silence alone would tell only much later. */
  #onDoubt = () => {
    if (this.#opened && this.#socket !== null && this.#asked === null) this.#ask(PATIENCE_MS);
  };

  // Telling

  #changed() {
    if (this.#wanted.onStatus === undefined || this.#over || this.#telling !== undefined) return;
    this.#telling = setTimeout(() => this.#tell(), STATUS_MS);
  }

  #tell() {
    this.#telling = undefined;
    const { onStatus } = this.#wanted;
    const status = this.status;
    if (onStatus === undefined || String(status) === this.#told) return;
    this.#told = String(status);
    call(onStatus, status);
  }
}

/**
 * @template T
 * @param {(value: T) => void} callback
 * @param {T} value
 */
function call(callback, value) {
  try {
    callback(value);
  } catch (error) {
    // A fault of the caller's: it is reported as every uncaught one is, and costs the connection nothing.
    queueMicrotask(() => {
      throw error;
    });
  }
}

/**
 * @param {() => string | Promise<string>} give
 * @param {number} ms
 * @returns {Promise<string>} What it gives, where it does so in time.
 */
function inTime(give, ms) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`it gave no token within ${ms / 1000} s`)), ms);
    const given = new Promise((settle) => settle(give()));
    given.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** @param {Event} event */
function sizeOf(event) {
  return event.event === "delta" || event.event === "state" ? event.text.length : 0;
}

/** @param {string} said What a server answered: a problem document, or anything. */
function detailOf(said) {
  try {
    return String(JSON.parse(said).detail);
  } catch {
    return said.slice(0, 300).trim();
  }
}
