/** Who changed a field: the deltas that touched its path, newest first, each a step to go to. */

import { announce, el, fill } from "./dom.js";
import { clock, visible } from "./format.js";
import { member, numberAt, parse, stringAt } from "./json.js";
import { encode } from "./router.js";
import { pathInWords, short } from "./summary.js";

/** @typedef {import("./json.js").Json} Json */

/** The panel; hidden until it is asked something. */
export class Blame {
  /**
   * @param {import("./api.js").Api} api
   * @param {string} id The session's.
   * @param {(seq: number) => void} onGo
   * @param {AbortSignal} signal
   */
  constructor(api, id, onGo, signal) {
    this.api = api;
    this.id = id;
    this.onGo = onGo;
    this.signal = signal;
    this.asked = 0; // which question is the last one
    this.element = el("aside", { class: "blame", hidden: true, tabindex: -1, "aria-label": "Who changed this" });
  }

  /**
   * Who changed a field, as of a seq?
   * @param {string} path A JSON pointer.
   * @param {number} at
   */
  async ask(path, at) {
    const mine = ++this.asked;
    const name = path ? pathInWords(path) : "the whole state";
    const close = el("button", { type: "button", class: "quiet icon", "aria-label": "Close" }, "×");
    close.addEventListener("click", () => {
      this.element.hidden = true;
    });
    const body = el("div", { class: "blame-body" }, el("p", { class: "dim" }, "Looking …"));
    fill(
      this.element,
      el("div", { class: "card-head" }, el("h3", {}, "Who changed ", el("code", {}, visible(name))), close),
      body,
    );
    this.element.hidden = false;
    this.element.focus();
    try {
      const query = new URLSearchParams({ path, at: String(at) });
      const text = await this.api.text(`/api/sessions/${encode(this.id)}/blame?${query}`, this.signal);
      if (mine === this.asked) this.draw(body, parse(text));
    } catch (error) {
      if (mine === this.asked && !this.signal.aborted) fill(body, el("p", { class: "bad-text" }, /** @type {Error} */ (error).message));
    }
  }

  /** @param {HTMLElement} body @param {Json} answer */
  draw(body, answer) {
    const found = member(answer, "changes")?.items ?? [];
    if (!found.length) {
      fill(body, el("p", { class: "dim" }, "No delta that is recorded touched it."));
      return;
    }
    const items = found.map((change) => {
      const seq = numberAt(change, "seq") ?? 0;
      const link = el(
        "button",
        { type: "button", class: "blame-row", on: { click: () => this.onGo(seq) } },
        el("span", { class: "dim" }, `seq ${seq} · ${clock(stringAt(change, "recordedAt") ?? "", Date.now())}`),
        el("span", { class: "values" }, el("del", {}, words(member(change, "before"))), " → ", el("ins", {}, words(member(change, "after")))),
      );
      return el("li", {}, link);
    });
    fill(body, el("ol", { class: "blame-list" }, ...items), member(answer, "next")?.kind !== "null" && el("p", { class: "dim" }, "and more, further back"));
    announce(`${found.length} deltas touched it`);
  }
}

/** @param {Json | null} value @returns {string} */
function words(value) {
  return value ? visible(short(value)) : "none";
}
