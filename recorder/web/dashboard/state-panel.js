/**
 * The state as of one delta, in three ways: what changed there, the whole state, and the texts as they were sent.
 *
 * Says what stands out: that `before` is not what was recorded last, that content was erased, that a state is missing.
 */

import { el, fill, say } from "./dom.js";
import { changes, diff } from "./diff.js";
import { fieldTree } from "./fields.js";
import { clock, clip, several, size, visible } from "./format.js";
import { parse, raw } from "./json.js";
import { partsOf } from "./summary.js";

/** @typedef {import("./feed-log.js").Entry} Entry */
/** @typedef {import("./json.js").Json} Json */
/** @typedef {import("./summary.js").Parts} Parts */

const WAYS = ["Changes", "Whole state", "As sent"];
const MOST_RAW = 300_000; // characters of a text that are shown as sent

/** The panel. */
export class StatePanel {
  /** @param {(path: string) => void} onAsk Who changed the field of this path? */
  constructor(onAsk) {
    this.onAsk = onAsk;
    this.way = 0; // which of `WAYS`
    this.recorded = false; // of a broken lineage: whether it is compared with what was recorded, not with what was sent
    /** @type {Entry | null} */
    this.entry = null;
    /** @type {Entry | null} */
    this.previous = null; // the one before it, if it is known
    this.cache = new WeakMap(); // parts by entry
    this.head = el("div", { class: "state-head dim" });
    this.notes = el("div", { class: "notes" });
    this.body = el("div", { class: "state-body", tabindex: 0, role: "region", "aria-label": "The state" });
    this.tabs = WAYS.map((name, index) =>
      el("button", { type: "button", "aria-pressed": "false", on: { click: () => this.choose(index) } }, name),
    );
    this.tally = el("span", { class: "dim tally" });
    this.element = el(
      "div",
      { class: "state-panel" },
      el("div", { class: "state-bar" }, el("div", { class: "tabs", role: "group", "aria-label": "Shown as" }, ...this.tabs), this.tally),
      this.head,
      this.notes,
      this.body,
    );
  }

  /**
   * Show the state as of an entry.
   * @param {Entry} entry
   * @param {Entry | null} previous The one before it in the session, if it is known.
   */
  show(entry, previous) {
    if (entry === this.entry && previous === this.previous) return;
    if (entry !== this.entry) this.recorded = false;
    this.entry = entry;
    this.previous = previous;
    this.draw();
  }

  /** @param {number} way */
  choose(way) {
    this.way = way;
    this.draw();
  }

  /**
   * The parts of an entry.
   * @param {Entry} entry
   * @returns {Parts}
   */
  partsOf(entry) {
    let parts = this.cache.get(entry);
    if (!parts) {
      parts = partsOf(parse(entry.text));
      this.cache.set(entry, parts);
    }
    return parts;
  }

  /** @returns {string} The state's text, exactly as it was sent; `null` where there is none. */
  stateText() {
    const after = this.entry && this.partsOf(this.entry).after;
    return after ? raw(after) : "null";
  }

  draw() {
    this.tabs.forEach((tab, index) => tab.setAttribute("aria-pressed", String(index === this.way)));
    if (!this.entry) return;
    const parts = this.partsOf(this.entry);
    this.drawHead(parts);
    const before = this.recorded && this.previous ? this.partsOf(this.previous).after : parts.before;
    const found = diff(before, parts.after);
    const changed = changes(found, 1000).length;
    say(this.tally, parts.erased ? "" : changed >= 1000 ? "1,000 changes or more" : several(changed, "change"));
    fill(this.notes, ...this.notesOn(parts));
    if (parts.erased) fill(this.body, this.erasedNote(parts));
    else if (this.way === 2) fill(this.body, textOf("before", before), textOf("after", parts.after));
    else if (this.way === 1 && !parts.after) fill(this.body, el("p", { class: "empty" }, "Deleted here: there is no state any more."));
    else if (this.way === 0 && changed === 0) fill(this.body, el("p", { class: "empty" }, "Nothing changed: the state after is the one before."));
    else fill(this.body, fieldTree(found, { onlyChanged: this.way === 0, onAsk: this.onAsk }));
    this.body.scrollTop = 0;
  }

  /** @param {Parts} parts */
  drawHead(parts) {
    const now = Date.now();
    const apart = Math.abs(Date.parse(parts.recordedAt) - Date.parse(parts.timestamp)) >= 1000;
    fill(
      this.head,
      el("span", { class: `type ${parts.type}` }, parts.type),
      el("time", { datetime: parts.timestamp, title: parts.timestamp }, clock(parts.timestamp, now)),
      apart && el("span", { title: parts.recordedAt }, `recorded ${clock(parts.recordedAt, now)}`),
      parts.id !== null && el("span", { title: visible(parts.id) }, `id ${clip(visible(parts.id), 24)}`),
      parts.hash !== null && el("span", { class: "hash", title: `chain ${parts.hash}` }, `#${parts.hash.slice(0, 8)}`),
    );
  }

  /** @param {Parts} parts @returns {HTMLElement[]} */
  notesOn(parts) {
    const notes = [];
    if (parts.broken) {
      const button = el("button", { type: "button", class: "quiet" }, this.recorded ? "Compare with what was sent" : "Compare with what was recorded");
      button.addEventListener("click", () => {
        this.recorded = !this.recorded;
        this.draw();
      });
      notes.push(
        el(
          "div",
          { class: "note broken" },
          el("strong", {}, "Lineage broken. "),
          "The state that was sent as before is not the one that was recorded last: somebody changed it unseen. ",
          this.previous && !parts.erased && button,
        ),
      );
    }
    if (parts.filled) notes.push(el("div", { class: "note" }, "before was not sent; the recorder filled in what it had."));
    else if (parts.type === "updated" && !parts.before && !parts.erased) {
      notes.push(el("div", { class: "note" }, "before was not sent, and nothing was recorded that could stand for it."));
    }
    return notes;
  }

  /** @param {Parts} parts */
  erasedNote(parts) {
    const rows = [
      ["before", parts.erased?.before],
      ["after", parts.erased?.after],
    ].map(([name, digest]) => digest && el("p", {}, `${name}: `, el("code", {}, digest)));
    return el(
      "div",
      { class: "erased-note" },
      el("p", {}, el("strong", {}, "Erased. "), "What stood here was removed on request. What is left is its SHA-256, so that the chain still verifies:"),
      ...rows,
    );
  }
}

/**
 * A text as it was sent.
 * @param {string} name
 * @param {Json | null} json
 * @returns {HTMLElement}
 */
function textOf(name, json) {
  const text = json ? raw(json) : "";
  const whole = text.length > MOST_RAW ? `${text.slice(0, MOST_RAW)}…` : text;
  return el(
    "section",
    { class: "as-sent" },
    el("h2", { class: "minor" }, name, json && el("span", { class: "dim" }, ` ${size(new TextEncoder().encode(text).length)}`)),
    json ? el("pre", {}, whole) : el("p", { class: "dim" }, "none"),
  );
}
