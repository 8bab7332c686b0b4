/** The timeline of a session: a list of its deltas, oldest first, each in two lines. */

import { el, fill } from "./dom.js";
import { clock, visible } from "./format.js";
import { kindOf } from "./scrubber.js";
import { summaryOf } from "./summary.js";
import { VirtualList } from "./virtual-list.js";

/** @typedef {import("./event-log.js").Entry} Entry */

const NEAR_EDGE = 300; // pixels

/**
 * Make the list.
 * @param {{onSelect: (entry: Entry) => void, onNearEdge: () => void, previousOf: (entry: Entry) => Entry | null}} options
 * @returns {VirtualList<Entry>}
 */
export function timelineOf({ onSelect, onNearEdge, previousOf }) {
  return new VirtualList({
    label: "Deltas of the session, oldest first",
    class: "timeline",
    key: (entry) => entry.seq,
    draw: (row, entry, fresh) => fresh && draw(row, entry, () => previousOf(entry)),
    onOpen: onSelect,
    onMove: onSelect,
    onScroll: (above, below) => {
      if (above < NEAR_EDGE || below < NEAR_EDGE) onNearEdge();
    },
  });
}

/** @param {HTMLElement} row @param {Entry} entry @param {() => Entry | null} previous The entry before it. */
function draw(row, entry, previous) {
  row.dataset.kind = kindOf(entry);
  fill(
    row,
    el(
      "span",
      { class: "first" },
      el("span", { class: "time" }, clock(entry.happened, Date.now())),
      el("span", { class: `type ${entry.type}` }, entry.type),
      entry.broken && el("span", { class: "mark-broken" }, "lineage broken"),
      entry.erased && el("span", { class: "mark-erased" }, "erased"),
      el("span", { class: "seq dim" }, String(entry.seq)),
    ),
    el("span", { class: "what" }, visible(summaryOf(entry.text, () => previous()?.text ?? null))),
  );
}
