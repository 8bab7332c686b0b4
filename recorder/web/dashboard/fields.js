/**
 * A value, and what became of it, as a tree of fields: each with its name, its value or its two values, and a way to ask
 * who changed it.
 *
 * Only what is open exists: a container's fields are made when it is opened, and a hundred at a time.
 */

import { el, fill } from "./dom.js";
import { count, several, visible } from "./format.js";
import { plain, raw } from "./json.js";
import { seam } from "./diff.js";
import { NO_NAME, outline } from "./summary.js";

/** @typedef {import("./diff.js").Field} Field */
/** @typedef {import("./json.js").Json} Json */

const CHUNK = 100;
const LONG_TEXT = 600;
const SIGNS = { same: "", changed: "~", added: "+", removed: "−" };
const WORDS = { same: "", changed: "changed", added: "added", removed: "removed" };

/**
 * @typedef {object} TreeOptions
 * @property {boolean} onlyChanged Whether what is the same is left out.
 * @property {(path: string) => void} onAsk Who changed the field of this path?
 */

/**
 * The tree of a difference.
 * @param {Field} root
 * @param {TreeOptions} options
 * @returns {HTMLElement}
 */
export function fieldTree(root, options) {
  if (childrenOf(root, options).length === 0) {
    return el("ul", { class: "tree", role: "list" }, fieldRow(root, options, 0));
  }
  return listOf(root, options, 0);
}

/**
 * @param {Field} parent
 * @param {TreeOptions} options
 * @param {number} depth
 * @returns {HTMLElement}
 */
function listOf(parent, options, depth) {
  const list = el("ul", { class: "tree", role: "list" });
  const all = childrenOf(parent, options);
  const shown = options.onlyChanged ? all.filter((field) => field.what !== "same") : all;
  const hidden = all.length - shown.length;
  let made = 0;
  const more = () => {
    for (const field of shown.slice(made, made + CHUNK)) list.append(fieldRow(field, options, depth));
    made += CHUNK;
    if (made >= shown.length) return;
    const button = el("button", { type: "button", class: "quiet" }, `${count(shown.length - made)} more`);
    const item = el("li", {}, button);
    button.addEventListener("click", () => {
      item.remove();
      more();
    });
    list.append(item);
  };
  more();
  if (hidden > 0) list.append(el("li", { class: "same-note dim" }, `${several(hidden, "field")} unchanged`));
  return list;
}

/**
 * The fields of a field: compared where it is on both sides, else those of the side where it is.
 * @param {Field} field
 * @param {TreeOptions} options
 * @returns {Field[]}
 */
function childrenOf(field, options) {
  if (field.fields.length) return field.fields;
  if (field.what === "changed") return [];
  const whole = field.after ?? field.before;
  if (!whole || (options.onlyChanged && field.what === "same")) return [];
  const indexed = whole.kind === "array";
  return whole.items.map((item, index) => {
    const key = indexed ? String(index) : whole.names[index];
    return {
      key,
      path: `${field.path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`,
      indexed,
      what: field.what,
      before: field.before ? item : null,
      after: field.after ? item : null,
      fields: [],
    };
  });
}

/**
 * @param {Field} field
 * @param {TreeOptions} options
 * @param {number} depth
 * @returns {HTMLElement}
 */
function fieldRow(field, options, depth) {
  const name = el(
    "button",
    {
      type: "button",
      class: `key ${field.indexed ? "indexed" : ""}`,
      title: `Who changed ${field.path || "this"}?`,
      on: { click: () => options.onAsk(field.path) },
    },
    field.path ? visible(field.key) || NO_NAME : "(the whole state)",
  );
  const sign = el("span", { class: "sign", "aria-hidden": true }, SIGNS[field.what]);
  const word = WORDS[field.what] && el("span", { class: "unseen" }, ` ${WORDS[field.what]} `);
  const item = el("li", { class: `field ${field.what}`, data: { path: field.path } });
  const inner = childrenOf(field, options);
  if (inner.length === 0) {
    item.append(el("div", { class: "line" }, sign, name, word || "", valueOf(field)));
    return item;
  }
  const whole = /** @type {Json} */ (field.after ?? field.before);
  const body = el("div", { class: "inner" });
  const summary = el("button", { type: "button", class: "outline dim", tabindex: -1 }, visible(outline(whole)));
  const fold = el("button", { type: "button", class: "fold", "aria-label": `Fields of ${field.path ? visible(field.key) || NO_NAME : "the state"}` });
  const open = (/** @type {boolean} */ wanted) => {
    fold.setAttribute("aria-expanded", String(wanted));
    body.hidden = !wanted;
    summary.hidden = wanted;
    if (wanted && !body.hasChildNodes()) fill(body, listOf(field, options, depth + 1));
  };
  fold.addEventListener("click", () => open(body.hidden));
  summary.addEventListener("click", () => {
    open(true);
    // What was clicked is gone, and whoever goes on by the keyboard is not to lose the place.
    fold.focus();
  });
  open(isOpen(field, inner, depth));
  item.append(el("div", { class: "line folds" }, fold, sign, name, word || "", summary), body);
  return item;
}

