/**
 * The deltas of one session around the selected one: a stretch without a gap, read from history as the user moves.
 *
 * It never holds a whole long session: it keeps at most `MOST` entries and `MOST_CHARACTERS`, and drops what is far from
 * the selected delta. `first` and `last` are the bounds of what is recorded, whether it is held or not. Live deltas join
 * the stretch where it reaches to the end.
 */

/** @typedef {import("./event-log.js").Entry} Entry */
/** @typedef {(query: Record<string, string | number>) => Promise<{entries: Entry[], more: boolean}>} Read */

export const MOST = 3000;
export const MOST_CHARACTERS = 32 << 20;
const PAGE = 200;

/** A stretch of one session. */
export class SessionLog {
  /** @param {Read} read Entries of this session, oldest first. */
  constructor(read) {
    this.read = read;
    /** @type {Entry[]} */
    this.entries = []; // oldest first
    this.first = 0; // seq of the first delta that is recorded; 0 where there is none
    this.last = 0; // of the last one
    this.atStart = false; // whether the stretch begins with the first
    this.atEnd = false; // whether it ends with the last
    /** @type {Promise<void> | null} */
    this.busy = null; // while something is read
    this.generation = 0; // of the stretch; an answer for an earlier one is dropped
    /** @type {Entry[] | null} */
    this.coming = null; // live deltas that came during `open`; the pages that it reads may lack them
  }

  /** @returns {boolean} Whether all deltas of the session are held. */
  get whole() {
    return this.atStart && this.atEnd;
  }

  /**
   * Read the stretch around a seq.
   * @param {number} at
   */
  async open(at) {
    const mine = ++this.generation;
    this.coming = [];
    try {
      const [older, newer] = await Promise.all([
        this.read({ before: at + 1, limit: PAGE }),
        this.read({ after: at, order: "asc", limit: PAGE }),
      ]);
      const entries = [...older.entries, ...newer.entries];
      const [first, last] = await Promise.all([
        older.more ? this.read({ order: "asc", limit: 1 }).then((page) => page.entries[0]) : entries[0],
        newer.more ? this.read({ limit: 1 }).then((page) => page.entries[0]) : entries.at(-1),
      ]);
      // The last request is shown, not the last answer.
      if (mine === this.generation) this.set(entries, { first, last, atStart: !older.more, atEnd: !newer.more });
    } finally {
      if (mine === this.generation) this.coming = null;
    }
  }

  /** Start empty, for live deltas only: where nothing is recorded. */
  begin() {
    this.generation++;
    this.set([], { atStart: true, atEnd: true });
  }

  /**
   * @param {Entry[]} entries
   * @param {{first?: Entry, last?: Entry, atStart: boolean, atEnd: boolean}} bounds
   */
  set(entries, { first, last, atStart, atEnd }) {
    const coming = this.coming;
    this.coming = null;
    this.entries = entries;
    this.atStart = atStart;
    this.atEnd = atEnd;
    this.first = first?.seq ?? 0;
    this.last = last?.seq ?? 0;
    for (const entry of coming ?? []) this.append(entry);
  }

  /**
   * Add a live delta of the session.
   * @param {Entry} entry
   */
  append(entry) {
    this.coming?.push(entry);
    if (entry.seq <= this.last) return;
    if (this.atEnd) this.entries.push(entry);
    this.last = entry.seq;
    this.first ||= entry.seq;
    if (this.atEnd) this.trim("start");
  }

  /** Read the page before the stretch. */
  async older() {
    const [begin] = this.entries;
    if (this.atStart || !begin) return;
    const mine = this.generation;
    const page = await this.read({ before: begin.seq, limit: PAGE });
    // Another stretch may be here by now, or this one may have lost its beginning: then the page would leave a gap.
    if (mine !== this.generation || this.entries[0] !== begin) return;
    this.entries = [...page.entries, ...this.entries];
    this.atStart = !page.more;
    this.trim("end");
  }

  /** Read the page after the stretch. */
  async newer() {
    const end = this.entries.at(-1);
    if (this.atEnd || !end) return;
    const mine = this.generation;
    const page = await this.read({ after: end.seq, order: "asc", limit: PAGE });
    if (mine !== this.generation || this.entries.at(-1) !== end) return;
    this.entries = [...this.entries, ...page.entries];
    // Live deltas that came meanwhile were not appended: then this is not the end yet.
    this.atEnd = !page.more && (this.entries.at(-1)?.seq ?? 0) >= this.last;
    this.trim("start");
  }

  /**
   * Read the entries next to an index where they are not held.
   * @param {number} index
   * @param {number} near How many on both sides.
   */
  async reach(index, near) {
    if (index < near && !this.atStart) await this.older();
    else if (index >= this.entries.length - near && !this.atEnd) await this.newer();
  }

  /**
   * Find the entry of a seq: the last one up to it, or the first.
   * @param {number} seq
   * @returns {number} Its index; -1 where there is none.
   */
  indexAt(seq) {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle].seq <= seq) low = middle + 1;
      else high = middle;
    }
    return this.entries.length ? Math.max(0, low - 1) : -1;
  }

  /**
   * Whether the state at a seq can be told from the entries that are held.
   * @param {number} seq
   * @returns {boolean}
   */
  covers(seq) {
    if (!this.entries.length) return false;
    const end = /** @type {Entry} */ (this.entries.at(-1));
    return (seq >= this.entries[0].seq || this.atStart) && (seq <= end.seq || this.atEnd);
  }

  /**
   * The place of a seq between the bounds, from 0 to 1: by count where all deltas are held, else by seq.
   * @param {number} seq
   * @returns {number}
   */
  fraction(seq) {
    if (this.whole) {
      return this.entries.length > 1 ? this.indexAt(seq) / (this.entries.length - 1) : 1;
    }
    return this.last > this.first ? (seq - this.first) / (this.last - this.first) : 1;
  }

  /**
   * The seq at a place from 0 to 1; the reverse of `fraction`.
   * @param {number} fraction
   * @returns {number}
   */
  seqAt(fraction) {
    const within = Math.min(1, Math.max(0, fraction));
    if (this.whole) return this.entries[Math.round(within * (this.entries.length - 1))]?.seq ?? 0;
    return Math.round(this.first + within * (this.last - this.first));
  }

  /** @param {"start" | "end"} side From where entries are dropped. */
  trim(side) {
    let characters = this.entries.reduce((sum, entry) => sum + entry.text.length, 0);
    while (this.entries.length > MOST || (characters > MOST_CHARACTERS && this.entries.length > PAGE)) {
      const drop = Math.min(PAGE, this.entries.length - 1);
      const gone = side === "start" ? this.entries.splice(0, drop) : this.entries.splice(-drop);
      for (const entry of gone) characters -= entry.text.length;
      if (side === "start") this.atStart = false;
      else this.atEnd = false;
    }
  }
}
