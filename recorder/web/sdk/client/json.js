/**
 * JSON texts, exactly: the text of a member as it stands, and values whose numbers are kept digit by digit.
 *
 * Everything here is given text that `JSON.parse` has taken, so it looks for ends and not for faults.
 */

const SPACE = /[ \t\r\n]*/y;
const [QUOTE, BACKSLASH, COMMA] = [34, 92, 44];
const [OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [91, 93, 123, 125];

/** A number that a JavaScript number would not spell the same: too long, too precise, or written another way. */
export class ExactNumber {
  /** @param {string} text As it was published. */
  constructor(text) {
    /** As it was published. */
    this.text = text;
    Object.freeze(this);
  }

  toString() {
    return this.text;
  }

  valueOf() {
    return Number(this.text);
  }

  toJSON() {
    return Number(this.text);
  }
}

/**
 * @param {string} text
 * @param {number} start
 * @returns {number} The first place from there on that is no white space.
 */
export function skipSpace(text, start) {
  SPACE.lastIndex = start;
  SPACE.test(text);
  return SPACE.lastIndex;
}

/**
 * @param {string} text
 * @param {number} start The opening quote of a string.
 * @returns {number} Behind the closing one.
 */
export function stringEnd(text, start) {
  let at = start;
  for (;;) {
    at = text.indexOf('"', at + 1);
    if (at < 0) throw new SyntaxError(`not JSON: the string at character ${start} has no end`);
    let escapes = at;
    while (text.charCodeAt(escapes - 1) === BACKSLASH) escapes--;
    if ((at - escapes) % 2 === 0) return at + 1;
  }
}

/**
 * @param {string} text
 * @param {number} start The first character of a value.
 * @returns {number} Behind its last one.
 */
function valueEnd(text, start) {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return stringEnd(text, start);
  if (first !== OPEN && first !== OPEN_LIST) return scalarEnd(text, start);
  let depth = 0;
  // By character codes, since every delta that is looked at exactly goes through here.
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = stringEnd(text, at) - 1;
    else if (code === OPEN || code === OPEN_LIST) depth++;
    else if ((code === CLOSE || code === CLOSE_LIST) && --depth === 0) return at + 1;
  }
  throw new SyntaxError(`not JSON: what begins at character ${start} has no end`);
}

/**
 * @param {string} text
 * @param {number} start The first character of a number, of `true`, `false` or `null`.
 * @returns {number} Behind its last one.
 */
function scalarEnd(text, start) {
  let at = start;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === COMMA || code === CLOSE || code === CLOSE_LIST || code <= 32) break;
    at++;
  }
  if (at === start) throw new SyntaxError(`not JSON: a value is missing at character ${start}`);
  return at;
}

/**
 * The members of an object.
 *
 * @param {string} text
 * @returns {Generator<[string, string]>} Names, and the texts of their values as they stand.
 */
export function* members(text) {
  let at = skipSpace(text, skipSpace(text, 0) + 1);
  while (text[at] !== "}") {
    const nameEnd = stringEnd(text, at);
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = valueEnd(text, start);
    yield [JSON.parse(text.slice(at, nameEnd)), text.slice(start, end)];
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
}

/**
 * The text of a member; of a name given twice the last one counts.
 *
 * @param {string} text Of an object.
 * @param {string} wanted
 * @returns {string | undefined}
 */
export function member(text, wanted) {
  let found;
  for (const [name, value] of members(text)) if (name === wanted) found = value;
  return found;
}

/**
 * The elements of an array.
 *
 * @param {string} text
 * @returns {Generator<string>} Their texts, as they stand.
 */
export function* elements(text) {
  let at = skipSpace(text, skipSpace(text, 0) + 1);
  while (text[at] !== "]") {
    const end = valueEnd(text, at);
    yield text.slice(at, end);
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
}

/**
 * What `JSON.parse` gives, but for numbers that it would change: these become `ExactNumber`s.
 *
 * @param {string} text
 * @returns {any}
 * @throws {SyntaxError} It is not JSON.
 */
export function parseExact(text) {
  JSON.parse(text); // the judge of what is JSON; what follows relies on it
  return new Reader(text).value();
}

/** Reads values off a text, in one pass. */
class Reader {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0; // the next character
  }

  /** @returns {any} */
  value() {
    this.space();
    const first = this.text[this.at];
    if (first === "{") return this.object();
    if (first === "[") return this.array();
    const start = this.at;
    this.at = valueEnd(this.text, start);
    const spelled = this.text.slice(start, this.at);
    const value = JSON.parse(spelled);
    return typeof value !== "number" || String(value) === spelled ? value : new ExactNumber(spelled);
  }

  /** @returns {any[]} */
  array() {
    const found = [];
    while (this.more("]")) found.push(this.value());
    return found;
  }

  /** @returns {Record<string, any>} */
  object() {
    const found = {};
    while (this.more("}")) {
      const name = this.value();
      this.space();
      this.at++; // the colon
      // Not assigned: `__proto__` is a name like any other here.
      const value = this.value();
      Object.defineProperty(found, name, { value, writable: true, enumerable: true, configurable: true });
    }
    return found;
  }

  /**
   * Step over the opening bracket or a comma; or over the closing bracket, which is the end.
   *
   * @param {string} closing
   */
  more(closing) {
    this.space();
    if (this.text[this.at] !== closing) this.at++;
    this.space();
    if (this.text[this.at] !== closing) return true;
    this.at++;
    return false;
  }

  space() {
    this.at = skipSpace(this.text, this.at);
  }
}
