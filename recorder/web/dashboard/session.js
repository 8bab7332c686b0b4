/**
 * The view of a session: its timeline, a slider over it, and the state as of any of its deltas with what changed there.
 *
 * Every delta carries the states before and after it, so that the state as of a delta, and the difference that it made,
 * follow from that one delta; what is read from history is the stretch around the place that is looked at.
 */

import { Blame } from "./blame.js";
import { announce, el, fill, say } from "./dom.js";
import { several, visible } from "./format.js";
import { readPage } from "./history.js";
import { Player } from "./player.js";
import { sessionAddress } from "./router.js";
import { SessionLog } from "./session-log.js";
import { StatePanel } from "./state-panel.js";
import { copy } from "./teach.js";
import { timelineOf } from "./timeline.js";
import { Transport } from "./transport.js";

/** @typedef {import("./feed-log.js").Entry} Entry */
/** @typedef {{id: string, at: number | null}} Place */
/** @typedef {{api: import("./api.js").Api, source: import("./source.js").Source, go: (address: string) => void}} World */

const NEAR = 20; // entries kept ahead on both sides of the place
const ADDRESS_MS = 400; // the address follows after so long at rest

/** The view; made when it is shown, closed when another one is. */
export class SessionView {
  /** @param {Place} place @param {World} world */
  constructor(place, { api, source, go }) {
    this.id = place.id;
    this.api = api;
    this.source = source;
    this.go = go;
    this.wanted = place.at; // the seq to begin at; null: the last
    this.seq = place.at ?? 0; // the place
    this.following = place.at === null; // whether it moves with what comes
    this.problem = ""; // why there is nothing to see, in words
    this.opening = 0; // which opening is the last one that was begun
    this.player = new Player();
    this.frame = 0; // of the player, while it plays
    this.frameAt = 0; // when the last one was
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.addressTimer = null; // until the address follows
    this.abort = new AbortController(); // ends what is asked for this view
    const read = (/** @type {Record<string, string | number>} */ query) =>
      readPage(api, "/api/deltas", { session: this.id, ...query }, this.abort.signal);
    this.log = new SessionLog(read);
    this.blame = new Blame(api, this.id, (seq) => void this.jump(seq), this.abort.signal);
    this.panel = new StatePanel((path) => this.blame.ask(path, this.seq));
    this.timeline = timelineOf({
      onSelect: (entry) => this.select(entry.seq),
      onNearEdge: () => void this.reach(),
    });
    this.transport = new Transport({
      first: () => void this.jump(this.log.first),
      back: () => this.step(-1),
      toggle: () => this.toggle(),
      on: () => this.step(1),
      last: () => void this.jump(this.log.last),
      follow: () => this.follow(),
      speed: (speed) => (this.player.speed = speed),
      scrub: (fraction) => void this.jump(this.log.seqAt(fraction)),
    });
    this.facts = el("span", { class: "facts dim" });
    this.notice = el("div", { class: "notice", hidden: true });
    this.body = el("div", { class: "session-body" });
    // Not before there is something: what is copied too early is no state.
    this.copyButton = el("button", { type: "button", class: "quiet", hidden: true }, "Copy state");
    this.downloadButton = el("button", { type: "button", class: "quiet", hidden: true }, "Download");
    this.element = this.page();
    this.unlisten = source.listen({
      onDeltas: (entries) => this.onDeltas(entries),
      onFresh: (began) => void this.open(began.seq),
      onErased: ({ session }) => session === this.id && void this.open(source.figures.head),
    });
  }

  /** Nothing of it is shown any more. */
  close() {
    this.stop();
    this.unlisten();
    this.abort.abort();
    this.timeline.close();
    if (this.addressTimer !== null) clearTimeout(this.addressTimer);
  }

  /**
   * Another place was asked for, by the address.
   * @param {Place} place
   * @returns {boolean} Whether it is of this session.
   */
  goTo(place) {
    if (place.id !== this.id) return false;
    if (place.at === null) this.follow();
    else if (place.at !== this.seq) void this.jump(place.at);
    return true;
  }

