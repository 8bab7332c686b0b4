/**
 * The deltas of one session around the place that is looked at: a stretch without a gap, read from history as one moves.
 *
 * Never the whole of a long session: at most `MOST` entries and `MOST_CHARACTERS` are kept, and what is far from the place
 * is let go. `first` and `last` are the bounds of what is recorded, whether it is here or not. What comes live joins the
 * stretch where that reaches to the end.
 */

/** @typedef {import("./feed-log.js").Entry} Entry */
/** @typedef {(query: Record<string, string | number>) => Promise<{entries: Entry[], more: boolean}>} Read */

export const MOST = 3000;
export const MOST_CHARACTERS = 32 << 20;
const PAGE = 200;

/** The log. */
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
    this.opens = 0; // how often it was opened
    /** @type {Entry[] | null} */
    this.coming = null; // what came while it is opened: it may be in none of what is read then
  }

  /** @returns {boolean} Whether everything there is is here. */
  get whole() {
    return this.atStart && this.atEnd;
  }

  /**
   * Read what is around a seq, anew.
   * @param {number} at
   */
  async open(at) {
    const mine = ++this.opens;
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
      // What was asked for last is shown, not what was answered last.
      if (mine === this.opens) this.set(entries, { first, last, atStart: !older.more, atEnd: !newer.more });
    } finally {
      if (mine === this.opens) this.coming = null;
    }
  }

  /** Begin with what comes, where nothing that was can be read. */
  begin() {
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
   * A delta of the session came.
   * @param {Entry} entry
   */
  append(entry) {
    this.coming?.push(entry);
    if (entry.seq <= this.last) return;
    if (this.atEnd) this.entries.push(entry);
    this.last = entry.seq;
    this.first ||= entry.seq;
    // Reading on, it is found in history.
    if (this.atEnd) this.trim("start");
  }

  /** Read what is older than the stretch. */
  async older() {
    if (this.atStart || !this.entries.length) return;
    const page = await this.read({ before: this.entries[0].seq, limit: PAGE });
    this.entries = [...page.entries, ...this.entries];
    this.atStart = !page.more;
    this.trim("end");
  }

  /** Read what is newer than the stretch. */
  async newer() {
    const end = this.entries.at(-1);
    if (this.atEnd || !end) return;
    const page = await this.read({ after: end.seq, order: "asc", limit: PAGE });
    this.entries = [...this.entries, ...page.entries];
    // What came live while it was read was not appended: then this is not the end yet.
    this.atEnd = !page.more && (this.entries.at(-1)?.seq ?? 0) >= this.last;
    this.trim("start");
  }

  /**
   * Make sure that the entries next to a place are here.
   * @param {number} index
   * @param {number} near How many on both sides.
   */
  async reach(index, near) {
    if (index < near && !this.atStart) await this.older();
    else if (index >= this.entries.length - near && !this.atEnd) await this.newer();
  }

  /**
   * The entry that a seq stands at: the last one up to it, or the first.
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
   * Whether the state as of a seq can be told from what is here.
   * @param {number} seq
   * @returns {boolean}
   */
  covers(seq) {
    if (!this.entries.length) return false;
    const end = /** @type {Entry} */ (this.entries.at(-1));
    return (seq >= this.entries[0].seq || this.atStart) && (seq <= end.seq || this.atEnd);
  }

  /**
   * Where a seq stands between the bounds, from 0 to 1: by count where everything is here, else by seq.
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
   * The seq at a fraction; the reverse of `fraction`.
   * @param {number} fraction
   * @returns {number}
   */
  seqAt(fraction) {
    const within = Math.min(1, Math.max(0, fraction));
    if (this.whole) return this.entries[Math.round(within * (this.entries.length - 1))]?.seq ?? 0;
    return Math.round(this.first + within * (this.last - this.first));
  }

  /** @param {"start" | "end"} side From where entries are let go. */
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
