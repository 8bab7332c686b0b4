/** The view "Integrity": whether the recorder records, what is on disk, what was pruned, and the hash chain. */

import { el, fill } from "./dom.js";
import { ago, clock, count, duration, several, size, visible } from "./format.js";
import { lossInWords } from "./recording.js";
import { Verify } from "./verify.js";

/** @typedef {import("./session.js").World} World */

const TICK_MS = 1000;
const JOBS = 12;

/** The view; made when it is shown, closed when another one is. */
export class IntegrityView {
  /** @param {World} world */
  constructor({ api, source, go }) {
    this.api = api;
    this.source = source;
    this.go = go;
    /** @type {any} */
    this.stats = null; // the last figures of the recorder
    /** @type {any[]} */
    this.jobs = []; // the last runs of jobs
    this.toldJobs = ""; // as they are drawn
    this.problem = ""; // why there are no figures, in words
    this.asking = false; // whether figures were requested
    this.again = false; // whether something has changed since
    this.abort = new AbortController(); // ends the requests of this view
    this.headline = el("div", { class: "headline" });
    this.disk = el("section", { class: "card disk", "aria-labelledby": "disk-head" });
    this.kept = el("section", { class: "card kept", "aria-labelledby": "kept-head" });
    this.runs = el("section", { class: "card runs wide", "aria-labelledby": "runs-head" });
    this.verify = new Verify(api, source, this.abort.signal);
    this.element = el(
      "div",
      { class: "integrity" },
      el("h1", { class: "unseen" }, "Integrity"),
      this.headline,
      el("div", { class: "integrity-grid" }, this.verify.element, this.disk, this.kept, this.runs),
    );
    this.unlisten = source.listen({
      onFigures: () => void this.ask(),
      onFresh: () => void this.ask(),
      onDeltas: () => this.drawDisk(),
    });
    this.timer = setInterval(() => this.draw(), TICK_MS);
    void this.ask();
  }

  /** End the requests, timers and listeners of the view. */
  close() {
    this.unlisten();
    clearInterval(this.timer);
    this.abort.abort();
  }

  /** @returns {boolean} */
  onKey() {
    return false;
  }

  /** Read the figures, when the recorder has reported a change; once more where there was another one meanwhile. */
  async ask() {
    this.again = this.asking;
    if (this.asking) return;
    this.asking = true;
    try {
      await this.read();
      this.problem = "";
    } catch (error) {
      this.problem = /** @type {Error} */ (error).message;
    } finally {
      this.asking = false;
    }
    if (this.abort.signal.aborted) return;
    this.draw();
    if (this.again) void this.ask();
  }

  async read() {
    const stats = await this.api.json("api/stats", this.abort.signal);
    // Jobs concern the recording as a whole, which a token for some sessions may not read.
    const mayAsk = stats.enabled && !this.source.figures.scoped;
    const jobs = mayAsk ? (await this.api.json(`api/jobs?limit=${JOBS}`, this.abort.signal)).jobs : [];
    this.stats = stats;
    this.jobs = jobs;
  }

  draw() {
    const parts = [this.disk, this.kept, this.runs];
    this.drawHeadline();
    // It is there from the beginning and stays in its place: a button that moves under the pointer is not pressed.
    this.verify.element.hidden = this.stats?.enabled === false;
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
      ? ["bad", "Not available", this.problem]
      : !this.stats
        ? ["", "Loading …", "Reading the figures of the recorder."]
        : !this.stats.enabled || !recording
          ? ["bad", "Not recording", "Deltas are sent to subscribers and are not stored. To record, start the recorder with: recorder serve --persist."]
          : failing !== null
            ? ["bad", "Recording in memory only: snapshots fail", failing]
            : ["good", "Recording", lossInWords(durability, lossWindowMs ?? this.stats.lossWindowMs)];
    this.headline.dataset.kind = kind;
    if (this.headline.dataset.text === title + text) return;
    this.headline.dataset.text = title + text;
    fill(this.headline, el("h2", {}, title), text && el("p", {}, text));
  }

  drawDisk() {
    if (!this.stats?.enabled) return;
    const { head, durable: heard, heardAt } = this.source.figures;
    // Figures of another epoch say nothing about this one.
    const durable = Math.max(heard ?? 0, this.stats.epoch === this.source.figures.epoch ? this.stats.durable : 0);
    const tail = Math.max(0, head - durable);
    const first = Math.min(this.stats.oldest, durable + 1);
    const safe = Math.max(0, durable - first + 1);
    // One delta of a million must be visible, too: below a tenth the share is not to scale.
    const share = tail === 0 ? 0 : safe === 0 ? 100 : Math.min(70, Math.max(10, (100 * tail) / (safe + tail)));
    const now = Date.now();
    fill(
      this.disk,
      el("h2", { id: "disk-head" }, "Durability"),
      el(
        "div",
        { class: "coverage", "aria-hidden": true },
        share < 100 && el("div", { class: "coverage-safe", style: { "flex-basis": `${100 - share}%` } }),
        share > 0 && el("div", { class: "coverage-tail", style: { "flex-basis": `${share}%` } }),
      ),
      el(
        "dl",
        { class: "figures" },
        figure("On disk", durable ? `up to seq ${count(durable)}` : "nothing yet", "safe"),
        figure("In memory only", tail ? several(tail, "delta") : "nothing", "tail"),
        figure("Head", `seq ${count(head)}`),
        figure("Updated", heardAt ? ago(new Date(heardAt).toISOString(), now) : ""),
      ),
      tail > 0 && el("p", { class: "dim" }, "The hatched part is acknowledged and in memory only. A crash before the next snapshot loses it."),
    );
  }

  drawKept() {
    const { stats } = this;
    const now = Date.now();
    fill(
      this.kept,
      el("h2", { id: "kept-head" }, "Recorded data"),
      el(
        "dl",
        { class: "figures" },
        figure("Deltas", count(stats.deltaCount)),
        figure("Sessions", count(stats.sessionCount)),
        figure("First seq", stats.deltaCount ? count(stats.oldest) : "none"),
        figure("Epoch", visible(stats.epoch)),
        // Left out for a token for some sessions.
        stats.fileSize !== undefined && figure("File", stats.fileSize === null ? "none yet" : size(stats.fileSize)),
        figure("Last snapshot", stats.lastSnapshotAt ? ago(stats.lastSnapshotAt, now) : "none yet"),
        figure("Last prune", stats.lastPruneAt ? ago(stats.lastPruneAt, now) : "none yet"),
        stats.lineageBreaks !== undefined && figure("Gaps since start", count(stats.lineageBreaks), stats.lineageBreaks ? "broken" : ""),
      ),
      stats.dbPath !== undefined && el("p", { class: "dim path" }, visible(stats.dbPath)),
    );
  }

  drawRuns() {
    // Drawn only after a change: the table can have the focus, and would lose it.
    const told = JSON.stringify(this.jobs);
    if (told === this.toldJobs) return;
    this.toldJobs = told;
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
            { class: "scroll", tabindex: 0, role: "region", "aria-label": "Last snapshots and prunes" },
            el(
              "table",
              {},
              el("thead", {}, el("tr", {}, ...["Job", "Started", "Duration", "Result"].map((name) => el("th", { scope: "col" }, name)))),
              el("tbody", {}, ...rows),
            ),
          )
        : el("p", { class: "dim" }, "None yet. A snapshot runs after a change, at most once per interval."),
    );
  }
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
