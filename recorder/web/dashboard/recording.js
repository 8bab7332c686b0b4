/**
 * The mark in the page's head that tells whether anything is recorded, and how: part of every view.
 *
 * It follows what the server says at each connection and with each heartbeat, so it needs no request of its own.
 */

import { announce, el, fill } from "./dom.js";
import { duration } from "./format.js";

const TICK_MS = 1000;
/** So many intervals without a snapshot are a fault, and not a snapshot that takes its time. */
const LATE_INTERVALS = 3;
const LATE_MS = 15_000;

/** @typedef {import("./source.js").Figures} Figures */
/** @typedef {{kind: "unknown" | "on" | "late" | "off", text: string, more: string, title: string}} Told */

/** The mark. */
export class RecordingMark {
  /**
   * @param {HTMLElement} parent
   * @param {() => Figures} figures
   */
  constructor(parent, figures) {
    this.parent = parent;
    this.figures = figures;
    this.kind = ""; // as told last
    this.text = ""; // as told last
    this.draw();
    setInterval(() => this.draw(), TICK_MS);
  }

  /** Show what the server has said last. */
  draw() {
    const { kind, text, more, title } = recordingInWords(this.figures(), Date.now());
    this.parent.hidden = kind === "unknown";
    if (text + more === this.text) return;
    this.text = text + more;
    this.parent.dataset.kind = kind;
    this.parent.title = title;
    fill(this.parent, text, more && el("span", { class: "where-wide" }, ` · ${more}`));
    if (kind !== this.kind && (kind === "off" || kind === "late")) announce(text);
    this.kind = kind;
  }
}

/**
 * Say whether anything is recorded, and how durable it is.
 * @param {Figures} figures
 * @param {number} now Milliseconds since the epoch.
 * @returns {Told} `unknown` before the server has said anything.
 */
export function recordingInWords(figures, now) {
  const { recording, durability, lossWindowMs, lateSince } = figures;
  if (!figures.epoch) return { kind: "unknown", text: "", more: "", title: "" };
  if (!recording) {
    return { kind: "off", text: "Not recording", more: "", title: "Deltas are sent to subscribers and are not stored." };
  }
  const late = lateSince === null ? 0 : now - lateSince;
  if (late > Math.max(LATE_MS, LATE_INTERVALS * (lossWindowMs ?? 0))) {
    return {
      kind: "late",
      text: `Not on disk for ${duration(late)}`,
      more: "",
      title: "Deltas are in memory, and nothing was written to disk. The page Integrity shows the error.",
    };
  }
  const title = lossInWords(durability, lossWindowMs ?? 0);
  return { kind: "on", text: "Recording", more: durability, title };
}

/**
 * Say what a crash can lose.
 * @param {string} durability
 * @param {number} windowMs
 * @returns {string}
 */
export function lossInWords(durability, windowMs) {
  if (durability === "commit" || windowMs === 0) return "Each delta is on disk before it is acknowledged. A crash loses nothing.";
  return `A snapshot is written to disk every ${duration(windowMs)}. A crash can lose the deltas acknowledged since the last snapshot.`;
}
