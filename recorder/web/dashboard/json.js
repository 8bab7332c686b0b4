/**
 * JSON, read exactly: numbers keep their text, members their order, and every value knows where it stands.
 *
 * `JSON.parse` would round an integer of 30 digits and make an object of members whose names are data (`__proto__`).
 * Here a value is a node that points into the text it was read from, so that what is shown, compared and copied is what
 * was sent, byte for byte. The text is trusted to be JSON (the recorder checked it); what is not raises a SyntaxError.
 * Strings and white space are cut as the client cuts them.
 */

import { skipSpace, stringEnd } from "../client/json.js";

/**
 * A value. `items` are an array's values, or the values of an object's members, whose names are `names`.
 * @typedef {object} Json
 * @property {"object" | "array" | "string" | "number" | "true" | "false" | "null"} kind
 * @property {string} text The text that it is part of.
 * @property {number} start Where it begins.
 * @property {number} end Where it ends.
 * @property {Json[]} items
 * @property {string[]} names
 */

/** @type {never[]} */
const NONE = [];
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * Read a text.
 * @param {string} text
 * @returns {Json}
 * @throws {SyntaxError}
 */
export function parse(text) {
  const reader = new Reader(text);
  const value = reader.value();
  reader.space();
  if (reader.at !== text.length) throw reader.wrong();
  return value;
}

/**
 * The exact text of a value.
 * @param {Json} json
 * @returns {string}
 */
export function raw(json) {
  return json.text.slice(json.start, json.end);
}

/**
 * What a string says; of anything else its text.
 * @param {Json} json
 * @returns {string}
 */
export function plain(json) {
  return json.kind === "string" ? JSON.parse(raw(json)) : raw(json);
}

/**
 * A member of an object. Of a name given twice the last one counts.
 * @param {Json | null | undefined} json
 * @param {string} name
 * @returns {Json | null}
 */
export function member(json, name) {
  if (!json || json.kind !== "object") return null;
  const index = json.names.lastIndexOf(name);
  return index < 0 ? null : json.items[index];
}

/**
 * The number that a member is, if it is one that a double holds.
 * @param {Json | null} json
 * @param {string} name
 * @returns {number | null}
 */
export function numberAt(json, name) {
  const found = member(json, name);
  return found && found.kind === "number" ? Number(raw(found)) : null;
}

/**
 * The string that a member is.
 * @param {Json | null} json
 * @param {string} name
 * @returns {string | null}
 */
export function stringAt(json, name) {
  const found = member(json, name);
  return found && found.kind === "string" ? plain(found) : null;
}

/**
 * Whether two values are the same one: the same text but for space between tokens and the order of members.
 * Numbers are compared as they are written: 1.0 is not 1, for the bytes differ.
 * @param {Json} a
 * @param {Json} b
 * @returns {boolean}
 */
export function same(a, b) {
  if (a.kind !== b.kind) return false;
  if (a.end - a.start === b.end - b.start && raw(a) === raw(b)) return true;
  if (a.kind === "string") return plain(a) === plain(b);
  if (a.items.length !== b.items.length) return false;
  if (a.kind === "array") return a.items.every((item, index) => same(item, b.items[index]));
  if (a.kind !== "object") return false;
  const others = membersOf(b);
  const own = membersOf(a);
  if (own.size !== others.size) return false;
  for (const [name, value] of own) {
    const other = others.get(name);
    if (!other || !same(value, other)) return false;
  }
  return true;
}

/**
 * The members of an object by name, in the order of their first appearance.
 * @param {Json} json
 * @returns {Map<string, Json>}
 */
export function membersOf(json) {
  const found = new Map();
  json.names.forEach((name, index) => found.set(name, json.items[index]));
  return found;
}

/**
 * A value laid out for people, its numbers and strings as they were sent.
 * @param {Json} json
 * @param {string} [indent]
 * @returns {string}
 */
export function pretty(json, indent = "") {
  const deeper = `${indent}  `;
  if (json.items.length === 0) return json.kind === "object" ? "{}" : json.kind === "array" ? "[]" : raw(json);
  const inner = json.items.map((item, index) => {
    const name = json.kind === "object" ? `${JSON.stringify(json.names[index])}: ` : "";
    return `${deeper}${name}${pretty(item, deeper)}`;
  });
  const [open, close] = json.kind === "object" ? "{}" : "[]";
  return `${open}\n${inner.join(",\n")}\n${indent}${close}`;
}

class Reader {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0; // everything before this has been read
  }

  /** @returns {Json} */
  value() {
    this.space();
    const start = this.at;
    switch (this.text[start]) {
      case "{":
        return this.object(start);
      case "[":
        return this.array(start);
      case '"':
        this.string();
        return this.node("string", start);
      case "t":
        return this.word("true", start);
      case "f":
        return this.word("false", start);
      case "n":
        return this.word("null", start);
      default:
        return this.number(start);
    }
  }

  space() {
    this.at = skipSpace(this.text, this.at);
  }

  /** @returns {SyntaxError} */
  wrong() {
    return new SyntaxError(`not JSON at character ${this.at}`);
  }

  /**
   * @param {Json["kind"]} kind
   * @param {number} start
   * @param {Json[]} [items]
   * @param {string[]} [names]
   * @returns {Json}
   */
  node(kind, start, items = NONE, names = NONE) {
    return { kind, text: this.text, start, end: this.at, items, names };
  }

  /** @param {number} start @returns {Json} */
  object(start) {
    /** @type {Json[]} */
    const items = [];
    /** @type {string[]} */
    const names = [];
    this.at++;
    this.space();
    while (this.text[this.at] !== "}") {
      if (items.length) this.expect(",");
      this.space();
      names.push(this.string());
      this.space();
      this.expect(":");
      items.push(this.value());
      this.space();
    }
    this.at++;
    return this.node("object", start, items, names);
  }

  /** @param {number} start @returns {Json} */
  array(start) {
    /** @type {Json[]} */
    const items = [];
    this.at++;
    this.space();
    while (this.text[this.at] !== "]") {
      if (items.length) this.expect(",");
      items.push(this.value());
      this.space();
    }
    this.at++;
    return this.node("array", start, items);
  }

  /** @param {string} wanted */
  expect(wanted) {
    if (this.text[this.at] !== wanted) throw this.wrong();
    this.at++;
  }

  /** @returns {string} */
  string() {
    const start = this.at;
    if (this.text[start] !== '"') throw this.wrong();
    this.at = stringEnd(this.text, start);
    return JSON.parse(this.text.slice(start, this.at));
  }

  /** @param {"true" | "false" | "null"} word @param {number} start @returns {Json} */
  word(word, start) {
    if (!this.text.startsWith(word, start)) throw this.wrong();
    this.at += word.length;
    return this.node(word, start);
  }

  /** @param {number} start @returns {Json} */
  number(start) {
    NUMBER.lastIndex = start;
    if (!NUMBER.test(this.text)) throw this.wrong();
    this.at = NUMBER.lastIndex;
    return this.node("number", start);
  }
}