  /**
   * A key was pressed, and nobody else wants it.
   * @param {KeyboardEvent} event
   * @returns {boolean} Whether it was for this view.
   */
  onKey(event) {
    const onButton = /** @type {HTMLElement} */ (event.target).closest("button, a, select") !== null;
    if (event.key === " " && onButton) return false;
    const steps = event.shiftKey ? 10 : 1;
    if (event.key === "ArrowLeft") this.step(-steps);
    else if (event.key === "ArrowRight") this.step(steps);
    else if (event.key === "Home") void this.jump(this.log.first);
    else if (event.key === "End") void this.jump(this.log.last);
    else if (event.key === " ") this.toggle();
    else if (event.key === "l") this.follow();
    else if ("123".includes(event.key)) this.panel.choose(Number(event.key) - 1);
    else return false;
    return true;
  }

  page() {
    this.body.append(
      el("section", { class: "card timeline-card", "aria-label": "Timeline" }, this.timeline.element),
      el("section", { class: "card state-card", "aria-label": "State" }, this.panel.element, this.blame.element),
    );
    this.copyButton.addEventListener("click", () => void copy(this.panel.stateText(), this.copyButton));
    this.downloadButton.addEventListener("click", () => void this.download(this.downloadButton));
    return el(
      "div",
      { class: "session" },
      el(
        "div",
        { class: "session-head" },
        el("a", { href: "#/", class: "back" }, "← Now"),
        el("h1", { title: visible(this.id) }, visible(this.id)),
        this.facts,
        el("div", { class: "actions" }, this.copyButton, this.downloadButton),
      ),
      this.notice,
      this.transport.element,
      this.body,
    );
  }

  /**
   * Read anew, up to a seq of which everything behind comes live.
   * @param {number} head
   */
  async open(head) {
    const mine = ++this.opening;
    this.problem = "";
    if (this.source.figures.recording) {
      try {
        await this.log.open(this.following || this.wanted === null ? head : this.wanted);
      } catch (error) {
        if (mine !== this.opening || this.abort.signal.aborted) return;
        this.problem = /** @type {Error} */ (error).message;
      }
    } else this.log.begin();
    if (mine !== this.opening) return;
    if (this.following) this.seq = this.log.last;
    this.draw();
  }

  /** @param {Entry[]} entries */
  onDeltas(entries) {
    const ours = entries.filter((entry) => entry.session === this.id);
    if (!ours.length) return;
    for (const entry of ours) this.log.append(entry);
    if (this.following && this.log.atEnd) this.seq = this.log.last;
    this.draw();
  }

  // Moving

  /** @param {number} seq A delta that is here. */
  select(seq) {
    this.stop();
    this.place(seq);
  }

  /** @param {number} seq */
  place(seq) {
    this.seq = seq;
    this.wanted = seq;
    this.following = false;
    this.drawPlace();
    this.addressFollows();
    void this.reach();
  }

  /** @param {number} steps */
  step(steps) {
    const index = this.log.indexAt(this.seq);
    const entry = this.log.entries[Math.min(this.log.entries.length - 1, Math.max(0, index + steps))];
    if (entry) this.select(entry.seq);
  }

  /**
   * Go to a seq, wherever it is.
   * @param {number} seq
   */
  async jump(seq) {
    this.stop();
    this.following = false;
    this.wanted = seq;
    if (!this.log.covers(seq)) {
      await this.open(seq);
      if (this.wanted !== seq) return;
    }
    const entry = this.log.entries[this.log.indexAt(seq)];
    if (entry) this.place(entry.seq);
  }

  /** Move with what comes. */
  follow() {
    this.stop();
    this.following = true;
    if (!this.log.atEnd) void this.open(this.source.figures.head);
    else {
      this.seq = this.log.last;
      this.drawPlace();
    }
    this.addressFollows();
  }

