/**
 * A difference as a tree of fields: each with its name, its value or both values, and a button that shows who changed it.
 *
 * The cost is bounded whatever the state is: fields are made when their container is opened, a hundred at a time, down to
 * a depth and up to a number of rows. The user opens the rest.
 */

import { el, fill } from "./dom.js";
import { clip, count, several, visible } from "./format.js";
import { plain, raw } from "./json.js";
import { escapeKey, seam } from "./diff.js";
import { NO_NAME, outline } from "./summary.js";

/** @typedef {import("./diff.js").Field} Field */
/** @typedef {import("./json.js").Json} Json */

const CHUNK = 100; // fields of a container that are shown at once
const MOST_DEPTH = 50; // containers that lie deeper are opened by the user
const MORE_DEPTH = 20; // how deep the fields of what the user opens are shown
const MOST_ROWS = 2000; // of a tree; containers after them are opened by the user
const LONG_TEXT = 600; // characters of a text that are shown at once
const MORE_TEXT = 50_000; // and with each click after that
const MOST_NAME = 300; // characters of a field's name
const MOST_PATH = 2000; // characters of a path
const SIGNS = { same: "", changed: "~", added: "+", removed: "−" };
const WORDS = { same: "", changed: "changed", added: "added", removed: "removed" };

/**
 * @typedef {object} TreeOptions
 * @property {boolean} onlyChanged Whether fields that are the same are left out.
 * @property {(path: string) => void} onAsk Show who changed the field of this path.
 */

/**
 * What a tree may still cost: made anew for each tree, and for each part that the user opens.
 * @typedef {object} Budget
 * @property {number} rows
 * @property {number} depth The first depth at which containers stay closed.
 */

/**
 * Make the tree of a difference. It is not part of the document yet: the browser lays it out once, when it is inserted.
 * @param {Field} root
 * @param {TreeOptions} options
 * @returns {HTMLElement}
 */
export function fieldTree(root, options) {
  const budget = { rows: MOST_ROWS, depth: MOST_DEPTH };
  if (innerCount(root, options) === 0) {
    return el("ul", { class: "tree", role: "list" }, fieldRow(root, options, 0, budget));
  }
  return listOf(root, options, 0, budget);
}

/**
 * @param {Field} parent
 * @param {TreeOptions} options
 * @param {number} depth
 * @param {Budget} budget
 * @returns {HTMLElement}
 */
function listOf(parent, options, depth, budget) {
  const list = el("ul", { class: "tree", role: "list" });
  const all = childrenOf(parent, options);
  const shown = options.onlyChanged ? all.filter((field) => field.what !== "same") : all;
  const hidden = all.length - shown.length;
  let made = 0;
  const more = (/** @type {Budget} */ spent) => {
    for (const field of shown.slice(made, made + CHUNK)) list.append(fieldRow(field, options, depth, spent));
    made += CHUNK;
    if (made >= shown.length) return;
    const button = el("button", { type: "button", class: "quiet" }, `${count(shown.length - made)} more`);
    const item = el("li", {}, button);
    button.addEventListener("click", () => {
      item.remove();
      more({ rows: MOST_ROWS, depth: Math.max(MOST_DEPTH, depth + 1) });
    });
    list.append(item);
  };
  more(budget);
  if (hidden > 0) list.append(el("li", { class: "same-note dim" }, `${several(hidden, "field")} unchanged`));
  return list;
}

/**
 * How many fields a field has; without making them.
 * @param {Field} field
 * @param {TreeOptions} options
 * @returns {number}
 */
function innerCount(field, options) {
  if (field.fields.length) return field.fields.length;
  if (field.what === "changed" || (options.onlyChanged && field.what === "same")) return 0;
  return (field.after ?? field.before)?.items.length ?? 0;
}

/**
 * List the fields of a field: compared where both sides have it, else those of the side that has it.
 * @param {Field} field
 * @param {TreeOptions} options
 * @returns {Field[]}
 */
