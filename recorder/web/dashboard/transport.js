/** The controls of a session: the slider, step, play, speed, live, and the position in words. */

import { el, fill, say, svg } from "./dom.js";
import { count } from "./format.js";
import { SPEEDS } from "./player.js";
import { Scrubber } from "./scrubber.js";

const SHAPES = {
  first: "M3 3v10M13 3L5 8l8 5z",
  back: "M11 3L4 8l7 5z",
  play: "M4 3l9 5-9 5z",
  stop: "M4 3h3v10H4zM9 3h3v10H9z",
  on: "M5 3l7 5-7 5z",
  last: "M13 3v10M3 3l8 5-8 5z",
};

/**
 * @typedef {object} Acts
 * @property {() => void} first
 * @property {() => void} back
 * @property {() => void} toggle
 * @property {() => void} on
 * @property {() => void} last
 * @property {() => void} follow
 * @property {(speed: number) => void} speed
 * @property {(fraction: number) => void} scrub
 */

/** The controls. */
export class Transport {
  /** @param {Acts} acts */
  constructor(acts) {
    this.scrubber = new Scrubber(acts.scrub);
    this.where = el("span", { class: "where" });
    this.play = button(SHAPES.play, "Play", acts.toggle);
    this.play.classList.add("play");
    this.live = el("button", { type: "button", class: "quiet live", title: "Follow live (l)", on: { click: acts.follow } }, "Live");
    const speed = el(
      "select",
      { "aria-label": "Speed", on: { change: () => acts.speed(Number(speed.value)) } },
      ...SPEEDS.map((times) => el("option", { value: times }, `${times}×`)),
    );
    this.element = el(
      "section",
      { class: "card transport", "aria-label": "Position in the session" },
      this.scrubber.element,
      el(
        "div",
        { class: "controls" },
        button(SHAPES.first, "First delta", acts.first),
        button(SHAPES.back, "Previous delta", acts.back),
        this.play,
        button(SHAPES.on, "Next delta", acts.on),
        button(SHAPES.last, "Last delta", acts.last),
        speed,
        this.live,
        this.where,
      ),
    );
  }

  /**
   * Show the selected delta.
   * @param {import("./session-log.js").SessionLog} log
   * @param {number} seq
   */
  place(log, seq) {
    const { entries, whole } = log;
    const index = log.indexAt(seq);
    let text = "";
    if (index >= 0) {
      text = whole
        ? `delta ${count(index + 1)} of ${count(entries.length)} · seq ${entries[index].seq}`
        : `seq ${entries[index].seq}, of ${log.first} to ${log.last}`;
    }
    say(this.where, text);
    this.scrubber.show(log, seq, text);
  }

  /** @param {boolean} playing @param {boolean} following */
  state(playing, following) {
    const label = playing ? "Stop" : "Play";
    if (this.play.getAttribute("aria-label") !== label) {
      fill(this.play, icon(playing ? SHAPES.stop : SHAPES.play));
      this.play.setAttribute("aria-label", label);
      this.play.title = `${label} (Space)`;
    }
    this.live.setAttribute("aria-pressed", String(following));
  }
}

/** @param {string} shape @param {string} label @param {() => void} act */
function button(shape, label, act) {
  return el("button", { type: "button", class: "quiet icon", "aria-label": label, title: label, on: { click: act } }, icon(shape));
}

/** @param {string} shape A path. @returns {SVGElement} */
function icon(shape) {
  return svg("svg", { viewBox: "0 0 16 16", width: 14, height: 14, class: "shape", "aria-hidden": true }, svg("path", { d: shape }));
}
