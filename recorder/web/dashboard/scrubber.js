/** Where one is in a session: a slider over its deltas, with marks for what happened on the way. */

import { el, fill, svg } from "./dom.js";

/** @typedef {import("./event-log.js").Entry} Entry */

const COLUMNS = 600;
const HEIGHT = 22;
/** What is marked, the rarer the later: a later kind is drawn over an earlier one. */
const KINDS = /** @type {const} */ (["updated", "created", "deleted", "erased", "broken"]);

/**
 * What an entry is marked as.
 * @param {Entry} entry
 * @returns {(typeof KINDS)[number]}
 */
export function kindOf(entry) {
  if (entry.erased) return "erased";
  if (entry.broken) return "broken";
  return entry.type === "created" || entry.type === "deleted" ? entry.type : "updated";
}

/** The slider and its marks. */
export class Scrubber {
  /** @param {(fraction: number) => void} onMove Somebody moved it. */
  constructor(onMove) {
    this.input = el("input", {
      type: "range",
      min: 0,
      "aria-label": "Delta of the session",
      on: { input: () => onMove(Number(this.input.value) / Number(this.input.max)) },
    });
    this.picture = svg("svg", {
      viewBox: `0 0 ${COLUMNS} ${HEIGHT}`,
      preserveAspectRatio: "none",
      class: "marks",
      "aria-hidden": true,
    });
    this.element = el("div", { class: "scrubber" }, el("div", { class: "marks-box" }, this.picture), this.input);
  }

  /**
   * Show what is there and where one is.
   * @param {import("./session-log.js").SessionLog} log
   * @param {number} seq
   * @param {string} text The place in words.
   */
  show(log, seq, text) {
    // By count an arrow key is a delta; by seq, where not all of them are here, a step is a column.
    const steps = log.whole ? Math.max(1, log.entries.length - 1) : COLUMNS;
    this.input.max = String(steps);
    this.input.disabled = log.entries.length === 0;
    this.input.value = String(Math.round(log.fraction(seq) * steps));
    this.input.setAttribute("aria-valuetext", text);
  }

  /** @param {import("./session-log.js").SessionLog} log */
  mark(log) {
    /** @type {Map<number, number>} */
    const columns = new Map(); // the most telling kind of each
    const last = log.entries.length - 1;
    log.entries.forEach((entry, index) => {
      const fraction = log.whole ? (last ? index / last : 1) : log.fraction(entry.seq);
      const column = Math.round(fraction * COLUMNS);
      columns.set(column, Math.max(columns.get(column) ?? 0, KINDS.indexOf(kindOf(entry))));
    });
    const paths = KINDS.map(() => "");
    for (const [column, kind] of columns) paths[kind] += `M${column} ${kind === 0 ? HEIGHT * 0.4 : 0}V${HEIGHT}`;
    fill(this.picture, ...KINDS.map((kind, index) => svg("path", { class: `mark-${kind}`, d: paths[index] })));
  }
}
