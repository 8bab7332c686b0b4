/**
 * The subscription of the page: one for all sessions, whose events are passed on to the views.
 *
 * Deltas are passed on in batches, a few times a second, so that thousands of deltas a second cost the page a few
 * drawings. `onFresh` tells where the subscription begins: the history before it is to be read. After a `reset` it is
 * called again, because what is shown cannot be joined to what comes.
 */

import { subscribe } from "../client.js";
import { BASE } from "./api.js";

const BATCH_MS = 100;
/** A batch of this size is passed on at once, so that a burst is not held twice. */
const BATCH_MOST = 2000;

/** @typedef {import("./event-log.js").Entry} Entry */

/**
 * @typedef {object} Listener
 * @property {(entries: Entry[]) => void} [onDeltas]
 * @property {(place: {epoch: string, seq: number, reason: string}) => void} [onFresh] Deltas come from after this place
 *   on, and nothing before it is known; `reason` of a reset, or "".
 * @property {(erased: {session: string, through: number}) => void} [onErased]
 * @property {() => void} [onFigures] `head`, `durable`, … have changed.
 */

/** What the server last reported of itself. */
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
    this.heardAt = 0; // when `durable` was reported
    /** @type {number | null} */
    this.lateSince = null; // since when some delta is not on disk and `durable` has not moved; null where all is on disk
  }
}

/** The subscription and its listeners. */
export class Source {
  /**
   * @param {import("./api.js").Api} api
   * @param {(error: Error) => void} onEnd The subscription has ended, and does not reconnect.
   */
  constructor(api, onEnd) {
    this.api = api;
    this.onEnd = onEnd;
    this.figures = new Figures();
    /** @type {Set<Listener>} */
    this.listeners = new Set();
    /** @type {import("../client.js").Subscription | null} */
    this.subscription = null;
    /** @type {Entry[]} */
    this.batch = []; // received, and not passed on yet
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.timer = null; // until it is passed on
    /** @type {{epoch: string, seq: number, reason: string} | null} */
    this.began = null; // the place of the last `onFresh`
    this.reset = ""; // reason of a reset whose `live` is still to come
    this.generation = 0; // of the subscription; what an earlier one reports is dropped
  }

  /** Connect, for the first time or again. */
  start() {
    this.subscription?.close();
    this.flush();
    this.began = null;
    const mine = ++this.generation;
    this.subscription = subscribe({
      url: BASE,
      since: "latest",
      token: this.api.token ?? undefined,
      notices: true,
      onEvent: (event) => mine === this.generation && this.onEvent(event),
      onError: (error) => mine === this.generation && this.onEnd(error),
    });
  }

  /**
   * Add a listener; it is told at once where the subscription began, if it has.
   * @param {Listener} listener
   * @returns {() => void} Removes the listener.
   */
  listen(listener) {
    this.flush();
    this.listeners.add(listener);
    if (this.began) listener.onFresh?.({ ...this.began, seq: this.figures.head });
    return () => this.listeners.delete(listener);
  }

  /**
   * Wait until the server has greeted: from then on the figures are its own.
   * @param {AbortSignal} signal Ends the waiting.
   * @returns {Promise<void>}
   */
  connected(signal) {
    if (this.figures.epoch || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        unlisten();
        resolve();
      };
      const unlisten = this.listen({ onFigures: done });
      signal.addEventListener("abort", done, { once: true });
    });
  }

  /** Connect at once where there is no connection, else send a ping. */
  retry() {
    this.subscription?.retry();
  }

  /** @returns {import("../client.js").Status | null} How fresh the data is. */
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
    const durable = event.durable ?? null;
    const now = Date.now();
    if (durable === null || durable >= figures.head) figures.lateSince = null;
    else if (durable !== figures.durable || figures.lateSince === null) figures.lateSince = now;
    figures.durable = durable;
    figures.heardAt = now;
    if (event.event === "hello") {
      figures.recording = event.recording;
      figures.scoped = event.scoped === true;
      figures.durability = event.durability;
      figures.lossWindowMs = event.lossWindowMs;
    }
    for (const { onFigures } of this.listeners) onFigures?.();
  }
}
