/**
 * Resuming, as a state machine: no socket, no clock. Messages and cuts in, events and verdicts out. The twin of
 * `recorder/client/resume.py`: one list of cases holds both.
 *
 * Invariant: whatever is cut, and wherever, its owner is handed every matching delta exactly once and in order from
 * where it began, or a `Conflated` that covers it, or a `Reset` first. The position moves only with what was handed out.
 *
 * A list of states that was cut is no position: it begins again from its start, and its owner is told (`Reset` with the
 * reason `cut`), since a session that it has from the first half may be gone in the second. One that follows
 * `conflated` has a position: where it is cut, what was left out comes after all. A gap is called one only where it can
 * be told: all deltas are asked for, and the one before was handed out, or named as where to resume.
 */

import { ClientError, TokenRefused, Violation } from "./errors.js";
import { Delta, Live, Reset, State, decode, positionText } from "./events.js";

export const PROTOCOL_VERSION = 1;

/** How often in a row, without getting on, the server may break the protocol before that is final. */
export const MAX_STRIKES = 3;

const NOT_AUTHENTICATED = 4401;
/** After these there is no use in coming back. @type {Map<number, string>} */
const FINAL = new Map([
  [4400, "mend the subscription"],
  [NOT_AUTHENTICATED, ""],
  [4403, "the token's role, the Origin or the Host does not permit it"],
]);
/** The same as codes of errors. */
const FINAL_CODES = new Map([["bad_subscription", 4400], ["not_authenticated", NOT_AUTHENTICATED], ["not_allowed", 4403]]);
const BROKEN = new Set([1002, 1003, 1007, 1009]);

/** @typedef {"down" | "greeting" | "replay" | "listing" | "moving on" | "live"} Phase Where a connection is. */
/** @typedef {{epoch: string, seq: number, hash: string | null}} Position */

export class Resume {
  /**
   * @param {string} since Where to begin, as spelled on the wire.
   * @param {import("./options.js").Wanted["sinceKind"]} kind
   * @param {boolean} filtered Whether only some are asked for, so that numbers may be missing.
   */
  constructor(since, kind, filtered) {
    this.since = since;
    this.kind = kind;
    this.filtered = filtered;
    /** @type {Phase} */
    this.phase = "down";
    /** Of the current or last connection. */
    this.epoch = "";
    /** The highest seq heard of in this epoch. */
    this.head = 0;
    /** Everything up to here has been handed out. @type {Position | null} */
    this.position = kind === "position" ? parsePosition(since) : null;
    /** Deltas that came again and were dropped. */
    this.duplicates = 0;
    /** Times the server broke the protocol. */
    this.violations = 0;
    this.unlisted = kind === "state"; // whether a list of states is due, from its start
    this.void = false; // whether something of a list that is not complete has been handed out
    this.gapless = false; // whether the next delta must follow the position
    this.strikes = 0; // violations since it got on
    /** The furthest that `position` has been in this epoch. @type {Position | null} */
    this.furthest = null;
    this.complaint = ""; // what the server said last in an `error`
    /** While moving on: what was left out ends here. @type {number | null} */
    this.skipped = null;
  }

  /** The `since` to connect with now. */
  get query() {
    if (this.unlisted) return "state";
    return this.position === null ? this.since : positionText(this.position);
  }

  /** A connection was opened with `query`. */
  connected() {
    this.phase = "greeting";
    this.skipped = null;
    this.complaint = "";
  }

  /**
   * A message came.
   *
   * @param {unknown} data Its payload.
   * @returns {import("./events.js").Event[]} What to hand out, in order.
   * @throws {Violation} The protocol is broken: close the connection and call `violated`.
   * @throws {ClientError} A refusal that is final.
   */
  receive(data) {
    const wire = decode(data);
    if (wire === null) return [];
    if (wire.event === "hello") return this.#hello(wire);
    if (wire.event === "error") return this.#error(wire);
    if (this.phase === "greeting") throw new Violation(`${wire.event} before hello`);
    switch (wire.event) {
      case "delta":
        return this.#delta(wire, /** @type {string} */ (data));
      case "state":
        return this.#state(wire, /** @type {string} */ (data));
      case "live":
        return this.#live(wire.seq, wire.hash ?? null);
      case "reset":
        return this.#reset(wire);
      case "heartbeat":
        return this.#heartbeat(wire);
      case "conflated":
        return this.#conflated(wire);
      default:
        return [wire];
    }
  }

