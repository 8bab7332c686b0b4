"""A correct server as a model: no sockets, no time; a test decides when each message arrives, and what is
cut.

It behaves as the protocol allows at its worst: a list of states is of one instant, while deltas are
published and pruned as it is being sent; history is followed message by message; pruning may overtake a slow
reader.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from recorder.wire.subscribe import Since, parse_since


@dataclass(frozen=True)
class Row:
    """A delta that was recorded."""

    session: str
    kind: str
    value: int


@dataclass
class ModelServer:
    """What is recorded: rows by seq from 1, of which those before `oldest` are pruned."""

    epoch: str = "E0"
    rows: list[Row] = field(default_factory=list)
    oldest: int = 1

    @property
    def head(self) -> int:
        """The highest seq given."""
        return len(self.rows)

    def state(self) -> dict[str, tuple[int, int]]:
        """(seq, value) of every session that is not deleted."""
        found = {}
        for seq, row in enumerate(self.rows, 1):
            found[row.session] = (seq, row)
        return {name: (seq, row.value) for name, (seq, row) in found.items() if row.kind != "deleted"}


class ModelConnection:
    """One subscriber's connection: `next()` is its next message, None while there is none.

    Args:
        server: The model.
        since: The query's `since`.
        sessions: The query's sessions, none: all.
        types: The query's types, none: all.
    """

    def __init__(
        self, server: ModelServer, since: str, sessions: frozenset[str], types: frozenset[str]
    ) -> None:
        self.server = server
        self.since: Since = parse_since(since)
        self.sessions = sessions
        self.types = types
        self.cursor = 0  # everything up to here has been looked at
        self.began_at = 0  # the cursor at the start
        self.queue: list[dict[str, Any]] = []  # said already, not delivered yet
        self.stage = "hello"

    def matches(self, row: Row) -> bool:
        """Whether a row is asked for."""
        return (not self.sessions or row.session in self.sessions) and (
            not self.types or row.kind in self.types
        )

    def heartbeat(self) -> bytes:
        """A heartbeat of now."""
        return orjson.dumps(
            {
                "event": "heartbeat",
                "epoch": self.server.epoch,
                "head": self.server.head,
                "durable": 0,
                "at": "",
            }
        )

    def next(self) -> bytes | None:
        """The next message."""
        while not self.queue:
            if not self._go_on():
                return None
        return orjson.dumps(self.queue.pop(0))

    def _go_on(self) -> bool:
        server = self.server
        if self.stage == "hello":
            self.queue.append({"event": "hello", "protocol": 1, "epoch": server.epoch, "head": server.head})
            self.stage = "start"
            if self.since.kind == "latest":
                self._live()
                self.began_at = self.cursor
        elif self.stage == "start":
            self._start()
            self.stage = "history"
        elif self.stage == "history" and self.cursor < server.oldest - 1:
            self._reset("pruned")
        elif self.cursor < server.head:
            self.cursor += 1
            row = server.rows[self.cursor - 1]
            if self.matches(row):
                self.queue.append(_delta(self.cursor, row))
        elif self.stage == "history":
            self._live()
        else:
            return False
        return True

    def _live(self) -> None:
        self.cursor = self.server.head
        self.queue.append({"event": "live", "seq": self.cursor})
        self.stage = "live"

    def _start(self) -> None:
        server, since = self.server, self.since
        if since.kind == "state":
            self._list()
            return
        if since.kind in ("earliest", "time"):
            self.cursor = server.oldest - 1
        elif since.position is not None and since.position.epoch != server.epoch:
            self._reset("epoch_changed")
        else:
            self.cursor = since.position.seq if since.position is not None else since.seq
            if self.cursor > server.head:
                self._reset("ahead")
            elif self.cursor < server.oldest - 1:
                self._reset("pruned")
        self.began_at = self.cursor

    def _reset(self, reason: str) -> None:
        server = self.server
        self.queue.append(
            {
                "event": "reset",
                "reason": reason,
                "epoch": server.epoch,
                "oldest": server.oldest,
                "head": server.head,
            }
        )
        self._list()

    def _list(self) -> None:
        for name, (seq, value) in self.server.state().items():
            if not self.sessions or name in self.sessions:
                self.queue.append({"event": "state", "seq": seq, "sessionId": name, "state": value})
        self.cursor = self.began_at = self.server.head


def _delta(seq: int, row: Row) -> dict[str, Any]:
    delta: dict[str, Any] = {"type": row.kind, "sessionId": row.session, "timestamp": "t"}
    if row.kind != "deleted":
        delta["after"] = row.value
    return {"event": "delta", "seq": seq, "recordedAt": "t", "delta": delta}
