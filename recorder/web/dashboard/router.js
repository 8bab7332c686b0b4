/**
 * The view that an address names. An address is the part of the page's URL behind `#`.
 *
 *     #/                          the live view
 *     #/session/ID?at=SEQ         a session at a delta; without `at` at its last delta
 *     #/integrity                 durability, snapshots and the hash chain; `#/trust` is its old address
 */

/**
 * @typedef {{view: "live" | "integrity"} | {view: "session", id: string, at: number | null}} Route
 */

/**
 * @param {string} hash
 * @returns {Route} `live` where the address names no view.
 */
export function parseRoute(hash) {
  const [path, query = ""] = split(hash.replace(/^#/, ""), "?");
  if (path === "/integrity" || path === "/trust") return { view: "integrity" };
  if (path.startsWith("/session/")) {
    const id = decode(path.slice("/session/".length));
    const at = new URLSearchParams(query).get("at");
    if (id) return { view: "session", id, at: at !== null && /^\d{1,15}$/.test(at) ? Number(at) : null };
  }
  return { view: "live" };
}

/**
 * Return the address of a session.
 * @param {string} id
 * @param {number | null} [at]
 * @returns {string}
 */
export function sessionAddress(id, at = null) {
  return `#/session/${encode(id)}${at === null ? "" : `?at=${at}`}`;
}

/**
 * Encode a session's id for a URL. A lone surrogate, which no URL can carry, becomes U+FFFD.
 * @param {string} id
 * @returns {string}
 */
export function encode(id) {
  return encodeURIComponent(id.toWellFormed());
}

/** @param {string} text @param {string} mark @returns {[string, string?]} */
function split(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** @param {string} text @returns {string} `""` where `encode` cannot have made it. */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
