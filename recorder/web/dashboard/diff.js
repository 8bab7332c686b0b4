/**
 * What became of a value, structurally: a tree of fields, each the same, changed, added or removed.
 *
 * Members are matched by name. Items of arrays are matched by a longest common subsequence (what was inserted in front
 * does not make everything behind it look changed); what is left between two matches is paired off in order, so that
 * an item of which one field changed shows that field. Numbers and strings are compared as they were written.
 *
 * The comparison of two arrays is bounded (`MOST_CELLS`): past it they are paired off by index.
 */

import { membersOf, plain, raw, same } from "./json.js";

/** @typedef {import("./json.js").Json} Json */

/**
 * A field. `before` or `after` is null where it was not there; `fields` are those of an object or array on both sides.
 * @typedef {object} Field
 * @property {string} key Its member name, or its index (after, or before where removed); "" for the root.
 * @property {string} path Its JSON pointer (in after, or in before where it was removed).
 * @property {"same" | "changed" | "added" | "removed"} what
 * @property {Json | null} before
 * @property {Json | null} after
 * @property {Field[]} fields
 * @property {boolean} indexed Whether the key is an index.
 */

const MOST_CELLS = 1 << 20;

/**
 * Compare two values; null is none.
 * @param {Json | null} before
 * @param {Json | null} after
 * @returns {Field}
 */
export function diff(before, after) {
  return compare("", "", false, before, after);
}

/**
 * The fields that differ, in order: those that were added or removed whole, and those that have another value.
 * @param {Field} field
 * @param {number} [most] Stop after so many.
 * @returns {Field[]}
 */
export function changes(field, most = Infinity) {
  /** @type {Field[]} */
  const found = [];
  gather(field, most, found);
  return found;
}

/**
 * Where two texts differ: how much they have in common at the beginning and at the end, in characters.
 * @param {string} before
 * @param {string} after
 * @returns {{ start: number, end: number }}
 */
