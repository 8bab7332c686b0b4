/**
 * The mark in the head that shows how fresh the data is: live, behind by n, stale for t, disconnected and retrying in s.
 *
 * It is drawn on a timer, because it has to report silence. A screen reader is told when the kind changes, not each second.
 */

import { announce, el, fill, say } from "./dom.js";
import { count, duration } from "./format.js";

const TICK_MS = 500;

/** @typedef {{kind: string, text: string, short: string}} Told */

/** The mark in the page's head. */
export class FreshnessMark {
  /**
   * @param {HTMLElement} parent
   * @param {() => import("../client.js").Status | null} status
   * @param {() => void} retry Connects at once.
   */
  constructor(parent, status, retry) {
    this.parent = parent;
    this.status = status;
    this.kind = ""; // as told last
    this.ended = ""; // why the subscription has ended, in words
    this.text = el("span", {});
    this.button = el("button", { class: "quiet", type: "button", hidden: true, on: { click: retry } }, "Retry now");
    fill(parent, el("span", { class: "light", "aria-hidden": true }), this.text, this.button);
    this.draw();
    setInterval(() => this.draw(), TICK_MS);
  }

  /** @param {string} why Why the subscription has ended; "" where it runs again. */
  end(why) {
    this.ended = why;
    this.draw();
  }

  draw() {
    const { kind, text, short } = this.ended
      ? { kind: "ended", text: this.ended, short: "ended" }
      : told(this.status());
    say(this.text, text);
    this.button.hidden = kind !== "disconnected" && kind !== "stale";
    if (kind === this.kind) return;
    if (this.kind) announce(short);
    this.kind = kind;
    this.parent.dataset.kind = kind;
  }
}

/**
 * Describe a status in words.
 * @param {import("../client.js").Status | null} status
 * @returns {Told}
 */
export function told(status) {
  if (!status) return { kind: "starting", text: "connecting", short: "connecting" };
  switch (status.kind) {
    case "live":
      return { kind: "live", text: "live", short: "live" };
    case "behind":
      return { kind: "behind", text: status.behind ? `behind by ${count(status.behind)}` : "catching up", short: "behind" };
    case "stale":
      return { kind: "stale", text: `stale for ${duration(status.staleSeconds * 1000)}`, short: "stale" };
    default: {
      const seconds = status.retrySeconds === null ? 0 : Math.ceil(status.retrySeconds);
      const text = seconds > 0 ? `disconnected, retrying in ${seconds} s` : "disconnected, retrying";
      return { kind: "disconnected", text, short: "disconnected" };
    }
  }
}
