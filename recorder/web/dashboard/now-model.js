/**
 * What the view "Now" shows, kept up whether it is shown or not: the feed, the sessions, the rate.
 *
 * What was before the subscription began is read once from history, and again after a reset; what comes meanwhile is kept
 * and joined to it by seq, so that nothing is shown twice or missing between the two.
 */

import { FeedLog } from "./feed-log.js";
import { readPage } from "./history.js";
import { Rates } from "./rates.js";
import { Sessions } from "./sessions.js";

const FIRST_ENTRIES = 200;
const OLDER_ENTRIES = 300;
const FIRST_SESSIONS = 500;
const RETRY_MS = 2000;

/** The model. */
export class NowModel {
  /**
   * @param {import("./api.js").Api} api
   * @param {import("./source.js").Source} source
   */
  constructor(api, source) {
    this.api = api;
    this.source = source;
    this.feed = new FeedLog();
    this.sessions = new Sessions();
    this.rates = new Rates(120, 1000);
    this.loaded = false; // whether what was before is here
    this.problem = ""; // why it is not, in words
    this.nothingOlder = false; // whether the feed begins where history begins
    this.through = 0; // everything up to this seq has been counted in
    this.knownSince = 0; // before this time deltas came that are not in the rates
    this.reading = false; // whether older ones are on their way
    this.loading = 0; // which loading is the last one that was begun
    /** @type {Set<() => void>} */
    this.watchers = new Set(); // called when anything has changed
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

  /** @param {import("./feed-log.js").Entry[]} entries */
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
    this.feed.erase(erased.session, erased.through);
    this.changed();
  }

  /**
   * Begin anew: read what was before a place.
   * @param {number} seq
   */
  async load(seq) {
    const mine = ++this.loading;
    this.feed.clear();
    this.sessions.clear();
    this.rates.clear();
    this.knownSince = Date.now();
    this.through = seq;
    this.loaded = !this.source.figures.recording;
    this.nothingOlder = this.loaded;
    this.problem = "";
    this.changed();
    while (!this.loaded && mine === this.loading) {
      try {
        await this.read(seq, mine);
      } catch (error) {
        if (mine !== this.loading) return;
        this.problem = /** @type {Error} */ (error).message;
        this.changed();
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** @param {number} seq @param {number} mine */
  async read(seq, mine) {
    const [page, listed] = await Promise.all([
      readPage(this.api, "/api/deltas", { before: seq + 1, limit: FIRST_ENTRIES }),
      this.api.json(`/api/sessions?limit=${FIRST_SESSIONS}`),
    ]);
    if (mine !== this.loading) return;
    this.feed.addOlder(page.entries);
    this.nothingOlder = !page.more;
    this.sessions.list(listed.sessions, listed.next === null);
    this.recall(page.entries, page.more);
    this.loaded = true;
    this.problem = "";
    this.changed();
  }

  /**
   * Show the rates of what was just before, as far back as it is known.
   * @param {import("./feed-log.js").Entry[]} entries
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

  /** Read what is older than the feed, if there is anything and room for it. */
  async older() {
    const first = this.feed.entries[0];
    if (!first || this.nothingOlder || this.reading || !this.feed.hasRoom()) return;
    this.reading = true;
    const mine = this.loading;
    try {
      const page = await readPage(this.api, "/api/deltas", { before: first.seq, limit: OLDER_ENTRIES });
      if (mine !== this.loading) return;
      this.feed.addOlder(page.entries);
      this.nothingOlder = !page.more;
      this.changed();
    } finally {
      this.reading = false;
    }
  }

  changed() {
    for (const watcher of this.watchers) watcher();
  }
}