  /**
   * The connection is gone.
   *
   * @param {number} code The close code; 1006 where there was none.
   * @param {string} reason
   * @returns {string} Why, for people: it may be tried again.
   * @throws {ClientError} It may not.
   */
  disconnected(code, reason) {
    this.phase = "down";
    const said = this.complaint || reason;
    const why = `closed with ${code}${said ? `: ${said}` : ""}`;
    if (FINAL.has(code)) throw finalError(code, `the server ${why}`);
    if (BROKEN.has(code)) this.#strike(why);
    return why;
  }

  /**
   * `receive` threw a violation, and the connection was closed.
   *
   * @param {Violation} violation
   * @returns {string} As `disconnected`.
   */
  violated(violation) {
    this.phase = "down";
    this.#strike(violation.message);
    return violation.message;
  }

  /** @param {string} why */
  #strike(why) {
    this.violations++;
    this.strikes++;
    if (this.strikes >= MAX_STRIKES) {
      throw new ClientError(
        `the server keeps breaking the protocol: ${why}`,
        `${this.strikes} times in a row at ${this.query}; is this a recorder of its version?`,
      );
    }
  }

  /** @param {any} wire @returns {import("./events.js").Event[]} */
  #hello(wire) {
    if (this.phase !== "greeting") throw new Violation("a second hello");
    if (wire.protocol !== PROTOCOL_VERSION) {
      throw new ClientError(
        `the server speaks protocol ${wire.protocol}, this client speaks ${PROTOCOL_VERSION}`,
        "use the client that this server serves",
      );
    }
    this.epoch = wire.epoch;
    this.head = wire.head;
    // The token is for some sessions only, so that numbers may be missing.
    if (wire.scoped === true) this.filtered = true;
    const hello = { durable: null, recording: true, durability: "snapshot", lossWindowMs: null, ...wire };
    if (this.unlisted) {
      this.phase = "listing";
      return this.void ? [hello, new Reset("cut", this.epoch, null, this.head)] : [hello];
    }
    this.phase = "replay";
    this.gapless = !this.filtered;
    if (this.position === null) this.#begin();
    return [hello];
  }

  /** Greeted, and nothing has been handed out yet. */
  #begin() {
    if (this.kind === "seq") {
      this.position = { epoch: this.epoch, seq: Number(this.since), hash: null };
      return;
    }
    // What is kept from the earliest or a time on may have holes; `latest` begins where `live` says.
    this.gapless = false;
    // A connection cut before the first delta resumes from here.
    if (this.kind === "latest") this.position = { epoch: this.epoch, seq: this.head, hash: null };
  }

  /** @param {any} wire */
  #reset(wire) {
    this.phase = "listing";
    this.position = null;
    this.unlisted = this.void = true;
    this.epoch = wire.epoch;
    this.head = wire.head;
    return [new Reset(wire.reason, wire.epoch, wire.oldest, wire.head)];
  }

  /** @param {any} wire @param {string} text */
  #state(wire, text) {
    if (this.phase !== "listing" && this.phase !== "moving on") {
      throw new Violation(`a state of session ${wire.sessionId} that nobody asked for`);
    }
    if (this.phase === "listing") this.void = true;
    return [new State(wire, this.epoch, text)];
  }

  /** @param {number} seq @param {string | null} said The hash there, where the server says one. */
  #live(seq, said) {
    if (this.phase === "live") throw new Violation("live was said twice");
    const position = this.position;
    if (position !== null) {
      this.#sameEpoch(position);
      const reached = this.skipped ?? position.seq;
      if (seq < reached || (this.gapless && seq !== reached)) {
        throw new Violation(`live at ${seq}, after ${reached} was reached`);
      }
    }
    const hash = said ?? (position?.seq === seq ? position.hash : null);
    this.#move(seq, hash);
    this.skipped = null;
    this.phase = "live";
    this.gapless = !this.filtered;
    return [new Live(seq, this.epoch, hash)];
  }

  /** @param {any} wire */
  #conflated(wire) {
    const { epoch, from, to } = wire;
    if (this.position === null || (this.phase !== "live" && this.phase !== "moving on")) {
      throw new Violation("conflated before live");
    }
    const reached = this.skipped ?? this.position.seq;
    if (epoch !== this.epoch || to < from || from < reached || (this.gapless && from !== reached)) {
      throw new Violation(`conflated from ${from} to ${to} of epoch ${epoch}, after ${reached} was reached`);
    }
    // The states of the round before are whole.
    if (this.skipped !== null) this.#move(from, null);
    this.phase = "moving on";
    this.skipped = to;
    this.head = Math.max(this.head, to);
    return [wire];
  }

  /** @param {any} wire @param {string} text */
  #delta(wire, text) {
    if (this.phase === "moving on") throw new Violation("a delta before the live that ends what conflated began");
    const position = this.position;
    if (position !== null) {
      this.#sameEpoch(position);
      if (wire.seq <= position.seq) {
        this.duplicates++;
        return [];
      }
      if (this.gapless && wire.seq !== position.seq + 1) {
        throw new Violation(`a gap: ${wire.seq} came after ${positionText(position)}`);
      }
    }
    if (this.phase === "listing") {
      this.phase = "replay";
      this.gapless = !this.filtered;
    }
    this.#move(wire.seq, wire.hash ?? null);
    return [new Delta(wire, this.epoch, text)];
  }

  /** @param {any} wire */
  #heartbeat(wire) {
    if (wire.epoch !== this.epoch) throw new Violation(`a heartbeat of epoch ${wire.epoch} in epoch ${this.epoch}`);
    this.head = Math.max(this.head, wire.head);
    return [{ durable: null, at: "", ...wire, position: this.#passed(wire.through ?? null) }];
  }

  /**
   * Move on to where the server says that nothing is missing.
   *
   * @param {number | null} through
   * @returns {string | null} Where that is; null where it is not said, and before it is live.
   */
  #passed(through) {
    // A list of states has no position before its end, and only `live` says where history ends.
    if (through === null || this.phase !== "live" || this.position === null) return null;
    if (through > this.position.seq) {
      if (this.gapless) {
        throw new Violation(`a gap: all up to ${through} was sent, and ${positionText(this.position)} was reached`);
      }
      this.#move(through, null);
    }
    return positionText(this.position);
  }

  /** @param {any} wire @returns {never[]} */
  #error(wire) {
    this.complaint = wire.message;
    const code = FINAL_CODES.get(wire.code);
    if (code !== undefined) throw finalError(code, `the server refused: ${wire.message}`);
    return [];
  }

  /** @param {Position} position */
  #sameEpoch(position) {
    if (position.epoch !== this.epoch) {
      throw new Violation(`the epoch is ${this.epoch}, and no reset came for ${positionText(position)}`);
    }
  }

  /** @param {number} seq @param {string | null} hash */
  #move(seq, hash) {
    this.position = { epoch: this.epoch, seq, hash };
    const furthest = this.furthest;
    // Not the position alone: one that goes back and forth with resets is not getting on.
    if (furthest === null || furthest.epoch !== this.epoch || seq > furthest.seq) {
      this.furthest = this.position;
      this.strikes = 0;
    }
    this.unlisted = this.void = false;
    this.head = Math.max(this.head, seq);
  }
}

/**
 * @param {number} code One of the close codes after which there is no use in coming back.
 * @param {string} message What the server said.
 * @returns {ClientError} What that is for the caller.
 */
export function finalError(code, message) {
  return code === NOT_AUTHENTICATED ? new TokenRefused(message) : new ClientError(message, FINAL.get(code));
}

/**
 * @param {string} text `epoch:seq` or `epoch:seq:hash`
 * @returns {Position}
 */
function parsePosition(text) {
  const [epoch, seq, hash] = text.split(":");
  return { epoch, seq: Number(seq), hash: hash ?? null };
}
