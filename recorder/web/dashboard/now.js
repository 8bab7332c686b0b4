/** The view "Now": what moves. Sessions by latest activity, deltas per second, and the feed of them. */

import { RateChart, drawStrip, stripIn } from "./chart.js";
import { el, fill, nameIn, say } from "./dom.js";
import { ago, clock, count, several, visible } from "./format.js";
import { sessionAddress } from "./router.js";
import { summaryOf } from "./summary.js";
import { commandToCopy, firstDelta, nextDelta } from "./teach.js";
import { VirtualList } from "./virtual-list.js";

/** @typedef {import("./feed-log.js").Entry} Entry */
/** @typedef {import("./sessions.js").Session} Session */

const DRAW_MS = 100; // the least time between two drawings of the feed
const ORDER_MS = 1000; // the same of the sessions, whose order people want to read
const NEAR_END = 400; // pixels from the end at which older ones are read

/** The view; made when it is shown, closed when another one is. */
export class NowView {
  /**
   * @param {import("./now-model.js").NowModel} model
   * @param {import("./source.js").Source} source
   * @param {(address: string) => void} go
   */
  constructor(model, source, go) {
    this.model = model;
    this.source = source;
    this.go = go;
    this.dirty = true; // whether the feed is to be drawn
    this.drawnAt = 0; // when it was
    this.orderedAt = 0; // when the sessions were
    this.paused = model.feed.held; // whether somebody has stopped the feed by hand
    this.sessionFilter = ""; // what the list of sessions is looked through by
    this.chart = new RateChart(model.rates, () => model.knownSince);
    this.sessions = this.sessionList();
    this.feed = this.feedList();
    this.sessionsNote = el("span", { class: "dim" });
    this.feedNote = el("span", { class: "note-short dim" });
    this.pause = el("button", { type: "button", class: "quiet pause", on: { click: () => this.toggle() } });
    this.missed = el("span", {});
    this.missedMore = el("span", { class: "where-wide" });
    this.newer = el(
      "button",
      { type: "button", class: "newer", hidden: true, on: { click: () => this.follow() } },
      this.missed,
      this.missedMore,
    );
    this.feedEmpty = el("div", { class: "empty", hidden: true });
    this.teacher = el("div", { class: "teach", hidden: true });
    this.search = el("input", {
      type: "search",
      id: "feed-text",
      placeholder: "Text in the delta",
      "aria-label": "Only deltas that hold this text",
      value: model.feed.filter.text,
      on: { input: () => this.filter({ text: this.search.value }) },
    });
    this.element = this.page();
    this.onFrame = this.onFrame.bind(this);
    this.frame = requestAnimationFrame(this.onFrame);
    this.unwatch = model.watch(() => {
      this.dirty = true;
    });
  }

  /** Nothing of it is shown any more. */
  close() {
    cancelAnimationFrame(this.frame);
    this.unwatch();
    this.sessions.close();
    this.feed.close();
  }

  /**
   * A key was pressed, and nobody else wants it.
   * @param {KeyboardEvent} event
   * @returns {boolean} Whether it was for this view.
   */
  onKey(event) {
    if (event.key === "/") this.search.focus();
    else if (event.key === "p") this.toggle();
    else return false;
    return true;
  }

  page() {
    return el(
      "div",
      { class: "now" },
      el("h1", { class: "unseen" }, "Now"),
      this.teacher,
      this.chart.element,
      el(
        "section",
        { class: "card sessions", "aria-labelledby": "sessions-head" },
        el("div", { class: "card-head" }, el("h2", { id: "sessions-head" }, "Sessions"), this.sessionsNote),
        el("div", { class: "filters" }, this.sessionSearch()),
        this.sessions.element,
      ),
      el(
        "section",
        { class: "card feed", "aria-labelledby": "feed-head" },
        el("div", { class: "card-head" }, el("h2", { id: "feed-head" }, "Feed"), this.feedNote, this.newer, this.pause),
        el("div", { class: "filters", role: "search", "aria-label": "Filter the feed" }, ...this.filters()),
        el("div", { class: "feed-body" }, this.feed.element, this.feedEmpty),
      ),
    );
  }

