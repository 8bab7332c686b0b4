/** The chain of a whole recording, verified over HTTP: page by page, in bounded memory, up to the first bad place. */

import { PROOFS, Verifier } from "./chain.js";
import { ClientError } from "./errors.js";
import { Delta } from "./events.js";
import { elements, member } from "./json.js";
import { Reader } from "./reading.js";

const PAGE = 500;

/**
 * @typedef {object} Report
 * @property {number} checked Deltas that were looked at.
 * @property {number} proven Those whose hash was computed, and equal.
 * @property {Record<string, number>} unproven How many could not be verified, by the reason in words.
 * @property {number | null} first The seq of the first one looked at.
 * @property {number | null} last The seq of the last one.
 * @property {{seq: number, why: string} | null} bad The first place where the chain does not hold.
 */

/**
 * @typedef {object} VerifyOptions
 * @property {string} url Where the recorder is.
 * @property {import("./options.js").Options["token"]} [token]
 * @property {number} [after] Only what follows this seq.
 * @property {AbortSignal} [signal] Ends it: it throws the signal's reason.
 * @property {(report: Report) => void} [onProgress] Gets the report so far, after each page.
 */

/**
 * Verify what is recorded.
 *
 * It begins at the hash that the last prune has left, or at the very first delta; after another seq the first delta's
 * own hash is taken as it stands. It ends where the recording ended when the last page was asked for.
 *
 * @param {VerifyOptions} options
 * @returns {Promise<Report>}
 * @throws {ClientError} The recorder cannot be asked.
 */
export async function verify({ url, token, after = 0, signal, onProgress }) {
  const reader = new Reader({ url, token, signal });
  const ask = (/** @type {string} */ path) => reader.text(path);
  const verifier = new Verifier(await start(ask, after));
  /** @type {Report} */
  const report = { checked: 0, proven: 0, unproven: {}, first: null, last: null, bad: null };
  let seq = Math.max(after, verifier.place?.seq ?? 0);
  for (;;) {
    const text = await ask(`/api/deltas?order=asc&limit=${PAGE}&after=${seq}`);
    const items = [...elements(member(text, "deltas") ?? "[]")];
    const deltas = items.map((item) => new Delta(JSON.parse(item), "", item));
    await judge(report, verifier, deltas);
    onProgress?.({ ...report });
    if (report.bad !== null || JSON.parse(member(text, "next") ?? "null") === null) return report;
    seq = /** @type {number} */ (report.last);
  }
}

/**
 * @param {Report} report
 * @param {Verifier} verifier
 * @param {Delta[]} deltas
 */
async function judge(report, verifier, deltas) {
  // All at once: what each is verified against is settled in order, before any digest is there.
  const proofs = deltas.map((delta) => {
    const proof = verifier.follow(delta);
    return proof instanceof Promise ? proof.catch((error) => error) : proof;
  });
  for (const [number, proof] of (await Promise.all(proofs)).entries()) {
    const { seq } = deltas[number];
    const expected = report.last === null ? seq : report.last + 1;
    if (seq !== expected) {
      report.bad = { seq: expected, why: `it is missing: what follows is ${seq}` };
      return;
    }
    report.checked++;
    report.first ??= seq;
    report.last = seq;
    if (proof instanceof ClientError) {
      report.bad = { seq, why: proof.message };
      return;
    }
    if (proof instanceof Error) throw proof;
    if (proof === PROOFS.LINKED || proof === PROOFS.BY_DIGEST) report.proven++;
    else if (proof !== null) report.unproven[proof] = (report.unproven[proof] ?? 0) + 1;
  }
}

/**
 * The place before what is kept: what the last prune has left.
 *
 * @param {(path: string) => Promise<string>} ask
 * @param {number} after
 * @returns {Promise<{seq: number, hash: string | null} | null>}
 */
async function start(ask, after) {
  const { prunes } = JSON.parse(await ask("/api/receipts"));
  const cut = prunes.at(-1);
  return cut !== undefined && cut.lastSeq >= after ? { seq: cut.lastSeq, hash: cut.lastHash } : null;
}
