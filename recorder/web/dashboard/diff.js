/**
 * The structural difference of two values: a tree of fields, each the same, changed, added or removed.
 *
 * Members are matched by name. Items of arrays are matched by a longest common subsequence, so that an item inserted in
 * front does not make all items after it look changed. The items between two matches are compared in pairs, so that an
 * item of which one field changed shows that field. Numbers and strings are compared as they were written.
 *
 * The cost grows with the size of both values, not with their depth: each value gets a number once, equal values get the
 * same one (`Numbers`), and all comparisons of a difference share a budget of table cells (`MOST_CELLS`). Where that is
 * spent, items are compared by index.
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

const MOST_CELLS = 1 << 21;

/**
 * Compare two values; null means that there is none.
 * @param {Json | null} before
 * @param {Json | null} after
 * @returns {Field}
 */
export function diff(before, after) {
  return new Comparison().compare("", "", false, before, after);
}

/**
 * List the fields that differ, in order: whole fields that were added or removed, and fields with another value.
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
 * Find where two texts differ: how many characters they share at the beginning and at the end.
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
 * Escape a key for a JSON pointer.
 * @param {string | number} key
 * @returns {string}
 */
export function escapeKey(key) {
  return String(key).replaceAll("~", "~0").replaceAll("/", "~1");
}

/** One difference: the numbers of its values, and what is left of its budget. */
class Comparison {
  constructor() {
    this.numbers = new Numbers();
    this.cells = MOST_CELLS; // of tables, that may still be filled
  }

  /**
   * @param {string} key
   * @param {string} path
   * @param {boolean} indexed
   * @param {Json | null} before
   * @param {Json | null} after
   * @returns {Field}
   */
  compare(key, path, indexed, before, after) {
    /** @type {Field} */
    const field = { key, path, indexed, what: "same", before, after, fields: [] };
    if (!before || !after) {
      field.what = before ? "removed" : after ? "added" : "same";
    } else if (!this.isSame(before, after)) {
      field.what = "changed";
      if (before.kind === after.kind && before.kind === "object") field.fields = this.compareMembers(path, before, after);
      else if (before.kind === after.kind && before.kind === "array") field.fields = this.compareItems(path, before, after);
    }
    return field;
  }

  /** @param {Json} a @param {Json} b @returns {boolean} */
  isSame(a, b) {
    // Values without others in them are compared as they are, each once.
    if (a.items.length === 0 || b.items.length === 0) return same(a, b);
    return a.kind === b.kind && this.numbers.of(a) === this.numbers.of(b);
  }

  /**
   * @param {string} path
   * @param {Json} before
   * @param {Json} after
   * @returns {Field[]}
   */
  compareMembers(path, before, after) {
    const old = membersOf(before);
    const now = membersOf(after);
    const compare = (/** @type {string} */ name) =>
      this.compare(name, `${path}/${escapeKey(name)}`, false, old.get(name) ?? null, now.get(name) ?? null);
    // A removed member stands where it stood: after the member that came before it.
    /** @type {Map<string | null, Field[]>} */
    const removed = new Map();
    /** @type {string | null} */
    let last = null;
    for (const name of old.keys()) {
      if (now.has(name)) last = name;
      else if (removed.has(last)) removed.get(last)?.push(compare(name));
      else removed.set(last, [compare(name)]);
    }
    const fields = removed.get(null) ?? [];
    for (const name of now.keys()) {
      fields.push(compare(name));
      for (const field of removed.get(name) ?? []) fields.push(field);
    }
    return fields;
  }

  /**
   * @param {string} path
   * @param {Json} before
   * @param {Json} after
   * @returns {Field[]}
   */
  compareItems(path, before, after) {
    const old = before.items;
    const now = after.items;
    /** @type {Field[]} */
    const fields = [];
    let i = 0;
    let j = 0;
    /** @param {boolean} was @param {boolean} is */
    const push = (was, is) => {
      const key = String(is ? j : i);
      fields.push(this.compare(key, `${path}/${key}`, true, was ? old[i++] : null, is ? now[j++] : null));
    };
    for (const [nextI, nextJ] of [...this.matches(old, now), [old.length, now.length]]) {
      while (i < nextI && j < nextJ) {
        const [left, right] = [nextI - i, nextJ - j];
        if (left === right || this.areAlike(old[i], now[j])) push(true, true);
        else push(left > right, left < right);
      }
      while (i < nextI) push(true, false);
      while (j < nextJ) push(false, true);
      if (i < old.length) push(true, true);
    }
    return fields;
  }

  /**
   * Whether two items are probably versions of one thing: both arrays, or objects with the same id, key, name or step.
   * @param {Json} a
   * @param {Json} b
   * @returns {boolean}
   */
  areAlike(a, b) {
    if (a.kind !== b.kind) return false;
    if (a.kind !== "object") return a.kind === "array";
    const others = membersOf(b);
    for (const [name, value] of membersOf(a)) {
      const other = others.get(name);
      if (/^(id|key|name|step|uuid)$/i.test(name)) return other !== undefined && this.isSame(value, other);
    }
    return true;
  }

  /**
   * Find pairs of indexes of a longest common subsequence.
   * @param {Json[]} old
   * @param {Json[]} now
   * @returns {[number, number][]}
   */
  matches(old, now) {
    const [a, b] = [old, now].map((items) => items.map((item) => this.numbers.of(item)));
    let start = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start++;
    let end = 0;
    while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
    /** @type {[number, number][]} */
    const pairs = [];
    for (let k = 0; k < start; k++) pairs.push([k, k]);
    const rows = a.length - start - end;
    const columns = b.length - start - end;
    if (rows * columns <= this.cells) {
      this.cells -= rows * columns;
      for (const pair of middle(a, b, start, rows, columns)) pairs.push(pair);
    }
    for (let k = end; k > 0; k--) pairs.push([a.length - k, b.length - k]);
    return pairs;
  }
}

/** Numbers of values: equal values have the same one. Each value is looked at once, however deep it lies. */
class Numbers {
  constructor() {
    /** @type {Map<string, number>} */
    this.byText = new Map(); // by kind and content, where what a value contains is told by numbers
    /** @type {Map<Json, number>} */
    this.known = new Map();
  }

  /**
   * @param {Json} json
   * @returns {number}
   */
  of(json) {
    const known = this.known.get(json);
    if (known !== undefined) return known;
    const text = this.textOf(json);
    const number = this.byText.get(text) ?? this.byText.size;
    this.byText.set(text, number);
    this.known.set(json, number);
    return number;
  }

  /** @param {Json} json @returns {string} The same text for equal values. */
  textOf(json) {
    if (json.kind === "array") return `[${json.items.map((item) => this.of(item)).join(",")}]`;
    if (json.kind === "string") return JSON.stringify(plain(json));
    if (json.kind !== "object") return raw(json);
    const members = [...membersOf(json)].sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, value]) => `${JSON.stringify(name)}:${this.of(value)}`).join(",")}}`;
  }
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
  const table = new Uint32Array((rows + 1) * width); // length of the longest subsequence from row, column on
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
