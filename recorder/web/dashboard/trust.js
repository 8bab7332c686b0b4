/** The view "Trust": what is recorded, what of it is on disk, what was removed, and whether the chain holds. */

import { el, fill } from "./dom.js";
import { ago, clock, count, duration, several, size, visible } from "./format.js";
import { Verify } from "./verify.js";

/** @typedef {import("./session.js").World} World */

const TICK_MS = 1000;
const JOBS = 12;

/** The view; made when it is shown, closed when another one is. */
export class TrustView {
  /** @param {World} world */
  constructor({ api, source, go }) {
    this.api = api;
    this.source = source;
    this.go = go;
    /** @type {any} */
    this.stats = null; // the recorder's figures, as of the last word from it
    /** @type {any[]} */
    this.jobs = []; // the last runs
    this.problem = ""; // why there are none, in words
    this.asking = false; // whether figures are on their way
    this.abort = new AbortController(); // ends what is asked for this view
    this.headline = el("div", { class: "headline" });
    this.disk = el("section", { class: "card disk", "aria-labelledby": "disk-head" });
    this.kept = el("section", { class: "card kept", "aria-labelledby": "kept-head" });
    this.runs = el("section", { class: "card runs wide", "aria-labelledby": "runs-head" });
    this.verify = new Verify(api, source, this.abort.signal);
    this.element = el(
      "div",
      { class: "trust" },
      el("h1", { class: "unseen" }, "Trust"),
      this.headline,
      el("div", { class: "trust-grid" }, this.disk, this.kept, this.verify.element, this.runs),
    );
    this.unlisten = source.listen({
      onFigures: () => void this.ask(),
      onFresh: () => void this.ask(),
      onDeltas: () => this.drawDisk(),
    });
    this.timer = setInterval(() => this.draw(), TICK_MS);
    void this.ask();
  }

  /** Nothing of it is shown any more. */
  close() {
    this.unlisten();
    clearInterval(this.timer);
    this.abort.abort();
  }

  /** @returns {boolean} */
  onKey() {
    return false;
  }

  /** Read the figures: when the recorder has said that something has changed. */
  async ask() {
    if (this.asking) return;
    this.asking = true;
    try {
      this.stats = await this.api.json("/api/stats", this.abort.signal);
      // They tell of the recording as a whole, which a token for some sessions may not see.
      const mayAsk = this.stats.enabled && !this.source.figures.scoped;
      this.jobs = mayAsk ? (await this.api.json(`/api/jobs?limit=${JOBS}`, this.abort.signal)).jobs : [];
      this.problem = "";
    } catch (error) {
      if (this.abort.signal.aborted) return;
      this.problem = /** @type {Error} */ (error).message;
    } finally {
      this.asking = false;
    }
    this.draw();
  }

  draw() {
    const parts = [this.disk, this.kept, this.verify.element, this.runs];
    this.drawHeadline();
    if (!this.stats?.enabled) {
      for (const part of parts) part.hidden = true;
      return;
    }
    for (const part of parts) part.hidden = false;
    this.runs.hidden = this.source.figures.scoped;
    this.drawDisk();
    this.drawKept();
    this.drawRuns();
  }

  drawHeadline() {
    const { recording, durability, lossWindowMs } = this.source.figures;
    const failing = this.stats?.lastSnapshotError ?? null;
    const [kind, title, text] = this.problem
      ? ["bad", "No figures", this.problem]
      : !this.stats
        ? ["", "Asking the recorder …", ""]
        : !this.stats.enabled || !recording
          ? ["bad", "Not recording", "Deltas are passed on and not kept. PERSIST=1, or scripts/start, switches recording on."]
          : failing !== null
            ? ["bad", "Recording to memory only: snapshots fail", failing]
            : ["good", "Recording", lossInWords(durability, lossWindowMs ?? this.stats.lossWindowMs)];
    this.headline.dataset.kind = kind;
    if (this.headline.dataset.text === title + text) return;
    this.headline.dataset.text = title + text;
    fill(this.headline, el("h2", {}, title), text && el("p", {}, text));
  }

