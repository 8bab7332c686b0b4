"""The obvious build: what one writes in an afternoon with the usual libraries; the baseline of the figures.

websockets' asyncio server and its `broadcast()`, and for each delta one awaited aiosqlite INSERT into an
in-memory database with the table and the indexes that history needs. It records, then broadcasts, then acks.

It is not made weak: the database commits each INSERT by itself, which spares one of two turns in aiosqlite's
thread; an array is one transaction (of one publisher at a time); and it has orjson, which few take.
What it does not do: hash chain, resume, history queries, checks and limits, slow readers' limits, current
states, snapshots, pruning.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiosqlite
import orjson
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

SCHEMA = """
CREATE TABLE session_deltas(
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id    TEXT NOT NULL,
  delta_type    TEXT NOT NULL CHECK (delta_type IN ('created','updated','deleted')),
  before_state  TEXT,
  after_state   TEXT,
  timestamp     TEXT NOT NULL,
  created_at    TEXT NOT NULL);
CREATE INDEX by_session ON session_deltas(session_id);
CREATE INDEX by_timestamp ON session_deltas(timestamp);
CREATE INDEX by_created_at ON session_deltas(created_at);
"""

INSERT = """
INSERT INTO session_deltas(session_id, delta_type, before_state, after_state, timestamp, created_at)
VALUES (?, ?, ?, ?, ?, ?)
"""


def now() -> str:
    """The time in the form that the table keeps."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stored(state: Any) -> str | None:
    """A state as the table keeps it."""
    return None if state is None else orjson.dumps(state).decode()


class Obvious:
    """The server's state: one database, one set of subscribers."""

    def __init__(self, db: aiosqlite.Connection) -> None:
        """Takes an open database that has the schema."""
        self._db = db
        self._subscribers: set[ServerConnection] = set()

    async def connected(self, connection: ServerConnection) -> None:
        """Handler of every WebSocket."""
        assert connection.request is not None
        await connection.send('{"event":"hello","protocol":1}')
        if connection.request.path == "/publish":
            await self._publisher(connection)
            return
        self._subscribers.add(connection)
        try:
            await connection.wait_closed()
        finally:
            self._subscribers.discard(connection)

    async def _publisher(self, connection: ServerConnection) -> None:
        async for message in connection:
            value = orjson.loads(message)
            deltas = value if isinstance(value, list) else [value]
            try:
                events = await self._save_all(deltas)
            except (KeyError, aiosqlite.Error) as error:
                await connection.send(orjson.dumps({"event": "error", "message": repr(error)}).decode())
                continue
            for event in events:
                broadcast(self._subscribers, orjson.dumps(event).decode())
            ack = {
                "event": "ack",
                "firstSeq": events[0]["seq"],
                "seq": events[-1]["seq"],
                "count": len(events),
            }
            await connection.send(orjson.dumps(ack).decode())

    async def _save_all(self, deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(deltas) == 1:
            return [await self._save(deltas[0])]
        await self._db.execute("BEGIN")
        try:
            events = [await self._save(delta) for delta in deltas]
        except BaseException:
            await self._db.rollback()
            raise
        await self._db.commit()
        return events

    async def _save(self, delta: dict[str, Any]) -> dict[str, Any]:
        recorded_at = now()
        row = (
            delta["sessionId"], delta["type"], stored(delta.get("before")), stored(delta.get("after")),
            delta.get("timestamp", recorded_at), recorded_at,
        )  # fmt: skip
        cursor = await self._db.execute(INSERT, row)
        return {"event": "delta", "seq": cursor.lastrowid, "recordedAt": recorded_at, "delta": delta}

    async def requested(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers plain HTTP; the harness asks it how many rows there are."""
        if request.path != "/api/stats":
            return None
        async with self._db.execute("SELECT count(*) FROM session_deltas") as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return connection.respond(HTTPStatus.OK, orjson.dumps({"deltaCount": row[0]}).decode())


async def main() -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with aiosqlite.connect(":memory:", isolation_level=None) as db:
        await db.executescript(SCHEMA)
        build = Obvious(db)
        async with serve(build.connected, "127.0.0.1", 0, process_request=build.requested) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            sys.stdout.write(f"listening on http://127.0.0.1:{port}\n")
            sys.stdout.flush()
            await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uvloop", action="store_true")
    if parser.parse_args().uvloop:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