  sessionSearch() {
    const input = el("input", {
      type: "search",
      placeholder: "Part of an id",
      "aria-label": "Only sessions whose id holds this",
      on: {
        input: () => {
          this.sessionFilter = input.value.toLowerCase();
          this.orderedAt = 0;
        },
      },
    });
    return input;
  }

  filters() {
    const { filter } = this.model.feed;
    const session = el("input", {
      type: "search",
      placeholder: "Session",
      "aria-label": "Only deltas of sessions whose id holds this",
      value: filter.session,
      on: { input: () => this.filter({ session: session.value }) },
    });
    const type = el(
      "select",
      { "aria-label": "Only deltas of this type", on: { change: () => this.filter({ type: type.value }) } },
      el("option", { value: "" }, "Any type"),
      ...["created", "updated", "deleted"].map((name) =>
        el("option", { value: name, selected: filter.type === name }, name),
      ),
    );
    return [session, type, this.search];
  }

  /** @returns {VirtualList<Session>} */
  sessionList() {
    return new VirtualList({
      label: "Sessions, the one that moved last first",
      class: "session-list",
      key: (session) => session.id,
      draw: (row, session, fresh) => this.drawSession(row, session, fresh),
      onOpen: (session) => this.go(sessionAddress(session.id)),
    });
  }

  /** @returns {VirtualList<Entry>} */
  feedList() {
    return new VirtualList({
      label: "Deltas, newest first",
      class: "feed-list",
      key: (entry) => entry.seq,
      draw: (row, entry, fresh) => this.drawEntry(row, entry, fresh),
      onOpen: (entry) => this.go(sessionAddress(entry.session, entry.seq)),
      onScroll: (above, below) => this.onScroll(above, below),
    });
  }

  /** @param {number} above @param {number} below */
  onScroll(above, below) {
    // Who has scrolled down reads: what comes must not push it away.
    if (above > 0) this.model.feed.hold();
    else if (!this.paused && this.model.feed.held) this.model.feed.release();
    this.dirty = true;
    if (below < NEAR_END) void this.model.older().catch(() => {});
  }

  toggle() {
    if (this.model.feed.held) this.follow();
    else {
      this.paused = true;
      this.model.feed.hold();
    }
    this.dirty = true;
  }

  follow() {
    this.paused = false;
    this.feed.element.scrollTop = 0;
    this.model.feed.release();
    this.dirty = true;
  }

  /** @param {Partial<import("./feed-log.js").Filter>} wanted */
  filter(wanted) {
    this.model.feed.setFilter(wanted);
    this.feed.element.scrollTop = 0;
    this.dirty = true;
  }

  /** @param {number} time */
  onFrame(time) {
    this.frame = requestAnimationFrame(this.onFrame);
    if (this.dirty && time - this.drawnAt >= DRAW_MS) {
      this.dirty = false;
      this.drawnAt = time;
      this.drawFeed();
    }
    if (time - this.orderedAt >= ORDER_MS) {
      this.orderedAt = time;
      this.chart.draw(Date.now());
      this.drawSessions();
    }
  }

  drawFeed() {
    const { feed } = this.model;
    this.feed.show(feed.shown, true);
    const { session, type, text } = feed.filter;
    const filtered = Boolean(session || type || text);
    const whole = `${several(feed.entries.length, "delta")}${this.model.nothingOlder ? "" : ", the latest"}`;
    say(this.feedNote, filtered ? `${count(feed.shown.length)} of ${whole}` : whole);
    say(this.pause, feed.held ? "Resume" : "Pause");
    this.pause.setAttribute("aria-pressed", String(feed.held));
    this.newer.hidden = !feed.held || feed.missed === 0;
    say(this.missed, `↑ ${count(feed.missed)} newer`);
    say(this.missedMore, feed.missed === 1 ? " delta: follow" : " deltas: follow");
    this.drawEmpty(filtered);
  }

