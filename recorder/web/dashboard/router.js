/**
 * Which view an address names: the part of the page's URL behind `#`.
 *
 *     #/                          now
 *     #/session/ID?at=SEQ         a session, as of a delta; without `at` as of now
 *     #/trust                     whether the record can be trusted
 */

/**
 * @typedef {{view: "now" | "trust"} | {view: "session", id: string, at: number | null}} Route
 */

/**
 * @param {string} hash
 * @returns {Route} What is not understood is `now`.
 */
export function parseRoute(hash) {
  const [path, query = ""] = split(hash.replace(/^#/, ""), "?");
  if (path === "/trust") return { view: "trust" };
  if (path.startsWith("/session/")) {
    const id = decode(path.slice("/session/".length));
    const at = new URLSearchParams(query).get("at");
    if (id) return { view: "session", id, at: at !== null && /^\d{1,15}$/.test(at) ? Number(at) : null };
  }
  return { view: "now" };
}

/**
 * The address of a session.
 * @param {string} id
 * @param {number | null} [at]
 * @returns {string}
 */
export function sessionAddress(id, at = null) {
  return `#/session/${encode(id)}${at === null ? "" : `?at=${at}`}`;
}

/**
 * A session's id in a URL. A half of a surrogate pair, which no URL can carry, becomes U+FFFD.
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

/** @param {string} text @returns {string} `""` where it is not what `encode` makes. */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