export function seam(before, after) {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let end = 0;
  while (end < shorter - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
  // Never between the halves of one character.
  if (start > 0 && isHigh(before, start - 1)) start--;
  if (end > 0 && isLow(before, before.length - end)) end--;
  return { start, end };
}

/**
 * A key as it stands in a JSON pointer.
 * @param {string | number} key
 * @returns {string}
 */
export function escapeKey(key) {
  return String(key).replaceAll("~", "~0").replaceAll("/", "~1");
}

/**
 * @param {string} key
 * @param {string} path
 * @param {boolean} indexed
 * @param {Json | null} before
 * @param {Json | null} after
 * @returns {Field}
 */
function compare(key, path, indexed, before, after) {
  /** @type {Field} */
  const field = { key, path, indexed, what: "same", before, after, fields: [] };
  if (!before || !after) {
    field.what = before ? "removed" : after ? "added" : "same";
  } else if (!same(before, after)) {
    field.what = "changed";
    if (before.kind === after.kind && before.kind === "object") field.fields = compareMembers(path, before, after);
    else if (before.kind === after.kind && before.kind === "array") field.fields = compareItems(path, before, after);
  }
  return field;
}

/**
 * @param {string} path
 * @param {Json} before
 * @param {Json} after
 * @returns {Field[]}
 */
function compareMembers(path, before, after) {
  const old = membersOf(before);
  const now = membersOf(after);
  const fields = [];
  for (const [name, value] of now) {
    fields.push(compare(name, `${path}/${escapeKey(name)}`, false, old.get(name) ?? null, value));
  }
  // What was removed stands where it stood: behind the member that came before it.
  let place = 0;
  for (const [name, value] of old) {
    const still = fields.findIndex((field) => field.key === name);
    if (still >= 0) place = still + 1;
    else fields.splice(place++, 0, compare(name, `${path}/${escapeKey(name)}`, false, value, null));
  }
  return fields;
}

/**
 * @param {string} path
 * @param {Json} before
 * @param {Json} after
 * @returns {Field[]}
 */
function compareItems(path, before, after) {
  const old = before.items;
  const now = after.items;
  /** @type {Field[]} */
  const fields = [];
  let i = 0;
  let j = 0;
  /** @param {boolean} was @param {boolean} is */
  const push = (was, is) => {
    const key = String(is ? j : i);
    fields.push(compare(key, `${path}/${key}`, true, was ? old[i++] : null, is ? now[j++] : null));
  };
  for (const [nextI, nextJ] of [...matches(old, now), [old.length, now.length]]) {
    while (i < nextI && j < nextJ) {
      const [left, right] = [nextI - i, nextJ - j];
      if (left === right || alike(old[i], now[j])) push(true, true);
      else push(left > right, left < right);
    }
    while (i < nextI) push(true, false);
    while (j < nextJ) push(false, true);
    if (i < old.length) push(true, true);
  }
  return fields;
}

/**
 * Whether two items are probably one thing: both containers of a kind, or of objects those that agree on what names
 * them.
 * @param {Json} a
 * @param {Json} b
 * @returns {boolean}
 */
function alike(a, b) {
  if (a.kind !== b.kind) return false;
  if (a.kind !== "object") return a.kind === "array";
  const others = membersOf(b);
  for (const [name, value] of membersOf(a)) {
    const other = others.get(name);
    if (/^(id|key|name|step|uuid)$/i.test(name)) return other !== undefined && same(value, other);
  }
  return true;
}

/**
 * Pairs of indexes of a longest common subsequence.
 * @param {Json[]} old
 * @param {Json[]} now
 * @returns {[number, number][]}
 */
function matches(old, now) {
  const ids = new Map();
  const [a, b] = [old, now].map((items) => items.map((item) => identity(item, ids)));
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  /** @type {[number, number][]} */
  const pairs = [];
  for (let k = 0; k < start; k++) pairs.push([k, k]);
  const rows = a.length - start - end;
  const columns = b.length - start - end;
  if (rows * columns <= MOST_CELLS) pairs.push(...middle(a, b, start, rows, columns));
  for (let k = end; k > 0; k--) pairs.push([a.length - k, b.length - k]);
  return pairs;
}

/**
 * A number for each different value, so that the table compares numbers.
 * @param {Json} item
 * @param {Map<string, number>} ids
 * @returns {number}
 */
function identity(item, ids) {
  const text = canonical(item);
  const known = ids.get(text);
  if (known !== undefined) return known;
  ids.set(text, ids.size);
  return ids.size - 1;
}

/**
 * The same text for what is the same value.
 * @param {Json} json
 * @returns {string}
 */
function canonical(json) {
  if (json.kind === "array") return `[${json.items.map(canonical).join(",")}]`;
  if (json.kind === "string") return JSON.stringify(plain(json));
  if (json.kind !== "object") return raw(json);
  const members = [...membersOf(json)].sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, value]) => `${JSON.stringify(name)}:${canonical(value)}`).join(",")}}`;
}

/**
 * @param {number[]} a
 * @param {number[]} b
 * @param {number} start
 * @param {number} rows
 * @param {number} columns
 * @returns {[number, number][]}
 */
function middle(a, b, start, rows, columns) {
  const width = columns + 1;
  const table = new Uint32Array((rows + 1) * width); // length of the best of what begins at row, column
  for (let i = rows - 1; i >= 0; i--) {
    for (let j = columns - 1; j >= 0; j--) {
      table[i * width + j] =
        a[start + i] === b[start + j]
          ? table[(i + 1) * width + j + 1] + 1
          : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  /** @type {[number, number][]} */
  const pairs = [];
  let [i, j] = [0, 0];
  while (i < rows && j < columns) {
    if (a[start + i] === b[start + j]) pairs.push([start + i++, start + j++]);
    else if (table[(i + 1) * width + j] >= table[i * width + j + 1]) i++;
    else j++;
  }
  return pairs;
}

/** @param {Field} field @param {number} most @param {Field[]} found */
function gather(field, most, found) {
  if (found.length >= most || field.what === "same") return;
  if (field.fields.length === 0) found.push(field);
  else for (const inner of field.fields) gather(inner, most, found);
}

/** @param {string} text @param {number} at @returns {boolean} */
function isHigh(text, at) {
  const code = text.charCodeAt(at);
  return code >= 0xd800 && code < 0xdc00;
}

/** @param {string} text @param {number} at @returns {boolean} */
function isLow(text, at) {
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code < 0xe000;
}
