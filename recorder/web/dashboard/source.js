/**
 * What comes from the recorder, live: one subscription to everything, and what the views hear of it.
 *
 * Deltas are handed on in batches, a few times a second, so that thousands a second cost the page a few drawings. From
 * the place where the subscription begins, what was before is asked for once (`onFresh`); after a `reset` again, since
 * what was shown cannot be joined to what comes.
 */

import { subscribe } from "/client.js";

const BATCH_MS = 100;
/** Batches are handed on at once when they grow past this, so that a burst is not held twice. */
const BATCH_MOST = 2000;

/** @typedef {import("./feed-log.js").Entry} Entry */

/**
 * @typedef {object} Listener
 * @property {(entries: Entry[]) => void} [onDeltas]
 * @property {(place: {epoch: string, seq: number, reason: string}) => void} [onFresh] Deltas come from behind here on, and
 *   nothing before is known; `reason` of a reset, or "".
 * @property {(erased: {session: string, through: number}) => void} [onErased]
 * @property {() => void} [onFigures] `head`, `durable`, … have changed.
 */

/** What the server last said of itself. */
export class Figures {
  constructor() {
    this.epoch = "";
    this.head = 0;
    /** @type {number | null} */
    this.durable = null; // null where nothing is recorded
    this.recording = true;
    this.durability = "snapshot";
    /** @type {number | null} */
    this.lossWindowMs = null;
    this.scoped = false; // whether the token is for some sessions only
    this.heardAt = 0; // when `durable` was told
  }
}

/** The subscription, and who listens to it. */
export class Source {
  /**
   * @param {import("./api.js").Api} api
   * @param {(error: Error) => void} onEnd It is over for good.
   */
  constructor(api, onEnd) {
    this.api = api;
    this.onEnd = onEnd;
    this.figures = new Figures();
    /** @type {Set<Listener>} */
    this.listeners = new Set();
    /** @type {import("/client.js").Subscription | null} */
    this.subscription = null;
    /** @type {Entry[]} */
    this.batch = []; // came, and not handed on yet
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.timer = null; // until it is
    /** @type {{epoch: string, seq: number, reason: string} | null} */
    this.began = null; // the place of the last `onFresh`
    this.reset = ""; // reason of a reset whose `live` is still to come
  }

  /** Connect; again, after the end. */
  start() {
    this.subscription?.close();
    this.began = null;
    this.subscription = subscribe({
      url: location.origin,
      since: "latest",
      token: this.api.token ?? undefined,
      notices: true,
      onEvent: (event) => this.onEvent(event),
      onError: (error) => this.onEnd(error),
    });
  }

  /**
   * Hear what comes; at once where it began, if it has.
   * @param {Listener} listener
   * @returns {() => void} Ends it.
   */
  listen(listener) {
    this.flush();
    this.listeners.add(listener);
    if (this.began) listener.onFresh?.({ ...this.began, seq: this.figures.head });
    return () => this.listeners.delete(listener);
  }

  /** Try at once where there is no connection; else ask whether the server is there. */
  retry() {
    this.subscription?.retry();
  }

  /** @returns {import("/client.js").Status | null} How fresh what is shown is. */
  get status() {
    return this.subscription?.status ?? null;
  }

  /** @param {any} event */
  onEvent(event) {
    switch (event.event) {
      case "delta":
        this.onDelta(event);
        break;
      case "hello":
      case "heartbeat":
        this.onFigures(event);
        break;
      case "reset":
        this.reset = event.reason;
        break;
      case "live":
        this.onLive(event);
        break;
      case "erased":
        this.flush();
        for (const { onErased } of this.listeners) onErased?.({ session: event.sessionId, through: event.through });
        break;
    }
  }

  /** @param {any} event */
  onDelta(event) {
    this.figures.head = event.seq;
    this.batch.push({
      seq: event.seq,
      at: event.recordedAt,
      happened: event.delta.timestamp,
      type: event.delta.type,
      session: event.delta.sessionId,
      broken: event.lineage === "broken",
      erased: event.erased !== null,
      text: event.text,
    });
    if (this.batch.length >= BATCH_MOST) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), BATCH_MS);
  }

  flush() {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (!this.batch.length) return;
    const entries = this.batch;
    this.batch = [];
    for (const { onDeltas } of this.listeners) onDeltas?.(entries);
  }

  /** @param {any} event */
  onLive(event) {
    this.flush();
    this.figures.head = Math.max(this.reset ? 0 : this.figures.head, event.seq);
    if (this.began && !this.reset) return;
    this.began = { epoch: event.epoch, seq: event.seq, reason: this.reset };
    this.reset = "";
    for (const { onFresh } of this.listeners) onFresh?.(this.began);
  }

  /** @param {any} event */
  onFigures(event) {
    const figures = this.figures;
    figures.head = event.epoch === figures.epoch ? Math.max(figures.head, event.head) : event.head;
    figures.epoch = event.epoch;
    figures.durable = event.durable ?? null;
    figures.heardAt = Date.now();
    if (event.event === "hello") {
      figures.recording = event.recording;
      figures.scoped = event.scoped === true;
      figures.durability = event.durability;
      figures.lossWindowMs = event.lossWindowMs;
    }
    for (const { onFigures } of this.listeners) onFigures?.();
  }
}