function childrenOf(field, options) {
  if (field.fields.length || innerCount(field, options) === 0) return field.fields;
  const whole = /** @type {Json} */ (field.after ?? field.before);
  const indexed = whole.kind === "array";
  return whole.items.map((item, index) => {
    const key = indexed ? String(index) : whole.names[index];
    return {
      key,
      path: `${field.path}/${escapeKey(key)}`,
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
 * @param {Budget} budget
 * @returns {HTMLElement}
 */
function fieldRow(field, options, depth, budget) {
  budget.rows--;
  const key = field.path ? clip(visible(clip(field.key, MOST_NAME)) || NO_NAME, MOST_NAME) : "(the whole state)";
  const name = el(
    "button",
    {
      type: "button",
      class: `key ${field.indexed ? "indexed" : ""}`,
      title: `Who changed ${clip(visible(field.path.slice(0, MOST_PATH)), MOST_PATH) || "this"}?`,
      on: { click: () => options.onAsk(field.path) },
    },
    key,
  );
  const sign = el("span", { class: "sign", "aria-hidden": true }, SIGNS[field.what]);
  const word = WORDS[field.what] && el("span", { class: "unseen" }, ` ${WORDS[field.what]} `);
  const item = el("li", { class: `field ${field.what}`, data: field.path.length <= MOST_PATH ? { path: field.path } : {} });
  if (innerCount(field, options) === 0) {
    item.append(el("div", { class: "line" }, sign, name, word || "", valueOf(field)));
    return item;
  }
  const whole = /** @type {Json} */ (field.after ?? field.before);
  const body = el("div", { class: "inner" });
  const summary = el("button", { type: "button", class: "outline dim", tabindex: -1 }, visible(outline(whole)));
  const fold = el("button", { type: "button", class: "fold", "aria-label": `Fields of ${field.path ? key : "the state"}` });
  const open = (/** @type {boolean} */ wanted, /** @type {Budget} */ spent) => {
    fold.setAttribute("aria-expanded", String(wanted));
    summary.hidden = wanted;
    // Made before it is shown: rows that are added one by one to what is shown would be laid out again and again.
    if (wanted && !body.hasChildNodes()) fill(body, listOf(field, options, depth + 1, spent));
    body.hidden = !wanted;
  };
  const byUser = (/** @type {boolean} */ wanted) => open(wanted, { rows: MOST_ROWS, depth: depth + MORE_DEPTH });
  fold.addEventListener("click", () => byUser(body.hidden));
  summary.addEventListener("click", () => {
    byUser(true);
    // The clicked button is hidden now: without this the keyboard would lose its place.
    fold.focus();
  });
  open(budget.rows > 0 && depth < budget.depth && isOpen(field, innerCount(field, options), depth), budget);
  item.append(el("div", { class: "line folds" }, fold, sign, name, word || "", summary), body);
  return item;
}

/** @param {Field} field @param {number} inner How many fields it has. @param {number} depth @returns {boolean} */
function isOpen(field, inner, depth) {
  if (field.what === "changed") return true;
  if (field.what !== "same") return depth < 4 && inner <= 30;
  return depth < 1 && inner <= 12;
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
 * Show two texts, with the parts that differ marked in both.
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
 * Shorten a text that both sides share: only the part next to the difference is shown.
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
 * Show a text; of a long one the beginning, and a button for the next part.
 * @param {string} text
 * @returns {Node}
 */
function longText(text) {
  if (text.length <= LONG_TEXT) return document.createTextNode(visibleText(text));
  const whole = el("span", {});
  const button = el("button", { type: "button", class: "quiet" });
  let end = 0;
  const more = (/** @type {number} */ length) => {
    const from = end;
    end = Math.min(text.length, from + length);
    // Never between the halves of one character.
    if (/[\ud800-\udbff]/.test(text[end - 1]) && end < text.length) end++;
    button.remove();
    whole.append(visibleText(text.slice(from, end)));
    if (end === text.length) return;
    button.textContent = `${count(text.length - end)} more characters`;
    whole.append("… ", button);
  };
  button.addEventListener("click", (event) => {
    event.preventDefault();
    button.previousSibling?.remove(); // the dots
    more(MORE_TEXT);
  });
  more(LONG_TEXT);
  return whole;
}

/** @param {string} text @returns {string} As `visible`, but lines stay lines. */
function visibleText(text) {
  return text.split(/\r?\n/).map((line) => visible(line.replaceAll("\t", "    "))).join("\n");
}
