/** Deltas per second over the last two minutes, as bars in SVG, with the figures in words for screen readers. */

import { el, fill, say, svg } from "./dom.js";
import { clock, rate } from "./format.js";
import { bars, roundUp } from "./rates.js";

const WIDTH = 600;
const HEIGHT = 100;

/** The chart. */
export class RateChart {
  /**
   * @param {import("./rates.js").Rates} rates One second a bucket.
   * @param {() => number} knownSince The time before which nothing is known.
   */
  constructor(rates, knownSince) {
    this.rates = rates;
    this.knownSince = knownSince;
    /** @type {number[]} */
    this.values = []; // as drawn
    this.drawnAt = 0; // when
    this.path = svg("path", { class: "bar" });
    this.now = svg("path", { class: "bar bar-now" });
    this.unknown = el("div", { class: "unknown" }, el("span", {}, "no data"));
    this.picture = svg(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: "none",
        role: "img",
        class: "chart-bars",
        "aria-label": "Deltas per second: no data yet",
      },
      svg("path", { class: "grid", d: `M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}` }),
      this.path,
      this.now,
    );
    this.top = el("span", { class: "chart-top" });
    this.figure = el("strong", {});
    this.detail = el("span", { class: "dim" });
    this.element = el(
      "section",
      { class: "chart card", "aria-label": "Deltas per second" },
      el("h2", { class: "chart-head" }, this.figure, el("span", { class: "unit" }, " deltas/s"), this.detail),
      el("div", { class: "chart-area" }, this.picture, this.unknown, this.top),
      el("div", { class: "chart-axis dim", "aria-hidden": true }, el("span", {}, "2 min ago"), el("span", {}, "now")),
    );
    this.picture.addEventListener("pointermove", (event) => this.point(/** @type {PointerEvent} */ (event)));
    this.picture.addEventListener("pointerleave", () => this.draw(this.drawnAt));
  }

  /** @param {number} now */
  draw(now) {
    const values = this.rates.read(now);
    this.values = values;
    this.drawnAt = now;
    const peak = Math.max(...values);
    const top = roundUp(peak);
    // The current second is not over: drawn like the others it would look like a drop.
    const done = values.slice(0, -1);
    const whole = bars(done, (WIDTH * done.length) / values.length, HEIGHT, top);
    this.path.setAttribute("d", whole);
    this.now.setAttribute("d", bars([...done.map(() => 0), values.at(-1) ?? 0], WIDTH, HEIGHT, top));
    // Where nothing was counted, the chart must not show zero.
    const unknown = 100 * (1 - (now - this.knownSince()) / (values.length * this.rates.widthMs));
    this.unknown.hidden = unknown <= 0;
    this.unknown.style.width = `${Math.min(100, unknown).toFixed(1)}%`;
    const recent = done.slice(-3);
    const mean = recent.reduce((sum, value) => sum + value, 0) / recent.length;
    say(this.figure, rate(mean));
    say(this.detail, `peak ${rate(peak)}`);
    say(this.top, peak ? rate(top) : "");
    this.picture.setAttribute("aria-label", `Deltas per second: ${rate(mean)} now, at most ${rate(peak)} in two minutes`);
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = this.picture.getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left) / box.width) * this.values.length);
    const value = this.values[index];
    if (value === undefined) return;
    const second = this.drawnAt - (this.values.length - 1 - index) * 1000;
    say(this.detail, `${rate(value)} at ${clock(new Date(second).toISOString(), this.drawnAt).replace(/\.\d+$/, "")}`);
  }
}

/**
 * A session's activity, small: the path's element in a picture of its own.
 * @param {HTMLElement} parent
 * @returns {SVGElement} The path; `drawStrip` fills it.
 */
export function stripIn(parent) {
  const path = svg("path", { class: "bar" });
  fill(parent, svg("svg", { viewBox: "0 0 90 20", preserveAspectRatio: "none", "aria-hidden": true }, path));
  return path;
}

/**
 * @param {SVGElement} path
 * @param {import("./rates.js").Rates} rates
 * @param {number} now
 */
export function drawStrip(path, rates, now) {
  const values = rates.read(now);
  path.setAttribute("d", rates.total ? bars(values, 90, 20, Math.max(4, ...values)) : "");
}
