/**
 * Reading what was recorded over HTTP: pages are followed, states are kept as the texts that were published, and what a
 * recorder answers with a problem document is thrown as a `ClientError` with its code. The twin of
 * `recorder/client/reading.py`.
 */

import { ClientError, TokenRefused } from "./errors.js";
import { Delta } from "./events.js";
import { elements, member, members } from "./json.js";
import { address, list, tokenOf } from "./options.js";

const PAGE = 500;

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
  #http;
  #token;
  #signal;

  /** @param {ReaderOptions & {url: string}} options */
  constructor({ url, token, signal }) {
    this.#http = address(url).http;
    this.#token = typeof token === "function" ? token : tokenOf(token);
    this.#signal = signal;
  }

  /**
   * The deltas that were recorded, page by page, up to the last one.
   *
   * @param {Filters} [filters]
   * @returns {AsyncGenerator<Delta, void>}
   */
  async *history(filters = {}) {
    let query = parameters({ order: "asc", ...filters });
    for (;;) {
      query.set("limit", String(PAGE));
      const text = await this.text(`/api/deltas?${query}`);
      const { epoch, next } = JSON.parse(text);
      for (const item of elements(member(text, "deltas") ?? "[]")) yield new Delta(JSON.parse(item), epoch, item);
      if (next === null) return;
      query = new URLSearchParams({ cursor: next });
    }
  }

  /**
   * The sessions, the one that moved last first.
   *
   * @returns {AsyncGenerator<SessionInfo, void>}
   */
  async *sessions() {
    const query = new URLSearchParams({ limit: String(PAGE) });
    for (;;) {
      const { sessions, next } = JSON.parse(await this.text(`/api/sessions?${query}`));
      yield* sessions;
      if (next === null) return;
      query.set("cursor", next);
    }
  }

  /**
   * A session's state.
   *
   * @param {string} sessionId
   * @param {Point} [at] As of then; left out: now.
   * @returns {Promise<SessionState>}
   */
  async state(sessionId, at) {
    const text = await this.text(`${pathOf(sessionId)}?${parameters({ at })}`);
    const { seq, state, deleted, erased = false } = JSON.parse(text);
    return { sessionId, seq, state, rawState: member(text, "state") ?? "null", deleted, erased };
  }

  /**
   * What makes a session's state at one point into that at another.
   *
   * @param {string} sessionId
   * @param {{from?: Point, to?: Point, as?: "patch" | "merge"}} [points] Left out: what the last delta changed.
   * @returns {Promise<any>} A JSON Patch (RFC 6902), or a merge patch (RFC 7396).
   */
  async diff(sessionId, points = {}) {
    return JSON.parse(await this.text(`${pathOf(sessionId)}/diff?${parameters(points)}`));
  }

  /**
   * The deltas that changed one place in a session's state, the newest first.
   *
   * @param {string} sessionId
   * @param {string} [path] A JSON Pointer, such as `/plan/3/status`; left out: the whole state.
   * @returns {AsyncGenerator<Touch, void>}
   */
  async *blame(sessionId, path = "") {
    /** @type {number | undefined} */
    let before;
    for (;;) {
      const text = await this.text(`${pathOf(sessionId)}/blame?${parameters({ path, before })}`);
      for (const touch of elements(member(text, "touches") ?? "[]")) {
        const texts = new Map(members(touch));
        yield { lineage: null, ...JSON.parse(touch), rawBefore: texts.get("before"), rawAfter: texts.get("after") };
      }
      const { next } = JSON.parse(text);
      if (next === null) return;
      before = next;
    }
  }

  /** What the recorder says of itself. @returns {Promise<any>} */
  async stats() {
    return JSON.parse(await this.text("/api/stats"));
  }

  /** Where the recording ends, signed. @returns {Promise<any>} */
  async head() {
    return JSON.parse(await this.text("/api/head"));
  }

  /**
   * Everything that was recorded when it is asked, oldest first, as one file.
   *
   * @param {{sessions?: string | string[], types?: string | string[], format?: "ndjson" | "json" | "csv"}} [filters]
   * @returns {Promise<ReadableStream<Uint8Array>>} Its bytes, as they come.
   */
  async export(filters = {}) {
    const answer = await this.#ask(`/api/export?${parameters(filters)}`);
    return answer.body ?? new ReadableStream();
  }

  /** @param {string} path @returns {Promise<string>} The body of an answer. */
  async text(path) {
    return (await this.#ask(path)).text();
  }

  /** @param {string} path */
  async #ask(path) {
    let answer = await this.#fetch(path);
    // A function may have another token by now.
    if (answer.status === 401 && typeof this.#token === "function") answer = await this.#fetch(path);
    if (!answer.ok) throw refusal(answer.status, `${this.#http}${path} answered ${answer.status}`, await answer.text());
    return answer;
  }

  /** @param {string} path */
  async #fetch(path) {
    const token = typeof this.#token === "function" ? tokenOf((await this.#token()) ?? null) : this.#token;
    const headers = token === null ? undefined : { Authorization: `Bearer ${token}` };
    try {
      return await fetch(this.#http + path, { headers, signal: this.#signal, cache: "no-store" });
    } catch (error) {
      if (this.#signal?.aborted) throw error;
      const hint = "is a recorder running there, and is the address right?";
      throw new ClientError(`${this.#http} cannot be reached: ${/** @type {Error} */ (error).message}`, hint);
    }
  }
}

/** @param {Record<string, any>} given @returns {URLSearchParams} */
function parameters({ sessions, types, ...rest }) {
  const query = new URLSearchParams();
  for (const session of list("sessions", sessions)) query.append("session", session);
  for (const type of list("types", types)) query.append("type", type);
  for (const [name, value] of Object.entries(rest)) {
    if (value !== undefined) query.append(name, value instanceof Date ? value.toISOString() : String(value));
  }
  return query;
}

/** @param {string} sessionId */
function pathOf(sessionId) {
  return `/api/sessions/${encodeURIComponent(sessionId)}`;
}

/**
 * Why it was not answered, in the server's own words where it gave some.
 *
 * @param {number} status
 * @param {string} what
 * @param {string} text The body: a problem document, or whatever stands between.
 * @returns {ClientError}
 */
export function refusal(status, what, text) {
  /** @type {any} */
  let problem = null;
  try {
    problem = JSON.parse(text);
  } catch {
    // Not a recorder's answer: its beginning says best what it is.
  }
  const said = problem?.detail ?? problem?.title;
  const message = said === undefined ? `${what}: ${text.slice(0, 300)}` : `${what}: ${said}`;
  const error = status === 401 ? new TokenRefused(message) : new ClientError(message, problem?.hint ?? undefined);
  error.code = problem?.code;
  return error;
}