  drawDisk() {
    if (!this.stats?.enabled) return;
    const { head, durable: heard, heardAt } = this.source.figures;
    const durable = Math.max(heard ?? 0, this.stats.durable);
    const tail = Math.max(0, head - durable);
    const first = Math.min(this.stats.oldest, durable + 1);
    const safe = Math.max(0, durable - first + 1);
    // A tail of one in a million is still to be seen, so its share is not to scale below a tenth.
    const share = tail === 0 ? 0 : safe === 0 ? 100 : Math.min(70, Math.max(10, (100 * tail) / (safe + tail)));
    const now = Date.now();
    fill(
      this.disk,
      el("h2", { id: "disk-head" }, "On disk, and not yet"),
      el(
        "div",
        { class: "tape", "aria-hidden": true },
        share < 100 && el("div", { class: "tape-safe", style: { "flex-basis": `${100 - share}%` } }),
        share > 0 && el("div", { class: "tape-tail", style: { "flex-basis": `${share}%` } }),
      ),
      el(
        "dl",
        { class: "figures" },
        figure("On disk", durable ? `up to seq ${count(durable)}` : "nothing yet", "safe"),
        figure("In memory only", tail ? several(tail, "delta") : "nothing", "tail"),
        figure("Head", `seq ${count(head)}`),
        figure("As of", heardAt ? ago(new Date(heardAt).toISOString(), now) : ""),
      ),
      tail > 0 && el("p", { class: "dim" }, "What is hatched is acknowledged and in memory; a crash before the next snapshot loses it."),
    );
  }

  drawKept() {
    const { stats } = this;
    const now = Date.now();
    fill(
      this.kept,
      el("h2", { id: "kept-head" }, "What is kept"),
      el(
        "dl",
        { class: "figures" },
        figure("Deltas", count(stats.deltaCount)),
        figure("Sessions", count(stats.sessionCount)),
        figure("From seq", stats.deltaCount ? count(stats.oldest) : "none"),
        figure("Epoch", visible(stats.epoch)),
        // Who has a token for some sessions is not told of the whole.
        stats.fileSize !== undefined && figure("File", stats.fileSize === null ? "none yet" : size(stats.fileSize)),
        figure("Last snapshot", stats.lastSnapshotAt ? ago(stats.lastSnapshotAt, now) : "none yet"),
        figure("Last prune", stats.lastPruneAt ? ago(stats.lastPruneAt, now) : "none yet"),
        stats.lineageBreaks !== undefined && figure("Lineage breaks since start", count(stats.lineageBreaks), stats.lineageBreaks ? "broken" : ""),
      ),
      stats.dbPath !== undefined && el("p", { class: "dim path" }, visible(stats.dbPath)),
    );
  }

  drawRuns() {
    const now = Date.now();
    const rows = this.jobs.map((run) =>
      el(
        "tr",
        { class: run.outcome },
        el("td", {}, visible(run.name)),
        el("td", { title: run.startedAt }, clock(run.startedAt, now).replace(/\.\d+$/, "")),
        el("td", {}, duration(run.durationMs)),
        el("td", {}, run.outcome === "ok" ? countsInWords(run.counts) : visible(run.error ?? "failed")),
      ),
    );
    fill(
      this.runs,
      el("h2", { id: "runs-head" }, "Snapshots and prunes"),
      rows.length
        ? el(
            "div",
            { class: "scroll", tabindex: 0, role: "region", "aria-label": "What ran last" },
            el(
              "table",
              {},
              el("thead", {}, el("tr", {}, ...["Run", "Began", "Took", "Did"].map((name) => el("th", { scope: "col" }, name)))),
              el("tbody", {}, ...rows),
            ),
          )
        : el("p", { class: "dim" }, "None yet. A snapshot runs when something has changed, at most once in its interval."),
    );
  }
}

/**
 * What a crash can cost, in words.
 * @param {string} durability
 * @param {number} windowMs
 * @returns {string}
 */
function lossInWords(durability, windowMs) {
  if (durability === "commit" || windowMs === 0) return "Every delta is on disk before it is acknowledged: a crash loses nothing.";
  return `A snapshot brings it to disk every ${duration(windowMs)}: that much of what was acknowledged a crash can lose.`;
}

/** @param {string} name @param {string} value @param {string} [kind] */
function figure(name, value, kind = "") {
  return el("div", { class: `figure ${kind}` }, el("dt", {}, name), el("dd", {}, value));
}

/** @param {Record<string, number>} counts */
function countsInWords(counts) {
  return Object.entries(counts)
    .map(([name, value]) => `${visible(name)} ${name === "size" ? size(value) : count(value)}`)
    .join(", ");
}
