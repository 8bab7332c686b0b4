/** The chain, verified in this browser on request: how far it is, and the first place that is not as it was recorded. */

import { ChainWalk } from "./chain.js";
import { announce, el, fill, say } from "./dom.js";
import { count, duration, rate, several, visible } from "./format.js";
import { readPage } from "./history.js";
import { sessionAddress } from "./router.js";

const PAGE = 500;

/** The card. */
export class Verify {
  /**
   * @param {import("./api.js").Api} api
   * @param {import("./source.js").Source} source
   * @param {AbortSignal} signal Ends what is asked.
   */
  constructor(api, source, signal) {
    this.api = api;
    this.source = source;
    this.signal = signal;
    this.running = false; // whether it walks
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
    if (this.running) {
      this.running = false;
      return;
    }
    if (this.source.figures.scoped) {
      this.tell("unknown", "The chain goes through all sessions: to follow it takes a token for all sessions.");
      return;
    }
    if (!globalThis.crypto?.subtle) {
      this.tell("unknown", "This browser computes hashes only for pages that came by https or from this machine.");
      return;
    }
    this.running = true;
    say(this.button, "Stop");
    this.result.hidden = true;
    this.progress.hidden = false;
    try {
      await this.walk();
    } catch (error) {
      if (!this.signal.aborted) this.tell("unknown", `It could not be read to the end: ${/** @type {Error} */ (error).message}`);
    } finally {
      this.running = false;
      this.progress.hidden = true;
      say(this.button, "Verify the chain");
    }
  }

  async walk() {
    const began = performance.now();
    const stats = await this.api.json("/api/stats", this.signal);
    const from = stats.oldest;
    const through = stats.recorded;
    const walk = new ChainWalk(from, await this.hashBefore(from));
    this.progress.max = Math.max(1, through - from + 1);
    while (this.running && walk.next <= through) {
      const asked = { after: walk.next - 1, before: through + 1, order: "asc", limit: PAGE };
      const { entries } = await readPage(this.api, "/api/deltas", asked, this.signal);
      if (!entries.length) throw new Error(`nothing follows seq ${walk.next - 1}, though the recorder is at ${through}; it may have been pruned meanwhile`);
      const good = await walk.add(entries);
      const done = walk.next - from;
      this.progress.value = done;
      const seconds = (performance.now() - began) / 1000;
      say(this.status, `${count(done)} of ${count(through - from + 1)} · ${rate(done / seconds)} a second`);
      if (!good) break;
    }
    this.conclude(walk, from, through, performance.now() - began);
  }

  /**
   * The hash that the first entry goes on from.
   * @param {number} from Its seq.
   * @returns {Promise<string | null>} Null where nobody knows.
   */
  async hashBefore(from) {
    if (from <= 1) return "0".repeat(64);
    const { prunes } = await this.api.json("/api/receipts", this.signal);
    const receipt = prunes.find((/** @type {any} */ prune) => prune.lastSeq === from - 1);
    return receipt?.lastHash ?? null;
  }

  /**
   * @param {ChainWalk} walk
   * @param {number} from
   * @param {number} through
   * @param {number} took
   */
  conclude(walk, from, through, took) {
    const { fault } = walk;
    say(this.status, "");
    if (fault) {
      this.tell(
        "bad",
        `The chain breaks at seq ${fault.seq}`,
        el("p", {}, `Everything before it holds (${several(walk.checked, "link")}). Here ${fault.text}.`),
        el("p", {}, el("a", { href: sessionAddress(fault.session, fault.seq) }, `Look at it: session ${visible(fault.session)}, seq ${fault.seq}`)),
      );
    } else if (walk.next <= through) {
      this.tell("unknown", `Stopped at seq ${walk.next - 1}. So far every link holds.`);
    } else if (walk.checked === 0) {
      this.tell("unknown", walk.unchained ? "The chain is off: no delta that is kept carries a hash." : "There is nothing to verify yet.");
    } else {
      const notes = [
        from > 1 && `It begins at seq ${from}; what was before was pruned, and the receipt of that says what to go on from.`,
        walk.unchained > 0 && `${several(walk.unchained, "delta")} without a hash: the chain was off for them.`,
        walk.erased > 0 && `${several(walk.erased, "delta")} by the digests that are left of erased content.`,
      ];
      this.tell(
        "good",
        `${several(walk.checked, "link")} verified, seq ${from} to ${through}`,
        el("p", { class: "dim" }, `In ${duration(took)}. The hash at the end: `, el("code", {}, walk.hash)),
        ...notes.map((note) => note && el("p", { class: "dim" }, note)),
      );
    }
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
