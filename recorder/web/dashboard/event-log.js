/**
 * The latest deltas, bounded in number and in characters, and those of them that match a filter.
 *
 * Entries come in rising order of seq. Both lists are updated as entries come and go, so that a frame costs only what is
 * new. While the log is held, the shown entries stay the same and the new ones are counted. Releasing it shows all
 * entries that are still in it.
 */

/**
 * An entry: the parts of a delta that a row needs, and its text, which is parsed when the row is shown.
 * @typedef {object} Entry
 * @property {number} seq
 * @property {string} at When it was recorded.
 * @property {string} happened When it happened.
 * @property {string} type
 * @property {string} session
 * @property {boolean} broken Whether its lineage is.
 * @property {boolean} erased Whether its states were erased.
 * @property {string} text Its JSON text.
 */

/**
 * @typedef {object} Filter
 * @property {string} session A part of the session's id; upper and lower case are the same.
 * @property {string} type `""`: any.
 * @property {string} text A part of the delta's text; upper and lower case are the same.
 */

export const MOST_ENTRIES = 5000;
export const MOST_CHARACTERS = 24 << 20;

/** Entries, and those that match a filter. */
export class EventLog {
  /**
   * @param {number} [mostEntries]
   * @param {number} [mostCharacters]
   */
  constructor(mostEntries = MOST_ENTRIES, mostCharacters = MOST_CHARACTERS) {
    this.mostEntries = mostEntries;
    this.mostCharacters = mostCharacters;
    /** @type {Entry[]} */
    this.entries = []; // oldest first
    this.characters = 0; // of all texts
    this.dropped = 0; // the seq up to which the oldest made room; 0 where none had to
    /** @type {Filter} */
    this.filter = { session: "", type: "", text: "" };
    this.accepts = accepting(this.filter);
    /** @type {Entry[]} */
    this.shown = []; // those that pass, oldest first; while held, as they were
    this.held = false; // whether `shown` stays as it is
    this.missed = 0; // how many that pass have come while it is held
  }

  /**
   * Add new entries.
   * @param {Entry[]} fresh
   */
  add(fresh) {
    const passing = fresh.filter(this.accepts);
    for (const entry of fresh) {
      this.entries.push(entry);
      this.characters += entry.text.length;
    }
    const gone = this.trim();
    if (gone) this.dropped = gone;
    if (this.held) {
      this.missed += passing.length;
      return;
    }
    for (const entry of passing) this.shown.push(entry);
    if (gone) this.forget(this.shown, gone);
  }

  /**
   * Add older entries in front, as far as there is room.
   * @param {Entry[]} older Oldest first; all of them older than any here.
   */
  addOlder(older) {
    const first = this.entries.length ? this.entries[0].seq : Infinity;
    const fresh = older.filter((entry) => entry.seq < first);
    this.entries = [...fresh, ...this.entries];
    for (const entry of fresh) this.characters += entry.text.length;
    // What was dropped before is among them, or before them.
    this.dropped = this.trim();
    // They are shown even while the log is held: the user has scrolled down to them.
    const kept = this.held ? this.shown : this.entries.slice(fresh.length).filter(this.accepts);
    this.shown = [...fresh.filter(this.accepts), ...kept];
  }

  /**
   * Find the delta of the same session before an entry.
   * @param {Entry} entry
   * @returns {Entry | null} Null where it is not here.
   */
  before(entry) {
    for (let index = this.entries.length - 1; index >= 0; index--) {
      const other = this.entries[index];
      if (other.seq < entry.seq && other.session === entry.session) return other;
    }
    return null;
  }

  /** @returns {boolean} Whether there is room for older entries. */
  hasRoom() {
    return this.entries.length < this.mostEntries * 0.9 && this.characters < this.mostCharacters * 0.9;
  }

  /**
   * Remove the entries of a session up to a seq: their content was erased.
   * @param {string} session
   * @param {number} through
   */
  erase(session, through) {
    const stays = (/** @type {Entry} */ entry) => entry.session !== session || entry.seq > through;
    this.entries = this.entries.filter(stays);
    this.shown = this.shown.filter(stays);
    this.characters = this.entries.reduce((sum, entry) => sum + entry.text.length, 0);
  }

  /** Remove all entries. */
  clear() {
    this.entries = [];
    this.characters = 0;
    this.dropped = 0;
    this.shown = [];
    this.missed = 0;
  }

  /**
   * Set a filter, and apply it to all entries.
   * @param {Partial<Filter>} wanted
   */
  setFilter(wanted) {
    this.filter = { ...this.filter, ...wanted };
    this.accepts = accepting(this.filter);
    this.release(this.held);
  }

  /** Keep the shown entries as they are. */
  hold() {
    if (!this.held) this.shown = this.shown.slice();
    this.held = true;
  }

  /**
   * Show all entries that match.
   * @param {boolean} [held] Whether they are kept from now on.
   */
  release(held = false) {
    this.held = held;
    this.missed = 0;
    this.shown = this.entries.filter(this.accepts);
  }

  /** @returns {number} The seq up to which entries were dropped, 0 where none was. */
  trim() {
    let drop = 0;
    while (
      this.entries.length - drop > this.mostEntries ||
      (this.characters > this.mostCharacters && this.entries.length - drop > 1)
    ) {
      this.characters -= this.entries[drop++].text.length;
    }
    if (!drop) return 0;
    const through = this.entries[drop - 1].seq;
    this.entries.splice(0, drop);
    return through;
  }

  /** @param {Entry[]} list @param {number} through */
  forget(list, through) {
    let drop = 0;
    while (drop < list.length && list[drop].seq <= through) drop++;
    if (drop) list.splice(0, drop);
  }
}

/**
 * Make the test for a filter.
 * @param {Filter} filter
 * @returns {(entry: Entry) => boolean}
 */
export function accepting(filter) {
  const session = filter.session.toLowerCase();
  const text = filter.text.toLowerCase();
  return (entry) =>
    (!filter.type || entry.type === filter.type) &&
    (!session || entry.session.toLowerCase().includes(session)) &&
    (!text || entry.text.toLowerCase().includes(text));
}
