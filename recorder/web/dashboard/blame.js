/** Who changed a field: the deltas that touched its path, newest first, each with a button that selects it. */

import { announce, el, fill } from "./dom.js";
import { clock, several, visible } from "./format.js";
import { member, numberAt, parse, stringAt } from "./json.js";
import { encode } from "./router.js";
import { pathInWords, short } from "./summary.js";

/** @typedef {import("./json.js").Json} Json */

const PAGE = 50;

/** The panel; hidden until a field is chosen. */
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
    this.asked = 0; // number of the last request; answers to earlier ones are dropped
    this.list = el("ol", { class: "blame-list" }); // of the deltas that were found
    this.more = el("p", {}); // what is shown below it
    this.element = el("aside", {
      class: "blame",
      hidden: true,
      tabindex: -1,
      "aria-label": "Who changed this",
      on: { keydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.hide() },
    });
    /** @type {HTMLElement | null} */
    this.from = null; // the element that had the focus before
  }

  /**
   * Show who changed a field, up to a seq.
   * @param {string} path A JSON pointer.
   * @param {number} at
   */
  async ask(path, at) {
    const name = path ? pathInWords(path) : "the whole state";
    const close = el("button", { type: "button", class: "quiet icon", "aria-label": "Close" }, "×");
    close.addEventListener("click", () => this.hide());
    this.list = el("ol", { class: "blame-list" });
    this.more = el("p", { class: "dim" });
    fill(
      this.element,
      el("div", { class: "card-head" }, el("h2", { class: "minor" }, "Who changed ", el("code", {}, visible(name))), close),
      el("div", { class: "blame-body" }, this.list, this.more),
    );
    if (!this.element.contains(document.activeElement)) this.from = /** @type {HTMLElement} */ (document.activeElement);
    this.element.hidden = false;
    this.element.focus();
    await this.read(path, at + 1, ++this.asked);
  }

  hide() {
    this.asked++;
    const inside = this.element.contains(document.activeElement);
    this.element.hidden = true;
    // Give the focus back.
    if (!inside) return;
    const state = /** @type {HTMLElement | null | undefined} */ (this.element.parentElement?.querySelector(".state-body"));
    if (this.from?.isConnected) this.from.focus();
    else state?.focus();
  }

  /**
   * Read the deltas before a seq that touched a path.
   * @param {string} path
   * @param {number} before
   * @param {number} mine Number of the request.
   */
  async read(path, before, mine) {
    if (this.id === "." || this.id === "..") {
      // In a URL these names mean directories, and a browser removes them.
      const command = el("code", {}, visible(`recorder blame ${this.id} ${path}`));
      fill(this.more, "A browser cannot request this for a session with this id. Use ", command, ".");
      return;
    }
    fill(this.more, "Loading …");
    try {
      const query = new URLSearchParams({ path, before: String(before), limit: String(PAGE) });
      const text = await this.api.text(`api/sessions/${encode(this.id)}/blame?${query}`, this.signal);
      if (mine === this.asked) this.draw(parse(text), path, mine);
    } catch (error) {
      if (mine === this.asked && !this.signal.aborted) fill(this.more, /** @type {Error} */ (error).message);
    }
  }

  /** @param {Json} answer @param {string} path @param {number} mine */
  draw(answer, path, mine) {
    for (const touch of member(answer, "touches")?.items ?? []) this.list.append(this.row(touch));
    const next = numberAt(answer, "next");
    const known = this.list.childElementCount;
    announce(`${several(known, "delta")} changed it`);
    if (next === null) {
      const end = ENDS[stringAt(answer, "end") ?? ""] ?? "";
      fill(this.more, known ? end : `No delta up to this one changed it. ${end}`);
      return;
    }
    const on = el("button", { type: "button", class: "quiet" }, "Older");
    on.addEventListener("click", () => void this.read(path, next, mine));
    fill(this.more, on);
  }

  /** @param {Json} touch */
  row(touch) {
    const seq = numberAt(touch, "seq") ?? 0;
    const type = stringAt(touch, "type") ?? "";
    const before = member(touch, "before");
    const after = member(touch, "after");
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "blame-row", on: { click: () => this.onGo(seq) } },
        el(
          "span",
          { class: "dim" },
          `seq ${seq} · ${clock(stringAt(touch, "timestamp") ?? "", Date.now())}`,
          member(touch, "lineage") && el("span", { class: "mark-broken" }, "lineage broken"),
          type !== "updated" && el("span", { class: `type ${type}` }, ` ${type}`),
        ),
        el("span", { class: "values" }, before && el("del", {}, words(before)), before && after && " → ", after && el("ins", {}, words(after))),
      ),
    );
  }
}

/** @type {Record<string, string>} */
const ENDS = {
  begun: "",
  pruned: "Older deltas were pruned.",
  erased: "Older states were erased.",
};

/** @param {Json} value @returns {string} */
function words(value) {
  return visible(short(value));
}
