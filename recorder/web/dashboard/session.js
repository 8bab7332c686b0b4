/**
 * The view of a session: its timeline, a slider over it, and the state after any of its deltas with what changed there.
 *
 * Only the stretch of history around the selected delta is read. The user may move while it is read: an answer is shown
 * only where it covers the delta that is selected then, else the stretch around that delta is read.
 */

import { BASE } from "./api.js";
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

/** @typedef {import("./event-log.js").Entry} Entry */
/** @typedef {{id: string, at: number | null}} Place */
/** @typedef {{api: import("./api.js").Api, source: import("./source.js").Source, go: (address: string) => void}} World */

const NEAR = 20; // entries that are read ahead on both sides of the selected one
const ADDRESS_MS = 400; // without a move, until the address is updated

/** The view; made when it is shown, closed when another one is. */
export class SessionView {
  /** @param {Place} place @param {World} world */
  constructor(place, { api, source, go }) {
    this.id = place.id;
    this.api = api;
    this.source = source;
    this.go = go;
    this.wanted = place.at; // the seq to show; null: the last one
    this.asked = place.at; // the seq that the address named, until the user moves; null: none
    this.seq = place.at ?? 0; // the seq that is shown
    this.following = place.at === null; // whether it moves on with live deltas
    this.problem = ""; // why there is nothing to show, in words
    this.opening = 0; // of the last `open`; earlier ones stop
    this.player = new Player();
    this.frame = 0; // of the player, while it plays
    this.frameAt = 0; // time of the last frame
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.addressTimer = null; // until the address is updated
    this.abort = new AbortController(); // ends the requests of this view
    const read = (/** @type {Record<string, string | number>} */ query) =>
      readPage(api, "api/deltas", { session: this.id, ...query }, this.abort.signal);
    this.log = new SessionLog(read);
    this.blame = new Blame(api, this.id, (seq) => void this.jump(seq), this.abort.signal);
    this.panel = new StatePanel((path) => this.blame.ask(path, this.seq));
    this.timeline = timelineOf({
      onSelect: (entry) => this.select(entry.seq),
      onNearEdge: () => void this.reach(),
      previousOf: (entry) => this.log.entries[this.log.indexAt(entry.seq) - 1] ?? null,
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
    this.elsewhere = el("p", { class: "note elsewhere", role: "status", hidden: true }); // the address names no delta
    this.body = el("div", { class: "session-body" });
    // Hidden until there is a state to copy.
    this.copyButton = el("button", { type: "button", class: "quiet", hidden: true }, "Copy state");
    this.downloadButton = el("button", { type: "button", class: "quiet", hidden: true }, "Download");
    this.element = this.page();
    this.unlisten = source.listen({
      onDeltas: (entries) => this.onDeltas(entries),
      onFresh: (began) => void this.open(began.seq),
      onErased: ({ session }) => session === this.id && this.onErased(),
    });
  }

  /** End the requests, timers and listeners of the view. */
  close() {
    this.stop();
    this.unlisten();
    this.abort.abort();
    this.timeline.close();
    if (this.addressTimer !== null) clearTimeout(this.addressTimer);
  }

  /**
   * Show the delta that a new address names.
   * @param {Place} place
   * @returns {boolean} Whether the address is of this session.
   */
  goTo(place) {
    if (place.id !== this.id) return false;
    if (this.addressTimer !== null) clearTimeout(this.addressTimer);
    if (place.at === null) this.follow();
    else if (place.at !== this.seq || place.at !== this.wanted) void this.jump(place.at, place.at);
    return true;
  }

  /**
   * Handle a key that nothing else has handled.
   * @param {KeyboardEvent} event
   * @returns {boolean} Whether the view has handled it.
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
        el("a", { href: "#/", class: "back" }, "← Live"),
        el("h1", { title: visible(this.id) }, visible(this.id)),
        this.facts,
        el("div", { class: "actions" }, this.copyButton, this.downloadButton),
      ),
      this.notice,
      this.elsewhere,
      this.transport.element,
      this.body,
    );
  }

  /**
   * Read the stretch around the wanted seq.
   * @param {number} head Deltas after this seq come live.
   */
  async open(head) {
    const mine = ++this.opening;
    const target = () => (this.following || this.wanted === null ? head : this.wanted);
    this.problem = "";
    let read = null;
    // Who moves while it is read wants another stretch.
    while (this.source.figures.recording && read !== target()) {
      read = target();
      try {
        await this.log.open(read);
      } catch (error) {
        if (mine !== this.opening || this.abort.signal.aborted) return;
        this.problem = /** @type {Error} */ (error).message;
        break;
      }
      if (mine !== this.opening) return;
    }
    if (!this.source.figures.recording) this.log.begin();
    if (this.following) this.seq = this.log.last;
    this.draw();
  }

  /** Content of the session was erased: what is shown of it, or was requested, may hold it. */
  onErased() {
    this.blame.hide();
    void this.open(this.source.figures.head);
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
    this.asked = null;
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
   * Go to a seq, whether it is held or not.
   * @param {number} seq
   * @param {number | null} [asked] The seq that the address names.
   */
  async jump(seq, asked = null) {
    this.stop();
    this.following = false;
    this.wanted = seq;
    if (!this.log.covers(seq)) {
      await this.open(this.source.figures.head);
      // The user has moved on: this answer is late.
      if (this.wanted !== seq || this.following || this.abort.signal.aborted) return;
      if (!this.log.covers(seq)) {
        this.wanted = this.seq;
        if (this.problem) say(this.elsewhere, `Seq ${seq} could not be read: ${this.problem}`);
        this.elsewhere.hidden = !this.problem;
        return;
      }
    }
    const entry = this.log.entries[this.log.indexAt(seq)];
    if (!entry) return;
    this.place(entry.seq);
    this.asked = asked;
    this.drawElsewhere();
  }

  /** Move on with live deltas. */
  follow() {
    this.stop();
    this.following = true;
    this.wanted = null;
    this.asked = null;
    if (!this.log.atEnd) void this.open(this.source.figures.head);
    else {
      this.seq = this.log.last;
      this.drawPlace();
    }
    this.addressFollows();
  }

  /** Read the entries around the selected one. */
  async reach() {
    if (this.log.busy) return;
    const { generation } = this.log;
    const [first, length] = [this.log.entries[0], this.log.entries.length];
    this.log.busy = this.log.reach(this.log.indexAt(this.seq), NEAR);
    try {
      await this.log.busy;
    } catch {
      // The selected delta is held. The others are requested again with the next step.
    } finally {
      this.log.busy = null;
    }
    if (this.abort.signal.aborted) return;
    // The answer was for another stretch, and was dropped.
    if (generation !== this.log.generation) return void this.reach();
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
    // At the end it plays from the beginning.
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
      this.wanted = this.seq;
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
    this.drawElsewhere();
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

  /** Say so where the address names a seq at which the session has no delta. */
  drawElsewhere() {
    const entry = this.log.entries[this.log.indexAt(this.seq)];
    const { asked } = this;
    this.elsewhere.hidden = asked === null || !entry || entry.seq === asked;
    if (this.elsewhere.hidden || asked === null || !entry) return;
    const which = entry.seq < asked ? "the last one before it" : "the first one that is kept";
    say(this.elsewhere, `This session has no delta with seq ${asked}. Shown is seq ${entry.seq}, ${which}.`);
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
      return "Not recording: past deltas cannot be shown. New deltas of this session appear here.";
    }
    return "No session with this id is recorded. When a delta of it is published, it appears here.";
  }

  // Outside of the page

  addressFollows() {
    if (this.addressTimer !== null) clearTimeout(this.addressTimer);
    this.addressTimer = setTimeout(() => {
      history.replaceState(null, "", sessionAddress(this.id, this.following ? null : this.seq));
    }, ADDRESS_MS);
  }

  /** @param {HTMLElement} button */
  async download(button) {
    const path = `api/export?${new URLSearchParams({ session: this.id, format: "ndjson" })}`;
    const link = el("a", { href: new URL(path, BASE), download: "" }); // the recorder names the file after the session
    // A link cannot carry a token: then the page fetches the file.
    if (this.api.token !== null) {
      try {
        const response = await this.api.response(path, this.abort.signal);
        link.download = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "deltas.ndjson";
        link.href = URL.createObjectURL(await response.blob());
      } catch (error) {
        if (this.abort.signal.aborted) return;
        say(button, /** @type {Error} */ (error).message);
        return;
      }
    }
    link.click();
    if (link.href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}
