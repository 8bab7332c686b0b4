/** The chain, verified in this browser on request: how far it is, and the first place that is not as it was recorded. */

import { PROOFS, verify } from "/client.js";
import { announce, el, fill, say } from "./dom.js";
import { count, duration, rate, several, visible } from "./format.js";
import { readPage } from "./history.js";
import { sessionAddress } from "./router.js";

/** @typedef {Awaited<ReturnType<typeof verify>>} Report */

/** What the client says of a delta that it could not prove, in the words of this page. @type {Record<string, string>} */
const NOTES = {
  [PROOFS.CHAIN_OFF]: "without a hash: the chain was off for them",
  [PROOFS.START]: "taken as it stands: nothing says what the hash before it was",
};

/** The card. */
export class Verify {
  /**
   * @param {import("./api.js").Api} api
   * @param {import("./source.js").Source} source
   * @param {AbortSignal} signal The view is closed.
   */
  constructor(api, source, signal) {
    this.api = api;
    this.source = source;
    this.signal = signal;
    /** @type {AbortController | null} */
    this.walk = null; // ends the one that is under way
    this.button = el("button", { type: "button", class: "primary", on: { click: () => void this.toggle() } }, "Verify the chain");
    this.progress = el("progress", { hidden: true, "aria-label": "Verified" });
    this.status = el("span", { class: "dim" });
    this.result = el("div", { class: "verdict", hidden: true });
    this.element = el(
      "section",
      { class: "card verify wide", "aria-labelledby": "verify-head" },
      el("h2", { id: "verify-head" }, "The chain"),
      el(
        "p",
        { class: "dim" },
        "Every delta carries a hash over its content and the hash before it. This browser computes them anew, from the first that is kept to the last, and compares.",
      ),
      el("div", { class: "verify-bar" }, this.button, this.progress, this.status),
      this.result,
    );
  }

  async toggle() {
    if (this.walk) {
      this.walk.abort();
      return;
    }
    if (this.source.figures.scoped) {
      this.tell("unknown", "The chain goes through all sessions: to follow it takes a token for all sessions.");
      return;
    }
    this.walk = new AbortController();
    this.result.hidden = true;
    this.progress.hidden = false;
    say(this.button, "Stop");
    try {
      await this.follow(this.walk.signal);
    } catch (error) {
      if (!this.signal.aborted) this.tell("unknown", `It could not be read: ${/** @type {Error} */ (error).message}`);
    } finally {
      this.walk = null;
      this.progress.hidden = true;
      say(this.status, "");
      say(this.button, "Verify the chain");
    }
  }

  /** @param {AbortSignal} stopped */
  async follow(stopped) {
    const began = performance.now();
    const stats = await this.api.json("/api/stats", this.signal);
    /** @type {Report | null} */
    let known = null;
    const onProgress = (/** @type {Report} */ report) => {
      known = report;
      this.advance(report, stats, (performance.now() - began) / 1000);
    };
    const signal = AbortSignal.any([stopped, this.signal]);
    try {
      const token = this.api.token ?? undefined;
      await this.conclude(await verify({ url: location.origin, token, signal, onProgress }), performance.now() - began);
    } catch (error) {
      if (!stopped.aborted || this.signal.aborted) throw error;
      const last = /** @type {Report | null} */ (known)?.last ?? 0;
      this.tell("unknown", `Stopped at seq ${last}. So far nothing is wrong.`);
    }
  }

  /** @param {Report} report @param {any} stats @param {number} seconds */
  advance(report, stats, seconds) {
    const total = Math.max(1, stats.recorded - stats.oldest + 1, report.checked);
    this.progress.max = total;
    this.progress.value = report.checked;
    say(this.status, `${count(report.checked)} of ${count(total)} · ${rate(report.checked / seconds)} a second`);
  }

  /** @param {Report} report @param {number} took */
  async conclude(report, took) {
    if (report.bad) {
      this.tell("bad", `The chain breaks at seq ${report.bad.seq}`, ...(await this.fault(report, report.bad)));
      return;
    }
    const notes = Object.entries(report.unproven).map(([reason, many]) => `${several(many, "delta")} ${NOTES[reason] ?? reason}.`);
    if (report.proven === 0) {
      this.tell("unknown", report.checked ? "Nothing of it can be verified." : "There is nothing to verify yet.", ...notes.map(note));
      return;
    }
    const title = `${several(report.proven, "link")} verified, seq ${report.first} to ${report.last}`;
    const pruned = /** @type {number} */ (report.first) > 1 && "What was before was pruned; its receipt says what to go on from.";
    this.tell("good", title, note(`In ${duration(took)}.`), pruned && note(pruned), ...notes.map(note));
  }

  /**
   * What is wrong, and the way there.
   * @param {Report} report
   * @param {{seq: number, why: string}} bad
   * @returns {Promise<Node[]>}
   */
  async fault(report, bad) {
    const words = el("p", {}, `Everything before it holds (${several(report.proven, "link")}). What is wrong: ${bad.why}.`);
    const query = { after: bad.seq - 1, before: bad.seq + 1 };
    const { entries } = await readPage(this.api, "/api/deltas", query, this.signal);
    if (!entries.length) return [words];
    const { session, seq } = entries[0];
    return [words, el("p", {}, el("a", { href: sessionAddress(session, seq) }, `Look at it: session ${visible(session)}, seq ${seq}`))];
  }

  /**
   * @param {"good" | "bad" | "unknown"} kind
   * @param {string} title
   * @param {...import("./dom.js").Child} more
   */
  tell(kind, title, ...more) {
    this.result.hidden = false;
    this.result.dataset.kind = kind;
    fill(this.result, el("h3", {}, title), ...more);
    announce(title);
  }
}

/** @param {string} text @returns {HTMLElement} */
function note(text) {
  return el("p", { class: "dim" }, text);
}
