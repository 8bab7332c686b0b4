/** The view "Live": sessions by latest activity, deltas per second, and the events as they come. */

import { RateChart, drawStrip, stripIn } from "./chart.js";
import { el, fill, nameIn, say } from "./dom.js";
import { ago, clock, count, several, visible } from "./format.js";
import { sessionAddress } from "./router.js";
import { summaryOf } from "./summary.js";
import { commandToCopy, firstDelta, nextDelta } from "./teach.js";
import { VirtualList } from "./virtual-list.js";

/** @typedef {import("./event-log.js").Entry} Entry */
/** @typedef {import("./sessions.js").Session} Session */

const DRAW_MS = 100; // least time between two drawings of the events
const ORDER_MS = 1000; // the same of the sessions, whose order is to be read
const NEAR_END = 400; // pixels from the end at which older events are read

/** The view; made when it is shown, closed when another one is. */
export class LiveView {
  /**
   * @param {import("./live-model.js").LiveModel} model
   * @param {import("./source.js").Source} source
   * @param {(address: string) => void} go
   */
  constructor(model, source, go) {
    this.model = model;
    this.source = source;
    this.go = go;
    this.dirty = true; // whether the events are to be drawn
    this.drawnAt = 0; // when they were
    this.orderedAt = 0; // when the sessions were
    this.paused = model.feed.held; // whether the user has paused the events
    this.sessionFilter = ""; // part of the ids that are listed
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
      id: "events-text",
      placeholder: "Filter by text",
      "aria-label": "Show only events that contain this text",
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

  /** End what the view has begun. */
  close() {
    cancelAnimationFrame(this.frame);
    this.unwatch();
    this.sessions.close();
    this.feed.close();
  }

  /**
   * Handle a key that nothing else has handled.
   * @param {KeyboardEvent} event
   * @returns {boolean} Whether the view has handled it.
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
      { class: "live-view" },
      el("h1", { class: "unseen" }, "Live"),
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
        { class: "card events", "aria-labelledby": "events-head" },
        el("div", { class: "card-head" }, el("h2", { id: "events-head" }, "Events"), this.feedNote, this.newer, this.pause),
        el("div", { class: "filters", role: "search", "aria-label": "Filter the events" }, ...this.filters()),
        el("div", { class: "events-body" }, this.feed.element, this.feedEmpty),
      ),
    );
  }

  sessionSearch() {
    const input = el("input", {
      type: "search",
      placeholder: "Filter sessions",
      "aria-label": "Show only sessions whose id contains this text",
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
      placeholder: "Filter by session",
      "aria-label": "Show only events of sessions whose id contains this text",
      value: filter.session,
      on: { input: () => this.filter({ session: session.value }) },
    });
    const type = el(
      "select",
      { "aria-label": "Show only events of this type", on: { change: () => this.filter({ type: type.value }) } },
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
      label: "Sessions, latest activity first",
      class: "session-list",
      key: (session) => session.id,
      draw: (row, session, fresh) => this.drawSession(row, session, fresh),
      address: (session) => sessionAddress(session.id),
      onOpen: (session) => this.go(sessionAddress(session.id)),
    });
  }

  /** @returns {VirtualList<Entry>} */
  feedList() {
    return new VirtualList({
      label: "Events, newest first",
      class: "events-list",
      key: (entry) => entry.seq,
      draw: (row, entry, fresh) => this.drawEntry(row, entry, fresh),
      address: (entry) => sessionAddress(entry.session, entry.seq),
      onOpen: (entry) => this.go(sessionAddress(entry.session, entry.seq)),
      onScroll: (above, below) => this.onScroll(above, below),
    });
  }

  /** @param {number} above @param {number} below */
  onScroll(above, below) {
    // Who has scrolled down is reading: new events must not move the rows.
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

  /** @param {Partial<import("./event-log.js").Filter>} wanted */
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
    const whole = `${this.model.nothingOlder ? "" : "latest "}${several(feed.entries.length, "event")}`;
    say(this.feedNote, filtered ? `${count(feed.shown.length)} of ${whole}` : whole);
    say(this.pause, feed.held ? "Resume" : "Pause");
    this.pause.setAttribute("aria-pressed", String(feed.held));
    this.newer.hidden = !feed.held || feed.missed === 0;
    say(this.missed, `↑ ${count(feed.missed)} newer`);
    say(this.missedMore, feed.missed === 1 ? " event" : " events");
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
        !loaded ? problem || "Loading …" : filtered ? "No event matches the filters." : "No events yet.",
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
      el("h2", {}, recording ? "Nothing is recorded yet" : "No events yet"),
      el(
        "p",
        {},
        "Publish the first state of a session from a terminal. It appears here at once:",
      ),
      commandToCopy(firstDelta(token)),
      el("p", {}, "Publish a change, then open the session to see what changed:"),
      commandToCopy(nextDelta(token)),
      el(
        "p",
        { class: "dim" },
        recording
          ? "To see example sessions, start the recorder with: recorder serve --demo. To read logs of other programs: recorder import."
          : "Not recording: deltas are sent to subscribers and are not stored. To record, start the recorder with: recorder serve --persist.",
      ),
    );
  }

  drawSessions() {
    // The order stays while the pointer or the keyboard is in the list.
    const list = this.sessions.element;
    const held = list.matches(":hover") || list.contains(document.activeElement);
    if (!held || this.sessions.items.length === 0) {
      const all = this.model.sessions.latest();
      const filter = this.sessionFilter;
      this.sessions.items = filter ? all.filter((session) => session.id.toLowerCase().includes(filter)) : all;
    }
    this.sessions.show(this.sessions.items);
    const known = this.model.sessions;
    say(this.sessionsNote, known.complete ? count(known.byId.size) : `latest ${count(known.byId.size)}`);
  }

  /** @param {HTMLElement} row @param {Session} session @param {boolean} fresh */
  drawSession(row, session, fresh) {
    const now = Date.now();
    // Under a name of its own: a link has properties such as `name`.
    const parts = (/** @type {any} */ (row).parts ??= {});
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
        entry.broken && el("span", { class: "mark-broken", title: "The before that was sent is not the state that was recorded last" }, "lineage broken"),
        visible(summaryOf(entry.text, () => this.model.feed.before(entry)?.text ?? null)),
      ),
    );
  }
}
