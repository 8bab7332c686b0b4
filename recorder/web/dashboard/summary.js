/** A delta in one line: what changed, in the words of its own fields. */

import { count } from "./format.js";
import { member, numberAt, parse, plain, raw, stringAt } from "./json.js";
import { changes, diff } from "./diff.js";

/** @typedef {import("./json.js").Json} Json */

const MOST_CHANGES = 3;
const MOST_VALUE = 48;
/** The name of a member whose name is empty, as people see it. */
export const NO_NAME = '""';

/**
 * An entry of history or a delta event, read.
 * @typedef {object} Parts
 * @property {number} seq
 * @property {string} recordedAt
 * @property {string | null} hash
 * @property {boolean} broken
 * @property {boolean} filled Whether the recorder filled in `before`.
 * @property {{before: string | null, after: string | null} | null} erased Digests of what was erased.
 * @property {string} type
 * @property {string} session
 * @property {string} timestamp
 * @property {string | null} id
 * @property {string | null} idDigest
 * @property {Json | null} before
 * @property {Json | null} after
 */

/**
 * The parts of an entry.
 * @param {Json} item
 * @returns {Parts}
 */
export function partsOf(item) {
  const delta = member(item, "delta");
  const erased = member(item, "erased");
  return {
    seq: numberAt(item, "seq") ?? 0,
    recordedAt: stringAt(item, "recordedAt") ?? "",
    hash: stringAt(item, "hash"),
    broken: stringAt(item, "lineage") === "broken",
    filled: member(item, "beforeFilled")?.kind === "true",
    erased: erased && { before: stringAt(erased, "before"), after: stringAt(erased, "after") },
    type: stringAt(delta, "type") ?? "",
    session: stringAt(delta, "sessionId") ?? "",
    timestamp: stringAt(delta, "timestamp") ?? "",
    id: stringAt(delta, "id"),
    idDigest: stringAt(item, "idDigest"),
    before: present(member(delta, "before")),
    after: present(member(delta, "after")),
  };
}

/**
 * What an entry says, in one line.
 * @param {string} text Its JSON text.
 * @returns {string}
 */
export function summaryOf(text) {
  return summarise(partsOf(parse(text)));
}

/**
 * The same, of an entry that has been read.
 * @param {Parts} parts
 * @returns {string}
 */
export function summarise(parts) {
  if (parts.erased) return "erased";
  if (parts.type === "deleted") return "deleted";
  if (!parts.before || parts.type === "created") return parts.after ? outline(parts.after) : "";
  const found = changes(diff(parts.before, parts.after), 200);
  if (found.length === 0) return "nothing changed";
  // What counts up with every step says least.
  const counters = found.filter(isCounter);
  const told = [...found.filter((field) => !isCounter(field)), ...counters].slice(0, MOST_CHANGES).map(changeInWords);
  const rest = found.length - told.length;
  return rest > 0 ? `${told.join(" · ")} · ${count(rest)} more` : told.join(" · ");
}

/**
 * A value in a few words.
 * @param {Json} json
 * @returns {string}
 */
export function outline(json) {
  if (json.kind === "array") return json.items.length === 1 ? "[1 item]" : `[${count(json.items.length)} items]`;
  if (json.kind !== "object") return short(json);
  if (json.items.length === 0) return "{}";
  const told = json.names.slice(0, 4).map((name, index) => {
    const value = json.items[index];
    const said = value.items.length === 0 ? short(value) : value.kind === "array" ? "[…]" : "{…}";
    return `${name || NO_NAME}: ${said}`;
  });
  return told.join(" · ") + (json.names.length > 4 ? ` · ${count(json.names.length - 4)} more` : "");
}

/**
 * A value that is no longer than a few words.
 * @param {Json} json
 * @returns {string}
 */
export function short(json) {
  if (json.items.length > 0) return outline(json);
  const text = (json.kind === "string" ? plain(json) : raw(json)).replace(/\s+/g, " ");
  return text.length > MOST_VALUE ? `${text.slice(0, MOST_VALUE - 1)}…` : text || '""';
}

/**
 * A JSON pointer as people write paths: plan[3].status.
 * @param {string} pointer
 * @returns {string}
 */
export function pathInWords(pointer) {
  return pointer
    .split("/")
    .slice(1)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~") || NO_NAME)
    .reduce((path, key) => (/^\d+$/.test(key) ? `${path}[${key}]` : path ? `${path}.${key}` : key), "");
}

/** @param {import("./diff.js").Field} field @returns {boolean} Whether a number became another one. */
function isCounter(field) {
  return field.before?.kind === "number" && field.after?.kind === "number";
}

/** @param {import("./diff.js").Field} field @returns {string} */
function changeInWords(field) {
  const path = pathInWords(field.path);
  const name = path ? `${path}: ` : "";
  if (field.what === "added" && field.after) return `+ ${name}${short(field.after)}`;
  if (field.what === "removed") return `− ${path || "everything"}`;
  return `${name}${field.before ? short(field.before) : ""} → ${field.after ? short(field.after) : ""}`;
}

/** @param {Json | null} json @returns {Json | null} `null` is the same as absent. */
function present(json) {
  return json && json.kind !== "null" ? json : null;
}
