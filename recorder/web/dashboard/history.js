/** Pages of history, read exactly: what `api/deltas` answers, as entries. */

import { member, parse, raw, stringAt } from "./json.js";

/** @typedef {import("./event-log.js").Entry} Entry */

/**
 * An entry of a page of history.
 * @param {import("./json.js").Json} item
 * @returns {Entry}
 */
export function entryOf(item) {
  const delta = member(item, "delta");
  return {
    seq: Number(raw(item.items[0])),
    at: stringAt(item, "recordedAt") ?? "",
    happened: stringAt(delta, "timestamp") ?? "",
    type: stringAt(delta, "type") ?? "",
    session: stringAt(delta, "sessionId") ?? "",
    broken: member(item, "lineage") !== null,
    erased: member(item, "erased") !== null,
    text: raw(item),
  };
}

/**
 * A page of history.
 * @param {import("./api.js").Api} api
 * @param {string} path `api/deltas` or that of a session.
 * @param {Record<string, string | number>} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<{epoch: string, entries: Entry[], more: boolean}>} Entries oldest first, whatever was asked.
 */
export async function readPage(api, path, query, signal) {
  const asked = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  const page = parse(await api.text(`${path}?${asked}`, signal));
  const entries = (member(page, "deltas")?.items ?? []).map(entryOf);
  if (query.order !== "asc") entries.reverse();
  return { epoch: stringAt(page, "epoch") ?? "", entries, more: member(page, "next")?.kind === "string" };
}
