"""The whole way of a delta: from a real log through a running recorder to those who watch, to disk, out and in again.

What must arrive is worked out here from the logs alone, by the rules of the protocol; nothing of the server is asked
what it should have done.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import httpx
import orjson
import pytest

from recorder.bridges.imports import SourceItem
from recorder.bridges.imports.rawjson import members
from recorder.cli import main
from recorder.core.errors import SourceError
from tests.support.logs import Told, expected, import_logs, logged
from tests.support.server import ServerProcess
from tests.support.wire import CLOSE, TEXT, Wire, connect

# In two of the files, and in no other's neighbourhood.
WATCHED = "todowrite_session"


class Watcher:
    """A subscriber that notes what it gets, over as many connections as it needs.

    Args:
        url: The recorder's.
        query: What it asks for.
    """

    def __init__(self, url: str, query: str = "") -> None:
        self.is_live = asyncio.Event()  # set when nothing published from now on can pass it by
        self.is_over = asyncio.Event()  # set by others when nothing more is published
        self.got: list[Told] = []  # deltas, as they came
        self._url = url
        self._query = query

    async def watch(self, *counts: int) -> None:
        """Take that many deltas over each connection, then cut it with whatever is on its way; at last find no more."""
        since = "latest"
        for number, count in enumerate(counts, 1):
            async with connect(self._url, f"/ws?since={since}{self._query}") as wire:
                hello = await wire.event()
                assert hello["event"] == "hello"
                await self._take(wire, len(self.got) + count)
                if number == len(counts):
                    await self._find_no_more(wire)
                wire.reset()
            since = f"{hello['epoch']}:{self.got[-1].seq}"

    async def _take(self, wire: Wire, total: int) -> None:
        while len(self.got) < total:
            frame = await wire.frame()
            assert frame.opcode != CLOSE, frame
            if frame.opcode == TEXT:
                event = members(frame.payload)
                kind = orjson.loads(event["event"])
                assert kind in ("delta", "live", "heartbeat"), frame.payload
                if kind == "delta":
                    self.got.append(told(event))
                elif kind == "live":
                    self.is_live.set()

    async def _find_no_more(self, wire: Wire) -> None:
        await self.is_over.wait()
        await wire.text({"op": "ping"})
        assert {event["event"] for event in await wire.until("pong")} <= {"pong", "live", "heartbeat"}


def told(entry: dict[str, bytes]) -> Told:
    """An entry on the wire or in an export."""
    delta = members(entry["delta"])
    exact = {name: orjson.loads(text).encode() for name, text in members(entry.get("exact", b"{}")).items()}
    return Told(
        int(entry["seq"]),
        orjson.loads(delta["type"]),
        orjson.loads(delta["sessionId"]),
        exact.get("before", delta.get("before")),
        exact.get("after", delta.get("after")),
        orjson.loads(delta["timestamp"]),
        orjson.loads(delta.get("id", b"null")),
    )


def without_receipt(found: Sequence[Told], like: Sequence[Told]) -> list[Told]:
    """The same without times that only the recorder could know."""
    return [
        one._replace(timestamp=one.timestamp if other.timestamp else "")
        for one, other in zip(found, like, strict=True)
    ]


def exported(url: str) -> bytes:
    """All that is recorded."""
    return httpx.get(f"{url}/api/export", params={"format": "ndjson"}, trust_env=False).content


def states_of(url: str, sessions: set[str]) -> dict[str, tuple[bytes | None, bytes]]:
    """The state of each session as its bytes, and whether it is deleted."""
    found = {}
    with httpx.Client(base_url=url, trust_env=False) as http:
        for session in sessions:
            answer = http.get(f"/api/sessions/{quote(session, safe='')}")
            assert answer.status_code == 200, answer.text
            fields = members(answer.content)
            assert orjson.loads(fields["sessionId"]) == session
            found[session] = fields.get("state"), fields["deleted"]
    return found


def on_disk(path: Path) -> list[Told]:
    """What a database file has, read by SQLite alone."""
    with closing(sqlite3.connect(path)) as conn:
        conn.text_factory = bytes
        rows = conn.execute(
            "SELECT id, delta_type, session_id, before_state, after_state, timestamp, delta_id"
            " FROM session_deltas ORDER BY id"
        ).fetchall()
    return [
        Told(seq, kind.decode(), session.decode(), before, after, at.decode(), given and given.decode())
        for seq, kind, session, before, after, at, given in rows
    ]


async def watched_import(server: ServerProcess, shared_data: Path, wanted: Sequence[Told]) -> list[Watcher]:
    """Import everything while three watch: all, one session, and one that is cut twice."""
    total, of_session = len(wanted), sum(one.session == WATCHED for one in wanted)
    every, single, cut = (
        Watcher(server.url),
        Watcher(server.url, f"&session={WATCHED}"),
        Watcher(server.url),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(every.watch(total), name="all")
        group.create_task(single.watch(of_session), name="one session")
        group.create_task(cut.watch(5, total // 2, total - 5 - total // 2), name="cut twice")
        for watcher in (every, single, cut):
            await watcher.is_live.wait()
        await asyncio.to_thread(import_logs, shared_data, server.url)
        for watcher in (every, single, cut):
            watcher.is_over.set()
    return [every, single, cut]


def bad_records(items: Sequence[SourceItem]) -> list[str]:
    """What a person is told of the records that are none."""
    return [f"recorder: {item}" for item in items if isinstance(item, SourceError)]


async def test_real_logs_reach_everybody_once_and_in_order_and_stay_byte_for_byte(
    shared_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    items = list(logged(shared_data))
    wanted = expected(items)
    assert len(wanted) > 150
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    with ServerProcess(folders[0], "--persist") as first, ServerProcess(folders[1], "--persist") as second:
        watchers = await watched_import(first, shared_data, wanted)
        said = capfd.readouterr().err.splitlines()
        assert [line for line in said if line.startswith("recorder: ")] == bad_records(items)

        every, single, cut = (watcher.got for watcher in watchers)
        assert without_receipt(every, wanted) == wanted
        assert cut == every
        assert single == [one for one in every if one.session == WATCHED]

        export = tmp_path / "export.ndjson"
        export.write_bytes(exported(first.url))
        assert [told(members(line)) for line in export.read_bytes().splitlines()] == every

        assert main(["import", str(export), "--format", "ndjson", "--url", second.url]) == 0
        sessions = {one.session for one in wanted}
        assert states_of(second.url, sessions) == states_of(first.url, sessions)
        again = [told(members(line)) for line in exported(second.url).splitlines()]
        assert again == every

        for server in (first, second):
            assert server.stop() == 0
            assert on_disk(server.database) == every