  /** Have what is next to the place at hand. */
  async reach() {
    if (this.log.busy) return;
    const [first, length] = [this.log.entries[0], this.log.entries.length];
    this.log.busy = this.log.reach(this.log.indexAt(this.seq), NEAR);
    try {
      await this.log.busy;
    } catch {
      // The place that is looked at is here; what is not is asked for again with the next step.
    } finally {
      this.log.busy = null;
    }
    if (first !== this.log.entries[0] || length !== this.log.entries.length) this.draw();
  }

  // Playing

  toggle() {
    if (this.player.playing) this.stop();
    else this.play();
  }

  play() {
    const last = this.log.entries.at(-1);
    if (!last) return;
    // At the end there is nothing to play but from the beginning.
    if (this.seq >= last.seq && this.log.atEnd) this.place(this.log.entries[0].seq);
    this.following = false;
    this.player.play();
    this.frameAt = performance.now();
    this.frame = requestAnimationFrame((time) => this.onFrame(time));
    this.drawControls();
  }

  stop() {
    this.player.stop();
    cancelAnimationFrame(this.frame);
    this.drawControls();
  }

  /** @param {number} time */
  onFrame(time) {
    const { entries, atEnd } = this.log;
    const here = this.log.indexAt(this.seq);
    const next = this.player.advance(time - this.frameAt, here, entries.length, (index) => entries[index].happened);
    this.frameAt = time;
    if (next !== here) {
      this.seq = entries[next].seq;
      this.drawPlace();
      void this.reach();
    }
    if (next === entries.length - 1 && atEnd) {
      announce("Played to the end, following live");
      this.follow();
    } else if (this.player.playing) this.frame = requestAnimationFrame((later) => this.onFrame(later));
  }

  // Drawing

  draw() {
    this.timeline.show(this.log.entries);
    this.transport.scrubber.mark(this.log);
    this.drawPlace();
    this.drawNotice();
  }

  drawPlace() {
    const { entries, whole, atEnd } = this.log;
    const index = this.log.indexAt(this.seq);
    const entry = entries[index];
    this.transport.place(this.log, this.seq);
    if (entry) {
      this.panel.show(entry, entries[index - 1] ?? null);
      this.timeline.goTo(index);
    }
    const gone = atEnd && entries.at(-1)?.type === "deleted";
    say(this.facts, [gone && "deleted", entry && whole && several(entries.length, "delta")].filter(Boolean).join(" · "));
    this.copyButton.hidden = !entry;
    this.downloadButton.hidden = !entry || !this.source.figures.recording;
    this.drawControls();
  }

  drawControls() {
    this.transport.state(this.player.playing, this.following);
  }

  drawNotice() {
    const nothing = this.log.entries.length === 0;
    this.body.hidden = nothing;
    this.transport.element.hidden = nothing;
    const text = nothing ? this.problem || this.whyNothing() : "";
    this.notice.hidden = !text;
    if (text) fill(this.notice, el("p", {}, text));
  }

  whyNothing() {
    if (!this.source.figures.recording) {
      return "Recording is off, so that nothing of what was can be shown. What comes of this session appears here.";
    }
    return "Nothing of a session with this id is recorded. If it is published, it appears here at once.";
  }

  // Out of the page

  addressFollows() {
    if (this.addressTimer !== null) clearTimeout(this.addressTimer);
    this.addressTimer = setTimeout(() => {
      history.replaceState(null, "", sessionAddress(this.id, this.following ? null : this.seq));
    }, ADDRESS_MS);
  }

  /** @param {HTMLElement} button */
  async download(button) {
    const path = `/api/export?${new URLSearchParams({ session: this.id, format: "ndjson" })}`;
    const link = el("a", { href: path, download: "" }); // the recorder names it, after the session
    // A link carries no token, so where there is one the file comes through the page.
    if (this.api.token !== null) {
      try {
        const response = await this.api.response(path);
        link.download = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "deltas.ndjson";
        link.href = URL.createObjectURL(await response.blob());
      } catch (error) {
        say(button, /** @type {Error} */ (error).message);
        return;
      }
    }
    link.click();
    if (link.href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}
