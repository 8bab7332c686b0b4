/**
 * The state after one delta, in three ways: what the delta changed, the state, and the raw JSON as it was sent.
 *
 * Notes above it say where the lineage is broken, where content was erased, and where a state is missing.
 */

import { el, fill, say } from "./dom.js";
import { changes, diff } from "./diff.js";
import { fieldTree } from "./fields.js";
import { clock, clip, several, size, visible } from "./format.js";
import { parse, raw } from "./json.js";
import { partsOf, recordedBefore } from "./summary.js";

/** @typedef {import("./event-log.js").Entry} Entry */
/** @typedef {import("./json.js").Json} Json */
/** @typedef {import("./summary.js").Parts} Parts */

const WAYS = ["Changes", "State", "Raw JSON"];
const MOST_RAW = 200_000; // characters of a text that are shown raw

/** The panel. */
export class StatePanel {
  /** @param {(path: string) => void} onAsk Show who changed the field of this path. */
  constructor(onAsk) {
    this.onAsk = onAsk;
    this.way = 0; // which of `WAYS`
    this.asSent = false; // of a broken lineage: whether to compare with the `before` that was sent
    /** @type {Entry | null} */
    this.entry = null;
    /** @type {Entry | null} */
    this.previous = null; // the entry before it, if it is known
    this.cache = new WeakMap(); // parts by entry
    this.head = el("div", { class: "state-head dim" });
    this.notes = el("div", { class: "notes" });
    this.body = el("div", { class: "state-body", tabindex: 0, role: "region", "aria-label": "State of the session" });
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
   * Show the state after an entry.
   * @param {Entry} entry
   * @param {Entry | null} previous The entry before it in the session, if it is known.
   */
  show(entry, previous) {
    if (entry === this.entry && previous === this.previous) return;
    if (entry !== this.entry) this.asSent = false;
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
   * Return the parts of an entry.
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

  /** @returns {string} The text of the state, exactly as it was sent; `null` where there is none. */
  stateText() {
    const after = this.entry && this.partsOf(this.entry).after;
    return after ? raw(after) : "null";
  }

  draw() {
    this.tabs.forEach((tab, index) => tab.setAttribute("aria-pressed", String(index === this.way)));
    if (!this.entry) return;
    const parts = this.partsOf(this.entry);
    this.drawHead(parts);
    const recorded = recordedBefore(parts, this.previous && this.partsOf(this.previous));
    const before = this.asSent || !recorded.known ? parts.before : recorded.state;
    const found = diff(before, parts.after);
    const changed = changes(found, 1000).length;
    say(this.tally, parts.erased ? "" : changed >= 1000 ? "1,000 changes or more" : several(changed, "change"));
    fill(this.notes, ...this.notesOn(parts, recorded.known));
    if (parts.erased) fill(this.body, this.erasedNote(parts));
    else if (this.way === 2) fill(this.body, textOf("before", parts.before), textOf("after", parts.after));
    else if (this.way === 1 && !parts.after) fill(this.body, el("p", { class: "empty" }, "This delta deleted the session. It has no state."));
    else if (this.way === 0 && changed === 0) fill(this.body, el("p", { class: "empty" }, "Nothing changed. The states before and after are the same."));
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

  /** @param {Parts} parts @param {boolean} known Whether the state recorded last is. @returns {HTMLElement[]} */
  notesOn(parts, known) {
    const notes = [];
    if (parts.broken) {
      const button = el("button", { type: "button", class: "quiet" }, this.asSent ? "Compare with the recorded state" : "Compare with the state that was sent");
      button.addEventListener("click", () => {
        this.asSent = !this.asSent;
        this.draw();
      });
      notes.push(
        el(
          "div",
          { class: "note broken" },
          el("strong", {}, "Lineage broken. "),
          parts.type === "created"
            ? "The session was created again while it had a state. "
            : "The before that was sent is not the state that was recorded last. A change in between was not published. ",
          known && parts.before && !parts.erased && button,
        ),
      );
    }
    if (parts.filled) notes.push(el("div", { class: "note" }, "No before was sent. The recorder filled in the state that it had recorded last."));
    else if (parts.type === "updated" && !parts.before && !parts.erased) {
      notes.push(el("div", { class: "note" }, "No before was sent, and no earlier state is recorded."));
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
      el("p", {}, el("strong", {}, "Erased. "), "The states of this delta were removed on request. Their SHA-256 digests remain, so that the chain can be verified:"),
      ...rows,
    );
  }
}

/**
 * Show a text as it was sent.
 * @param {string} name
 * @param {Json | null} json
 * @returns {HTMLElement}
 */
function textOf(name, json) {
  const text = json ? raw(json) : "";
  const whole = text.length > MOST_RAW ? `${text.slice(0, MOST_RAW)}… (the rest is in Copy state and Download)` : text;
  return el(
    "section",
    { class: "raw" },
    el("h2", { class: "minor" }, name, json && el("span", { class: "dim" }, ` ${size(new TextEncoder().encode(text).length)}`)),
    json ? el("pre", {}, whole) : el("p", { class: "dim" }, "none"),
  );
}
