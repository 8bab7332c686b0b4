/** The hash chain, verified in this browser: the progress, and the first delta that is not as it was recorded. */

import { PROOFS, verify } from "../client.js";
import { BASE } from "./api.js";
import { announce, el, fill, say } from "./dom.js";
import { count, duration, rate, several, visible } from "./format.js";
import { readPage } from "./history.js";
import { sessionAddress } from "./router.js";

/** @typedef {Awaited<ReturnType<typeof verify>>} Report */

/** Why the client could not verify a delta, in words of this page. @type {Record<string, string>} */
const NOTES = {
  [PROOFS.CHAIN_OFF]: "without a hash: the chain was off",
  [PROOFS.START]: "not verified: the hash before it is not known",
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
    this.walk = null; // ends the verification that is running
    this.button = el("button", { type: "button", class: "primary", on: { click: () => void this.toggle() } }, "Verify the chain");
    this.progress = el("progress", { hidden: true, "aria-label": "Verified" });
    this.status = el("span", { class: "dim" });
    this.result = el("div", { class: "verdict", hidden: true });
    this.element = el(
      "section",
      { class: "card verify wide", "aria-labelledby": "verify-head" },
      el("h2", { id: "verify-head" }, "Hash chain"),
      el(
        "p",
        { class: "dim" },
        "Each delta has a hash of its content and of the hash before it. This browser computes all hashes again and compares them.",
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
    this.walk = new AbortController();
    this.result.hidden = true;
    this.progress.hidden = false;
    this.progress.removeAttribute("value");
    say(this.button, "Stop");
    try {
      await this.begin(this.walk.signal);
    } catch (error) {
      if (!this.signal.aborted) this.tell("unknown", `The deltas could not be read: ${/** @type {Error} */ (error).message}`);
    } finally {
      this.walk = null;
      this.progress.hidden = true;
      say(this.status, "");
      say(this.button, "Verify the chain");
    }
  }

  /**
   * Wait for the connection, since the server tells with it what the token may read; then verify.
   * @param {AbortSignal} stopped
   */
  async begin(stopped) {
    say(this.status, "Waiting for the connection …");
    await this.source.connected(AbortSignal.any([stopped, this.signal]));
    say(this.status, "");
    if (this.signal.aborted) return;
    if (stopped.aborted) this.tell("unknown", "Stopped before the connection was there. Nothing was verified.");
    else if (this.source.figures.scoped) {
      this.tell("unknown", "The chain covers all sessions. To verify it, use a token for all sessions.");
    } else await this.follow(stopped);
  }

  /** @param {AbortSignal} stopped */
  async follow(stopped) {
    const began = performance.now();
    const stats = await this.api.json("api/stats", this.signal);
    /** @type {Report | null} */
    let known = null;
    const onProgress = (/** @type {Report} */ report) => {
      known = report;
      this.advance(report, stats, (performance.now() - began) / 1000);
    };
    const signal = AbortSignal.any([stopped, this.signal]);
    try {
      const token = this.api.token ?? undefined;
      await this.conclude(await verify({ url: BASE, token, signal, onProgress }), performance.now() - began);
    } catch (error) {
      if (!stopped.aborted || this.signal.aborted) throw error;
      const last = /** @type {Report | null} */ (known)?.last ?? 0;
      this.tell("unknown", `Stopped at seq ${last}. No fault up to there.`);
    }
  }

  /** @param {Report} report @param {any} stats @param {number} seconds */
  advance(report, stats, seconds) {
    const total = Math.max(1, stats.recorded - stats.oldest + 1, report.checked);
    this.progress.max = total;
    this.progress.value = report.checked;
    say(this.status, `${count(report.checked)} of ${count(total)} · ${rate(report.checked / seconds)} per second`);
  }

  /** @param {Report} report @param {number} took */
  async conclude(report, took) {
    if (report.bad) {
      this.tell("bad", `The chain breaks at seq ${report.bad.seq}`, ...(await this.fault(report, report.bad)));
      return;
    }
    const notes = Object.entries(report.unproven).map(([reason, many]) => `${several(many, "delta")} ${NOTES[reason] ?? reason}.`);
    if (report.proven === 0) {
      this.tell("unknown", report.checked ? "No delta could be verified." : "Nothing is recorded yet.", ...notes.map(note));
      return;
    }
    const title = `${several(report.proven, "link")} verified, seq ${report.first} to ${report.last}`;
    const pruned = /** @type {number} */ (report.first) > 1 && "Older deltas were pruned. The chain continues from the hash in the receipt of the prune.";
    this.tell("good", title, note(`In ${duration(took)}.`), pruned && note(pruned), ...notes.map(note));
  }

  /**
   * Describe the fault, with a link to it.
   * @param {Report} report
   * @param {{seq: number, why: string}} bad
   * @returns {Promise<Node[]>}
   */
  async fault(report, bad) {
    const words = el("p", {}, `All deltas before it are as recorded (${several(report.proven, "link")}). The fault: ${bad.why}.`);
    const query = { after: bad.seq - 1, before: bad.seq + 1 };
    const { entries } = await readPage(this.api, "api/deltas", query, this.signal);
    if (!entries.length) return [words];
    const { session, seq } = entries[0];
    return [words, el("p", {}, el("a", { href: sessionAddress(session, seq) }, `Open session ${visible(session)} at seq ${seq}`))];
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
