/**
 * What a delta changed, and a delta in one line.
 *
 * What a delta changed is the difference between the state that was recorded last of its session and the state after it.
 * That is one definition for the whole recorder: the page, `diff` and `blame` show the same. The `before` that was sent
 * is that state too, unless the lineage is broken.
 */

import { clip, count, size } from "./format.js";
import { member, numberAt, parse, plain, raw, stringAt } from "./json.js";
import { changes, diff } from "./diff.js";

/** @typedef {import("./json.js").Json} Json */

const MOST_CHANGES = 3;
const MOST_VALUE = 48;
const MOST_PATH = 80;
const MOST_READ = 500; // characters of a value that are looked at for a few words
const MOST_TEXT = 300_000; // characters of a delta that is summarised; of a longer one only its size is shown
/** The name that is shown for a member whose name is empty. */
export const NO_NAME = '""';

/**
 * An entry of history or a delta event, read.
 * @typedef {object} Parts
 * @property {number} seq
 * @property {string} recordedAt
 * @property {string | null} hash
 * @property {boolean} broken
 * @property {boolean} filled Whether the recorder has filled `before` in.
 * @property {{before: string | null, after: string | null} | null} erased Digests of the erased states.
 * @property {string} type
 * @property {string} session
 * @property {string} timestamp
 * @property {string | null} id
 * @property {string | null} idDigest
 * @property {Json | null} before
 * @property {Json | null} after
 */

/**
 * Return the parts of an entry.
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
 * Return the state that was recorded last before a delta: what it changed is the difference to its own state.
 * @param {Parts} parts
 * @param {Parts | null} previous The session's delta before it, if it is known.
 * @returns {{known: boolean, state: Json | null}} Not known where the lineage is broken and the delta before is not held.
 */
export function recordedBefore(parts, previous) {
  if (!parts.broken) return { known: true, state: parts.before };
  if (!previous || previous.erased) return { known: false, state: null };
  return { known: true, state: previous.after };
}

/**
 * Summarise an entry in one line.
 * @param {string} text Its JSON text.
 * @param {() => string | null} [previous] Gives the JSON text of the session's entry before it, null where it is not
 *   known. Called only where the lineage is broken.
 * @returns {string}
 */
export function summaryOf(text, previous = () => null) {
  if (text.length > MOST_TEXT) return `a delta of ${size(text.length)}`;
  const parts = partsOf(parse(text));
  const before = parts.broken ? previous() : null;
  return summarise(parts, before === null || before.length > MOST_TEXT ? null : partsOf(parse(before)));
}

/**
 * Summarise an entry that was parsed.
 * @param {Parts} parts
 * @param {Parts | null} [previous]
 * @returns {string}
 */
export function summarise(parts, previous = null) {
  if (parts.erased) return "erased";
  if (parts.type === "deleted") return "deleted";
  const { state } = recordedBefore(parts, previous);
  if (!state) return parts.after ? outline(parts.after) : "";
  const found = changes(diff(state, parts.after), 200);
  if (found.length === 0) return "nothing changed";
  // Counters change with each delta: they come last.
  const counters = found.filter(isCounter);
  const told = [...found.filter((field) => !isCounter(field)), ...counters].slice(0, MOST_CHANGES).map(changeInWords);
  const rest = found.length - told.length;
  return rest > 0 ? `${told.join(" · ")} · ${count(rest)} more` : told.join(" · ");
}

/**
 * Describe a value in a few words.
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
    return `${clip(name, MOST_VALUE) || NO_NAME}: ${said}`;
  });
  return told.join(" · ") + (json.names.length > 4 ? ` · ${count(json.names.length - 4)} more` : "");
}

/**
 * Return a value without fields as text, shortened to a few words.
 * @param {Json} json
 * @returns {string}
 */
export function short(json) {
  if (json.items.length > 0) return outline(json);
  const text = (json.kind === "string" ? plain(json) : raw(json)).slice(0, MOST_READ).replace(/\s+/g, " ");
  return text.length > MOST_VALUE ? `${text.slice(0, MOST_VALUE - 1)}…` : text || '""';
}

/**
 * Write a JSON pointer as people write paths: plan[3].status.
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
  const path = clip(pathInWords(field.path.slice(0, MOST_READ)), MOST_PATH);
  const name = path ? `${path}: ` : "";
  if (field.what === "added" && field.after) return `+ ${name}${short(field.after)}`;
  if (field.what === "removed") return `− ${path || "everything"}`;
  return `${name}${field.before ? short(field.before) : ""} → ${field.after ? short(field.after) : ""}`;
}

/** @param {Json | null} json @returns {Json | null} `null` is the same as absent. */
function present(json) {
  return json && json.kind !== "null" ? json : null;
}
