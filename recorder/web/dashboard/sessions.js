/**
 * Sessions by their latest activity, as far as they are known: listed once, then moved by every delta.
 *
 * At most `most` are kept; those that were quiet longest are forgotten first. Of one that was not known its count is
 * what was seen, and said to be at least that, unless everything there is was listed.
 */

import { Rates } from "./rates.js";

/**
 * A session.
 * @typedef {object} Session
 * @property {string} id
 * @property {number} seq Of its last delta.
 * @property {string} at When that was recorded.
 * @property {string} type Of that; "" where it is not known.
 * @property {number} count Of its deltas.
 * @property {boolean} whole Whether the count is of all that are kept, and not only of those seen.
 * @property {boolean} deleted
 * @property {Rates} rates Its activity.
 */

export const MOST_SESSIONS = 2000;
export const STRIP_BUCKETS = 30;
export const STRIP_MS = 4000;

/** What is known of sessions. */
export class Sessions {
  /** @param {number} [most] */
  constructor(most = MOST_SESSIONS) {
    this.most = most;
    /** @type {Map<string, Session>} */
    this.byId = new Map(); // the one that moved last stands last
    this.complete = false; // whether every session there is was listed, and none forgotten
  }

  /**
   * Take in the recorder's list, latest first.
   * @param {{sessionId: string, seq: number, recordedAt: string, count: number, deleted: boolean}[]} rows
   * @param {boolean} complete Whether it goes no further.
   */
  list(rows, complete) {
    for (const row of rows) {
      const known = this.byId.get(row.sessionId);
      if (known && known.seq > row.seq) {
        // It has moved while the list was on its way.
        known.count = row.count + (known.whole ? 0 : known.count);
        known.whole = true;
        continue;
      }
      this.byId.set(row.sessionId, {
        id: row.sessionId,
        seq: row.seq,
        at: row.recordedAt,
        type: row.deleted ? "deleted" : (known?.type ?? ""),
        count: row.count,
        whole: true,
        deleted: row.deleted,
        rates: known?.rates ?? new Rates(STRIP_BUCKETS, STRIP_MS),
      });
    }
    this.complete = complete;
    this.sort();
    this.trim();
  }

  /**
   * A delta came.
   * @param {{seq: number, at: string, type: string, session: string}} entry
   * @param {number} now
   */
  move(entry, now) {
    let session = this.byId.get(entry.session);
    if (session) {
      if (entry.seq <= session.seq) return;
      this.byId.delete(entry.session);
      session.count++;
    } else {
      session = {
        id: entry.session,
        seq: 0,
        at: "",
        type: "",
        count: 1,
        whole: this.complete,
        deleted: false,
        rates: new Rates(STRIP_BUCKETS, STRIP_MS),
      };
    }
    session.seq = entry.seq;
    session.at = entry.at;
    session.type = entry.type;
    session.deleted = entry.type === "deleted";
    session.rates.add(now);
    this.byId.set(entry.session, session);
    this.trim();
  }

  /** Nothing that was known holds any more. */
  clear() {
    this.byId.clear();
    this.complete = false;
  }

  /** @returns {Session[]} Latest first. */
  latest() {
    return [...this.byId.values()].reverse();
  }

  sort() {
    const sorted = [...this.byId.values()].sort((a, b) => a.seq - b.seq);
    this.byId = new Map(sorted.map((session) => [session.id, session]));
  }

  trim() {
    for (const id of this.byId.keys()) {
      if (this.byId.size <= this.most) return;
      this.byId.delete(id);
      this.complete = false;
    }
  }
}
