/**
 * JSON texts, exactly: the text of a member as it stands, and values whose numbers are kept digit by digit.
 *
 * Everything here is given text that `JSON.parse` has taken, so it looks for ends and not for faults.
 */

/** A string, or what is neither a string nor a bracket; sticky, from a place outside any string. */
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;
const PLAIN = /[^"[\]{}]+/y;
const SCALAR = /[^,\]}\s]+/y;
const SPACE = /[ \t\r\n]*/y;

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
 * @param {RegExp} pattern Sticky.
 * @param {string} text
 * @param {number} start
 * @returns {number} Where what the pattern takes ends.
 */
function after(pattern, text, start) {
  pattern.lastIndex = start;
  if (!pattern.test(text)) throw new SyntaxError(`not JSON at character ${start}`);
  return pattern.lastIndex;
}

/**
 * @param {string} text
 * @param {number} start The first character of a value.
 * @returns {number} Behind its last one.
 */
function valueEnd(text, start) {
  const first = text[start];
  if (first === '"') return after(STRING, text, start);
  if (first !== "{" && first !== "[") return after(SCALAR, text, start);
  let depth = 0;
  let at = start;
  do {
    const char = text[at];
    if (char === '"') at = after(STRING, text, at);
    else if (char === "{" || char === "[") depth++, at++;
    else if (char === "}" || char === "]") depth--, at++;
    else at = after(PLAIN, text, at);
  } while (depth > 0);
  return at;
}

/**
 * The members of an object.
 *
 * @param {string} text
 * @returns {Generator<[string, string]>} Names, and the texts of their values as they stand.
 */
export function* members(text) {
  let at = after(SPACE, text, after(SPACE, text, 0) + 1);
  while (text[at] !== "}") {
    const nameEnd = after(STRING, text, at);
    const start = after(SPACE, text, after(SPACE, text, nameEnd) + 1);
    const end = valueEnd(text, start);
    yield [JSON.parse(text.slice(at, nameEnd)), text.slice(start, end)];
    at = after(SPACE, text, end);
    if (text[at] === ",") at = after(SPACE, text, at + 1);
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
  let at = after(SPACE, text, after(SPACE, text, 0) + 1);
  while (text[at] !== "]") {
    const end = valueEnd(text, at);
    yield text.slice(at, end);
    at = after(SPACE, text, end);
    if (text[at] === ",") at = after(SPACE, text, at + 1);
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
    this.at = after(SPACE, this.text, this.at);
  }
}
