/**
 * How fresh what is shown is, always in sight: live, behind by n, stale for t, disconnected and retrying in s.
 *
 * Ticks by itself, since silence is what it has to tell of. It is read aloud when its kind changes, not when a second
 * has passed.
 */

import { announce, el, fill, say } from "./dom.js";
import { count, duration } from "./format.js";

const TICK_MS = 500;

/** @typedef {{kind: string, text: string, short: string}} Told */

/** The mark in the page's head. */
export class FreshnessMark {
  /**
   * @param {HTMLElement} parent
   * @param {() => import("/client.js").Status | null} status
   * @param {() => void} retry Tries at once.
   */
  constructor(parent, status, retry) {
    this.parent = parent;
    this.status = status;
    this.kind = ""; // as told last
    this.ended = ""; // why there will be no more, in words
    this.text = el("span", {});
    this.button = el("button", { class: "quiet", type: "button", hidden: true, on: { click: retry } }, "Retry now");
    fill(parent, el("span", { class: "light", "aria-hidden": true }), this.text, this.button);
    this.draw();
    setInterval(() => this.draw(), TICK_MS);
  }

  /** @param {string} why It is over for good; "" takes that back. */
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
 * A status in words.
 * @param {import("/client.js").Status | null} status
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
