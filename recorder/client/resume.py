"""Resuming, as a state machine: no I/O, no clock, no task. Messages and cuts in, events and verdicts out.

Invariant: whatever is cut, and wherever, its owner is handed every matching delta exactly once and in order
from where it began, or a `Conflated` that covers it, or a `Reset` first that says that what it had is void. The
position moves only with what was handed out.

Three things are told apart while connected:
- replay: what lies between the position asked for and `live`;
- listing: `state` events, after a `reset` or for `since=state`. A listing that was cut is no position: it
  begins again from its start, and its owner is told (`Reset` with the reason `cut`), since a session it has
  from the first half may be gone in the second. The first delta, or `live`, ends a listing;
- moving on: the same after `conflated`, with a position: where it is cut, what was left out comes after all;
- live.

A gap is called one only where it can be told: all deltas are asked for, and the one before was handed out,
or named as the position to resume from. Left out: when to reconnect (`backoff`), and for how long nothing
may be heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from recorder.client import decode
from recorder.client.decode import Violation
from recorder.client.events import (
    Conflated,
    Delta,
    Erased,
    Erasure,
    Event,
    Heartbeat,
    Hello,
    Live,
    Reset,
    State,
    TokenRefused,
)
from recorder.client.proof import Verifier
from recorder.core.errors import BY_CODE, ClientError
from recorder.core.position import Position
from recorder.wire.subscribe import Since

PROTOCOL_VERSION = 1
MAX_STRIKES = 3
"""How often in a row, without the position moving, the server may break the protocol before that is final."""

_NOT_AUTHENTICATED = 4401
FINAL_CLOSE_CODES = frozenset((4400, _NOT_AUTHENTICATED, 4403))
BROKEN_CLOSE_CODES = frozenset((1002, 1003, 1007, 1009))


@dataclass(frozen=True, slots=True)
class Retry:
    """Connect again after a while.

    Args:
        why: What happened, for people.
        broken: Whether the server broke the protocol: worth a line in the log.
    """

    why: str
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """Never connect again.

    Args:
        error: What the caller gets.
    """

    error: ClientError


Verdict = Retry | Fail


class Phase(Enum):
    """The phase of a connection."""

    DOWN = auto()  # there is none
    GREETING = auto()  # open, before `hello`
    REPLAY = auto()  # history
    LISTING = auto()  # states
    MOVING_ON = auto()  # states, in the place of deltas that were left out
    LIVE = auto()


class Resume:
    """One subscription across its connections.

    Args:
        since: Where to begin.
        text: The same as it is spelled on the wire.
        filtered: Whether only some sessions or types are asked for, so that numbers may be missing.
        verify: Whether each delta's hash is computed anew.
    """

    def __init__(self, since: Since, text: str, *, filtered: bool, verify: bool = False) -> None:
        self._since = since  # where the caller wanted to begin
        self._text = text  # the same, as spelled
        self.is_filtered = filtered  # whether numbers may be missing
        self.phase = Phase.DOWN  # of the current connection
        self.epoch = ""  # of the current or last connection
        self.head = 0  # the highest seq heard of in this epoch
        self.position: Position | None = since.position  # everything up to here has been handed out
        self.duplicates = 0  # deltas that came again and were dropped
        self.violations = 0  # times the server broke the protocol
        self._verifier = Verifier(since.position) if verify else None  # follows the chain
        self._unlisted = since.kind == "state"  # whether a list of states is due, from its start
        self._void = False  # whether something of a list that is not complete has been handed out
        self._gapless = False  # whether the next delta must follow the position
        self._strikes = 0  # violations since there was progress
        self._furthest: Position | None = None  # the furthest that `position` has been in this epoch
        self._skipped: int | None = None  # while moving on: what was left out ends here
        self._complaint = ""  # what the server said last in an `error`

    @property
    def query(self) -> str:
        """The `since` to connect with now."""
        if self._unlisted:
            return "state"
        return self._text if self.position is None else str(self.position)

    def connected(self) -> None:
        """Register that a connection was opened with `query`."""
        self.phase = Phase.GREETING
        self._skipped = None
        self._complaint = ""

    def receive(self, data: bytes) -> Sequence[Event]:
        """Process a message.

        Args:
            data: Its payload.

        Returns:
            What to hand out, in order; often nothing, mostly one event.

        Raises:
            Violation: The protocol is broken: close the connection and call `violated`.
            ClientError: A refusal that is final; a chain that is broken.
        """
        wire = decode.decode(data)
        match wire:
            case decode.DeltaWire():
                return self._delta(wire, data)
            case decode.HeartbeatWire():
                return self._heartbeat(wire)
            case decode.StateWire():
                return self._state(wire, data)
            case decode.LiveWire():
                return self._live(wire)
            case decode.ResetWire():
                return self._reset(wire)
            case decode.HelloWire():
                return self._hello(wire)
            case decode.ErasureWire():
                self._must_be_greeted("erased")
                return (Erasure(wire.session_id, wire.through, wire.count, wire.erased_at, self.epoch),)
            case decode.ConflatedWire():
                return self._conflated(wire)
            case decode.ErrorWire():
                self._error(wire)
        return ()

    def disconnected(self, code: int, reason: str) -> Verdict:
        """Register that the connection is lost.

        Args:
            code: The close code; 1006 where there was none.
            reason: The close reason.
        """
        self.phase = Phase.DOWN
        said = self._complaint or reason
        why = f"closed with {code}" + (f": {said}" if said else "")
        if code == 1009:
            why += " (the option max_event_bytes sets the limit)"
        if code in FINAL_CLOSE_CODES:
            return Fail(final_error(code, f"the server {why}"))
        return self._strike(why) if code in BROKEN_CLOSE_CODES else Retry(why)

    def violated(self, violation: Violation) -> Verdict:
        """Register that `receive` raised a violation, and that the connection was closed."""
        self.phase = Phase.DOWN
        return self._strike(str(violation))

    def _strike(self, why: str) -> Verdict:
        self.violations += 1
        self._strikes += 1
        if self._strikes < MAX_STRIKES:
            return Retry(why, broken=True)
        hint = f"{self._strikes} times in a row at {self.query}; is this a recorder of its version?"
        return Fail(ClientError(f"the server keeps breaking the protocol: {why}", hint=hint))

    def _hello(self, wire: decode.HelloWire) -> Sequence[Event]:
        if self.phase is not Phase.GREETING:
            raise Violation("a second hello")
        if wire.protocol != PROTOCOL_VERSION:
            raise ClientError(
                f"the server speaks protocol {wire.protocol}, this client speaks {PROTOCOL_VERSION}",
                hint="use a client of the server's version",
            )
        self.epoch, self.head = wire.epoch, wire.head
        # The token is for some sessions only, so that numbers may be missing.
        self.is_filtered = self.is_filtered or wire.scoped
        hello = Hello(
            wire.epoch, wire.head, wire.durable, wire.recording, wire.durability, wire.loss_window_ms
        )
        if self._unlisted:
            return (hello, *self._begin_listing())
        self.phase = Phase.REPLAY
        self._gapless = not self.is_filtered
        if self.position is None:
            self._begin()
        return (hello,)

    def _begin(self) -> None:
        """Start after the `hello`, before the first event was handed out."""
        if self._since.kind == "seq":
            self.position = Position(self.epoch, self._since.seq)
            return
        # What is kept from the earliest or a time on may have holes; `latest` begins where `live` says.
        self._gapless = False
        if self._since.kind == "latest":
            # A connection cut before the first delta resumes from here.
            self.position = Position(self.epoch, self.head)

    def _begin_listing(self) -> Sequence[Event]:
        self.phase = Phase.LISTING
        if not self._void:
            return ()
        return (Reset("cut", self.epoch, None, self.head),)

    def _reset(self, wire: decode.ResetWire) -> Sequence[Event]:
        self._must_be_greeted("reset")
        self.phase = Phase.LISTING
        self.position = None
        self._unlisted = self._void = True
        if self._verifier is not None:
            self._verifier.reset()
        self.epoch, self.head = wire.epoch, wire.head
        return (Reset(wire.reason, wire.epoch, wire.oldest, wire.head),)

    def _state(self, wire: decode.StateWire, data: bytes) -> Sequence[Event]:
        self._must_be_greeted("state")
        if self.phase not in (Phase.LISTING, Phase.MOVING_ON):
            raise Violation(f"a state of session {wire.session_id!r} that nobody asked for")
        self._void = self._void or self.phase is Phase.LISTING
        return (State(wire.seq, self.epoch, wire.session_id, bytes(wire.state), data),)

    def _live(self, wire: decode.LiveWire) -> Sequence[Event]:
        self._must_be_greeted("live")
        if self.phase is Phase.LIVE:
            raise Violation("live was said twice")
        seq, position = wire.seq, self.position
        if position is not None:
            self._same_epoch(position)
            reached = position.seq if self._skipped is None else self._skipped
            if seq < reached or (self._gapless and seq != reached):
                raise Violation(f"live at {seq}, after {reached} was reached")
        if self._verifier is not None:
            self._verifier.live(seq, wire.hash)
        link = (
            position.hash if wire.hash is None and position is not None and position.seq == seq else wire.hash
        )
        self._move(seq, link)
        self._skipped = None
        self.phase = Phase.LIVE
        self._gapless = not self.is_filtered
        return (Live(seq, self.epoch, link),)

    def _conflated(self, wire: decode.ConflatedWire) -> Sequence[Event]:
        if self.phase not in (Phase.LIVE, Phase.MOVING_ON) or self.position is None:
            raise Violation("conflated before live")
        reached = self.position.seq if self._skipped is None else self._skipped
        if wire.epoch != self.epoch or wire.to < wire.since:
            raise Violation(f"conflated from {wire.since} to {wire.to} of epoch {wire.epoch}")
        if wire.since < reached or (self._gapless and wire.since != reached):
            raise Violation(f"a gap: conflated from {wire.since}, after {reached} was reached")
        if self._skipped is not None:
            # The states of the round before are whole.
            self._move(wire.since, None)
        self.phase, self._skipped = Phase.MOVING_ON, wire.to
        self.head = max(self.head, wire.to)
        if self._verifier is not None:
            self._verifier.skip()
        return (Conflated(wire.epoch, wire.since, wire.to, wire.count),)

    def _delta(self, wire: decode.DeltaWire, data: bytes) -> Sequence[Event]:
        self._must_be_greeted("delta")
        if self.phase is Phase.MOVING_ON:
            raise Violation("a delta before the live that ends what conflated began")
        seq, position = wire.seq, self.position
        if position is not None:
            self._same_epoch(position)
            if seq <= position.seq:
                self.duplicates += 1
                return ()
            if self._gapless and seq != position.seq + 1:
                raise Violation(f"a gap: {seq} came after {position}")
        delta = delta_of(wire, self.epoch, data)
        if self._verifier is not None:
            delta = replace(delta, proof=self._verifier.check(delta))
        if self.phase is Phase.LISTING:
            self.phase = Phase.REPLAY
            self._gapless = not self.is_filtered
        self._move(seq, wire.hash)
        return (delta,)

    def _heartbeat(self, wire: decode.HeartbeatWire) -> Sequence[Event]:
        self._must_be_greeted("heartbeat")
        if wire.epoch != self.epoch:
            raise Violation(f"a heartbeat of epoch {wire.epoch} in epoch {self.epoch}")
        self.head = max(self.head, wire.head)
        passed = self._passed(wire.through)
        return (Heartbeat(wire.epoch, wire.head, wire.durable, wire.at, passed),)

    def _passed(self, through: int | None) -> Position | None:
        """Advance to the position up to which the server says that nothing is missing, and return it."""
        position = self.position
        # A list of states has no position before its end, and only `live` says where history ends.
        if through is None or self.phase is not Phase.LIVE or position is None:
            return None
        if through > position.seq:
            if self._gapless:
                raise Violation(f"a gap: everything up to {through} was sent, and {position} was reached")
            self._move(through, None)
        return self.position

    def _error(self, wire: decode.ErrorWire) -> None:
        self._complaint = wire.message
        known = BY_CODE.get(wire.code)
        if known is not None and known.close_code in FINAL_CLOSE_CODES:
            assert known.close_code is not None
            raise final_error(known.close_code, f"the server refused: {wire.message}")

    def _must_be_greeted(self, event: str) -> None:
        if self.phase is Phase.GREETING:
            raise Violation(f"{event} before hello")

    def _same_epoch(self, position: Position) -> None:
        if position.epoch != self.epoch:
            raise Violation(f"the epoch is {self.epoch}, and no reset came for the position {position}")

    def _move(self, seq: int, link: str | None) -> None:
        self.position = position = Position(self.epoch, seq, link)
        furthest = self._furthest
        # Not the position alone: one that goes back and forth with resets is no progress.
        if furthest is None or furthest.epoch != self.epoch or seq > furthest.seq:
            self._furthest = position
            self._strikes = 0
        self._unlisted = self._void = False
        self.head = max(self.head, seq)


def delta_of(wire: decode.DeltaWire, epoch: str, data: bytes) -> Delta:
    """Return what is handed out for a delta.

    Args:
        wire: As it was decoded.
        epoch: The epoch.
        data: What it was decoded from.
    """
    envelope, erased = wire.delta, wire.erased
    return Delta(
        wire.seq,
        epoch,
        wire.recorded_at,
        wire.hash,
        wire.lineage,
        wire.before_filled,
        wire.id_digest,
        None if erased is None else Erased(erased.before, erased.after),
        envelope.type,
        envelope.session_id,
        envelope.timestamp,
        envelope.id,
        decode.state_text(envelope.before),
        decode.state_text(envelope.after),
        data,
    )


def final_error(code: int, message: str) -> ClientError:
    """Return what a close code of `FINAL_CLOSE_CODES` is for the caller.

    Args:
        code: The close code.
        message: What the server said.
    """
    if code == _NOT_AUTHENTICATED:
        return TokenRefused(message)
    hints = {
        4400: "mend the subscription",
        4403: "the token's role, the Origin or the Host does not permit it",
    }
    return ClientError(message, hint=hints[code])