/** @param {Field} field @param {Field[]} inner @param {number} depth @returns {boolean} */
function isOpen(field, inner, depth) {
  if (field.what === "changed") return true;
  if (field.what !== "same") return depth < 4 && inner.length <= 30;
  return depth < 1 && inner.length <= 12;
}

/** @param {Field} field @returns {Node} */
function valueOf(field) {
  if (field.what === "changed" && field.before && field.after) {
    if (field.before.kind === "string" && field.after.kind === "string") return twoTexts(plain(field.before), plain(field.after));
    return el(
      "span",
      { class: "values" },
      el("del", { class: "value" }, single(field.before)),
      el("span", { class: "arrow", "aria-hidden": true }, " → "),
      el("span", { class: "unseen" }, " became "),
      el("ins", { class: "value" }, single(field.after)),
    );
  }
  const value = field.after ?? field.before;
  if (!value) return el("span", { class: "value dim" }, "none");
  return el(field.what === "removed" ? "del" : field.what === "added" ? "ins" : "span", { class: "value" }, single(value));
}

/**
 * Two texts, what differs marked in both.
 * @param {string} before
 * @param {string} after
 * @returns {HTMLElement}
 */
function twoTexts(before, after) {
  const { start, end } = seam(before, after);
  const shares = start + end > 3 && (start + end) * 3 > Math.max(before.length, after.length);
  const marked = (/** @type {string} */ text, /** @type {"del" | "ins"} */ tag) => {
    if (!shares) return el(tag, { class: "value text" }, longText(text));
    const middle = text.slice(start, text.length - end);
    return el(
      tag,
      { class: "value text" },
      around(text.slice(0, start), "end"),
      middle && el("mark", {}, longText(middle)),
      around(text.slice(text.length - end), "start"),
    );
  };
  const stacked = before.length + after.length > 90;
  return el(
    "span",
    { class: stacked ? "values stacked" : "values" },
    marked(before, "del"),
    !stacked && el("span", { class: "arrow", "aria-hidden": true }, " → "),
    el("span", { class: "unseen" }, " became "),
    marked(after, "ins"),
  );
}

/**
 * What is the same beside a difference: only its nearest part, where it is long.
 * @param {string} text
 * @param {"start" | "end"} near
 * @returns {string}
 */
function around(text, near) {
  if (text.length <= 160) return visible(text);
  return near === "end" ? `…${visible(text.slice(-120))}` : `${visible(text.slice(0, 120))}…`;
}

/** @param {Json} value @returns {Node} */
function single(value) {
  if (value.kind === "string") {
    const text = plain(value);
    return text === "" ? el("span", { class: "dim" }, "empty text") : longText(text);
  }
  if (value.items.length) return el("span", {}, visible(outline(value)));
  return el("span", { class: `is-${value.kind}` }, raw(value));
}

/**
 * A text, its beginning only where it is long, the rest a click away.
 * @param {string} text
 * @returns {Node}
 */
function longText(text) {
  const seen = visibleText(text);
  if (seen.length <= LONG_TEXT) return document.createTextNode(seen);
  const whole = el("span", {}, seen.slice(0, LONG_TEXT), "… ");
  const button = el("button", { type: "button", class: "quiet" }, `${count(seen.length - LONG_TEXT)} more characters`);
  button.addEventListener("click", (event) => {
    event.preventDefault();
    fill(whole, seen);
  });
  whole.append(button);
  return whole;
}

/** @param {string} text @returns {string} As `visible`, but lines stay lines. */
function visibleText(text) {
  return text.split(/\r?\n/).map((line) => visible(line.replaceAll("\t", "    "))).join("\n");
}
