/**
 * The data of the view "Live", kept up to date whether the view is shown or not: events, sessions, rate.
 *
 * What was recorded before the subscription began is read from history once, and again after a reset. Live deltas that
 * come meanwhile are kept and joined to it by seq, so that nothing is shown twice and nothing is missing.
 */

import { EventLog } from "./event-log.js";
import { readPage } from "./history.js";
import { Rates } from "./rates.js";
import { Sessions } from "./sessions.js";

const FIRST_ENTRIES = 200;
const OLDER_ENTRIES = 300;
const FIRST_SESSIONS = 500;
const RETRY_MS = 2000;

/** Events, sessions and rate. */
export class LiveModel {
  /**
   * @param {import("./api.js").Api} api
   * @param {import("./source.js").Source} source
   */
  constructor(api, source) {
    this.api = api;
    this.source = source;
    this.feed = new EventLog();
    this.sessions = new Sessions();
    this.rates = new Rates(120, 1000);
    this.loaded = false; // whether history was read
    this.problem = ""; // why it was not, in words
    this.hasBeginning = false; // whether the events were read back to where history begins
    this.through = 0; // everything up to this seq has been counted in
    this.knownSince = 0; // before this time, deltas are missing in the rates
    this.reading = false; // whether a page of older deltas was requested
    this.loads = 0; // how many loadings were begun; only the last one goes on
    this.generation = 0; // of what is shown; an answer that was asked for an earlier one is dropped
    /** @type {Set<() => void>} */
    this.watchers = new Set(); // called after each change
    source.listen({
      onDeltas: (entries) => this.onDeltas(entries),
      onFresh: (place) => void this.load(place.seq),
      onErased: (erased) => this.onErased(erased),
    });
  }

  /** @param {() => void} watcher @returns {() => void} Ends it. */
  watch(watcher) {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** @param {import("./event-log.js").Entry[]} entries */
  onDeltas(entries) {
    const now = Date.now();
    const fresh = entries[0].seq > this.through ? entries : entries.filter((entry) => entry.seq > this.through);
    if (!fresh.length) return;
    this.through = fresh[fresh.length - 1].seq;
    this.rates.add(now, fresh.length);
    this.feed.add(fresh);
    for (const entry of fresh) this.sessions.move(entry, now);
    this.changed();
  }

  /** @param {{session: string, through: number}} erased */
  onErased(erased) {
    // Pages that are on their way may still hold what was erased.
    this.generation++;
    this.feed.erase(erased.session, erased.through);
    this.changed();
  }

  /**
   * Clear everything, and read the history before a seq.
   * @param {number} seq
   */
  async load(seq) {
    const mine = ++this.loads;
    this.generation++;
    this.feed.clear();
    this.sessions.clear();
    this.rates.clear();
    this.knownSince = Date.now();
    this.through = seq;
    this.loaded = !this.source.figures.recording;
    this.hasBeginning = this.loaded;
    this.problem = "";
    this.changed();
    while (!this.loaded && mine === this.loads) {
      try {
        await this.read(seq);
      } catch (error) {
        if (mine !== this.loads) return;
        this.problem = /** @type {Error} */ (error).message;
        this.changed();
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** @param {number} seq */
  async read(seq) {
    const mine = this.generation;
    const [page, listed] = await Promise.all([
      readPage(this.api, "api/deltas", { before: seq + 1, limit: FIRST_ENTRIES }),
      this.api.json(`api/sessions?limit=${FIRST_SESSIONS}`),
    ]);
    if (mine !== this.generation) return;
    this.feed.addOlder(page.entries);
    this.hasBeginning = !page.more;
    this.sessions.list(listed.sessions, listed.next === null);
    this.recall(page.entries, page.more);
    this.loaded = true;
    this.problem = "";
    this.changed();
  }

  /**
   * Fill the rates from the page of history, as far back as it goes.
   * @param {import("./event-log.js").Entry[]} entries
   * @param {boolean} more Whether there is more before them.
   */
  recall(entries, more) {
    const now = Date.now();
    for (const entry of entries) {
      const time = Math.min(now, Date.parse(entry.at));
      this.rates.add(time);
      this.sessions.byId.get(entry.session)?.rates.add(time);
    }
    this.knownSince = more && entries.length ? Date.parse(entries[0].at) : 0;
  }

  /** Read the page before the events, if there is one and room for it. */
  async older() {
    const first = this.feed.entries[0];
    if (!first || this.nothingOlder || this.reading || !this.feed.hasRoom()) return;
    this.reading = true;
    const mine = this.generation;
    try {
      const page = await readPage(this.api, "api/deltas", { before: first.seq, limit: OLDER_ENTRIES });
      // What was the beginning may have been dropped meanwhile: then the page would leave a gap.
      if (mine !== this.generation || this.feed.entries[0] !== first) return;
      this.feed.addOlder(page.entries);
      this.hasBeginning = !page.more;
      this.changed();
    } finally {
      this.reading = false;
    }
  }

  /** @returns {boolean} Whether the events that are kept begin where history begins. */
  get nothingOlder() {
    return this.hasBeginning && !this.feed.dropped;
  }

  changed() {
    for (const watcher of this.watchers) watcher();
  }
}