  /** @param {boolean} filtered */
  drawEmpty(filtered) {
    const { feed, loaded, problem } = this.model;
    const nothing = loaded && feed.entries.length === 0;
    this.element.classList.toggle("is-empty", nothing);
    this.feedEmpty.hidden = feed.shown.length > 0 || nothing;
    if (!this.feedEmpty.hidden) {
      say(
        this.feedEmpty,
        !loaded ? problem || "Reading what was recorded …" : filtered ? "Nothing that is here matches." : "Nothing yet.",
      );
    }
    if (this.teacher.hidden === nothing) {
      this.teacher.hidden = !nothing;
      if (nothing) this.teach();
    }
  }

  teach() {
    const token = this.model.api.token;
    const { recording } = this.source.figures;
    fill(
      this.teacher,
      el("h2", {}, recording ? "Nothing is recorded yet" : "Nothing has come yet"),
      el(
        "p",
        {},
        "Publish a session's first state from a terminal. It appears here at once, without a reload:",
      ),
      commandToCopy(firstDelta(token)),
      el("p", {}, "Then let it move, and open it to see what changed:"),
      commandToCopy(nextDelta(token)),
      el(
        "p",
        { class: "dim" },
        recording
          ? "Or begin with sessions that play by themselves: scripts/start --demo. Logs of other programs: recorder import."
          : "Recording is off: deltas are passed on and not kept. PERSIST=1, or scripts/start, switches it on.",
      ),
    );
  }

  drawSessions() {
    // The order stays while somebody points at it or is in it by the keyboard.
    const list = this.sessions.element;
    const held = list.matches(":hover") || list.contains(document.activeElement);
    if (!held || this.sessions.items.length === 0) {
      const all = this.model.sessions.latest();
      const filter = this.sessionFilter;
      this.sessions.items = filter ? all.filter((session) => session.id.toLowerCase().includes(filter)) : all;
    }
    this.sessions.show(this.sessions.items);
    const known = this.model.sessions;
    say(this.sessionsNote, known.complete ? count(known.byId.size) : `the latest ${count(known.byId.size)}`);
  }

  /** @param {HTMLElement} row @param {Session} session @param {boolean} fresh */
  drawSession(row, session, fresh) {
    const now = Date.now();
    const parts = /** @type {any} */ (row);
    if (!parts.strip) {
      parts.status = el("span", { class: "dot", "aria-hidden": true });
      parts.name = el("span", { class: "name" });
      parts.state = el("span", { class: "unseen" });
      parts.age = el("span", { class: "age dim" });
      parts.count = el("span", { class: "count" });
      const strip = el("span", { class: "strip" });
      parts.strip = stripIn(strip);
      row.append(parts.status, parts.name, parts.state, strip, parts.count, parts.age);
    }
    if (fresh) nameIn(parts.name, visible(session.id));
    const quiet = now - Date.parse(session.at) > 60_000;
    const state = session.deleted ? "deleted" : quiet ? "quiet" : "active";
    parts.status.dataset.state = state;
    say(parts.state, `, ${state}, `);
    say(parts.age, ago(session.at, now));
    say(parts.count, `${session.whole ? "" : "≥ "}${count(session.count)}`);
    parts.count.title = several(session.count, "delta");
    drawStrip(parts.strip, session.rates, now);
  }

  /** @param {HTMLElement} row @param {Entry} entry @param {boolean} fresh */
  drawEntry(row, entry, fresh) {
    if (!fresh) return;
    const name = el("span", { class: "name" });
    nameIn(name, visible(entry.session));
    fill(
      row,
      el("span", { class: "seq dim" }, String(entry.seq)),
      el("span", { class: "time dim" }, clock(entry.at, Date.now())),
      el("span", { class: `type ${entry.type}` }, entry.type),
      name,
      el(
        "span",
        { class: "what" },
        entry.broken && el("span", { class: "mark-broken", title: "before is not what was recorded last" }, "lineage broken"),
        visible(summaryOf(entry.text)),
      ),
    );
  }
}
