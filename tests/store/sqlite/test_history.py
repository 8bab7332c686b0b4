"""History in slices: bounded in rows, bytes and what is looked at; served by indexes; the same text as live."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.core.errors import Pruned
from recorder.store.contract import Query
from recorder.store.sqlite import history, schema, span
from recorder.wire.events import delta_frame
from tests.support.store import Opened, opened

RANGE = history._Range(1, 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    conn = sqlite3.connect(":memory:", isolation_level=None)
    schema.create(conn)
    yield conn
    conn.close()


@asynccontextmanager
async def watched(it: Opened) -> AsyncIterator[list[str]]:
    """The statements that memory executes meanwhile."""
    seen: list[str] = []
    await it.store._memory.run(lambda conn: conn.set_trace_callback(seen.append))
    yield seen
    await it.store._memory.run(lambda conn: conn.set_trace_callback(None))


def plan(conn: sqlite3.Connection, query: Query, *, by_time: bool = False) -> list[str]:
    """How SQLite finds the ids of a slice."""
    sql, params = history._candidates(query, RANGE, 100, by_time)
    return [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}", params)]


# Plans


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("fields", "by_time", "wanted"),
    [
        ({}, False, "SEARCH session_deltas USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (
            {"types": {"updated"}},
            False,
            "SEARCH session_deltas USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            {"types": {"deleted", "created"}},
            False,
            "SEARCH session_deltas USING COVERING INDEX session_deltas_type (delta_type=? AND rowid>? AND rowid<?)",
        ),
        (
            {"sessions": {"a"}},
            False,
            "SEARCH session_deltas USING COVERING INDEX session_deltas_session (session_id=? AND rowid>? AND rowid<?)",
        ),
        (
            {"sessions": {"a", "b", "c"}},
            False,
            "SEARCH session_deltas USING COVERING INDEX session_deltas_session (session_id=? AND rowid>? AND rowid<?)",
        ),
        (
            {"sessions": {str(n) for n in range(60)}},
            False,
            "SEARCH session_deltas USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            {"lineage": "broken"},
            False,
            "SEARCH session_deltas USING INDEX session_deltas_lineage (id>? AND id<?)",
        ),
        (
            {"happened_since": "x", "happened_until": "y"},
            True,
            "SEARCH session_deltas USING COVERING INDEX session_deltas_timestamp (timestamp>? AND timestamp<?)",
        ),
    ],
)
def test_every_search_has_its_index(
    conn: sqlite3.Connection, fields: dict[str, Any], by_time: bool, wanted: str, descending: bool
) -> None:
    sets = {name: frozenset(value) if isinstance(value, set) else value for name, value in fields.items()}
    assert wanted in plan(conn, Query(descending=descending, **sets), by_time=by_time)


def test_no_slice_scans_or_sorts_the_whole_log(conn: sqlite3.Connection) -> None:
    for query in (
        Query(),
        Query(types=frozenset({"updated"})),
        Query(types=frozenset({"created", "deleted"})),
        Query(sessions=frozenset("abc")),
        Query(sessions=frozenset(str(n) for n in range(60))),
        Query(happened_since="x"),
        Query(lineage="broken"),
    ):
        steps = plan(conn, query)
        assert not [step for step in steps if step.startswith("SCAN session_deltas")], steps
        # Those are merged out of as many as are asked for.
        if query.sessions is None and (query.types is None or "updated" in query.types):
            assert "USE TEMP B-TREE FOR ORDER BY" not in steps


def test_times_of_recording_are_found_by_their_index(conn: sqlite3.Connection) -> None:
    seen: list[str] = []
    conn.set_trace_callback(seen.append)
    span.first_at(conn, "x")
    span.last_at(conn, "x")
    conn.set_trace_callback(None)
    for sql in seen:
        (step,) = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}")]
        assert "USING COVERING INDEX session_deltas_created_at" in step


# Bounds


async def test_a_slice_of_large_states_is_small(path: Path) -> None:
    async with opened(path) as it:
        await it.record(20)
        for n in range(12):
            it.put(f"s{n}", f'"{"x" * 500_000}"')
        await it.store.flush()
        sizes, after = [], 0
        while True:
            piece = await it.store.read_slice(after, None, None)
            sizes.append((len(piece.items), sum(len(item) for item in piece.items)))
            after = piece.last_seq
            if piece.done:
                break
        # The last one that fits may pass the bound by itself, no more than one does.
        assert max(size for _, size in sizes) < history.SLICE_BYTES + 510_000
        assert sum(count for count, _ in sizes) == 32


async def test_one_row_larger_than_a_slice_still_comes(path: Path) -> None:
    async with opened(path) as it:
        entry = it.put(after=f'"{"x" * (3 * history.SLICE_BYTES)}"')
        await it.store.flush()
        for query in (Query(), Query(descending=True)):
            piece = await it.store.read(query, 1000)
            assert [delta_frame(item) for item in piece.items] == [entry.frame]


async def test_a_rare_match_is_looked_for_in_windows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SCAN_ROWS", 100)
    many = frozenset(f"absent-{n}" for n in range(60)) | {"gone"}
    async with opened(path) as it:
        await it.record(950)
        it.put("gone", None)
        await it.record(49)
        for descending in (False, True):
            assert await _walk(it, Query(sessions=many, descending=descending)) == (10, [951])


async def test_types_but_the_usual_one_are_found_at_once_whatever_else_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SCAN_ROWS", 100)
    async with opened(path) as it:
        for number in range(1000):
            it.put(
                f"s{number % 5}", None if number in (300, 950) else "1", before=None if number == 500 else "0"
            )
        await it.store.flush()
        kinds = [entry.type for entry in it.feeder.entries]
        wanted = {
            kind: [seq for seq, each in enumerate(kinds, 1) if each == kind]
            for kind in ("created", "deleted")
        }
        assert len(wanted["deleted"]) == 2
        both = sorted(wanted["created"] + wanted["deleted"])
        for descending in (False, True):
            for types, seqs in ((("deleted",), wanted["deleted"]), (("created", "deleted"), both)):
                query = Query(types=frozenset(types), descending=descending)
                assert await _walk(it, query) == (1, seqs[::-1] if descending else seqs)
        some = await it.store.read(Query(types=frozenset(("created", "deleted"))), 2)
        assert (len(some.items), some.last_seq, some.done) == (2, both[1], False)


async def _walk(it: Opened, query: Query) -> tuple[int, list[int]]:
    """How many slices a query takes, and the seqs that it finds."""
    looked, found = 0, list[int]()
    while True:
        piece = await it.store.read(query, 1000)
        looked, found = looked + 1, [*found, *(json.loads(item)["seq"] for item in piece.items)]
        if piece.done:
            return looked, found
        query = replace(query, **{"before" if query.descending else "after": piece.last_seq})


async def test_few_that_happened_then_are_found_at_once_and_many_in_windows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SCAN_ROWS", 50)
    async with opened(path) as it:
        for n in range(1000):
            rare = n % 100 == 7
            it.put(timestamp=f"20{'01' if rare else '02'}-01-01T00:00:00.{999 - n:03}Z")
        await it.store.flush()
        piece = await it.store.read(Query(happened_until="2001-12-31T00:00:00.000Z"), 1000)
        assert (len(piece.items), piece.done) == (10, True)
        assert [delta_frame(item) for item in piece.items] == [
            entry.frame for entry in it.feeder.entries[7::100]
        ]
        some = await it.store.read(Query(happened_since="2002-01-01T00:00:00.000Z"), 1000)
        assert (some.last_seq, some.done) == (50, False)


async def test_a_slice_takes_a_handful_of_statements_whatever_is_there(path: Path) -> None:
    asked = []
    async with opened(path) as it:
        for _ in range(2):
            await it.record(2500)
            async with watched(it) as seen:
                await it.store.read_slice(100, None, None)
            asked.append(len(seen))
    assert asked[0] == asked[1] <= 6


# Text


async def test_history_says_what_was_said_live(path: Path) -> None:
    async with opened(path) as it:
        it.put(
            "ä\"\\/'\u2028\U0001f600",
            '{"x":"\\u001e\\u0000"}',
            delta_id='\0\x01\x1e\x1f"\\/\x7f\u2028\U0001f600\t\n',
        )
        it.put("b", "1" * 30, before='"other"')
        it.put("b", None, before="[]", timestamp="2026-01-01T00:00:00.000Z")
        await it.store.flush()
        piece = await it.store.read(Query(), 10)
        assert [delta_frame(item) for item in piece.items] == [entry.frame for entry in it.feeder.entries]


# Pruning and times


async def test_a_slice_that_would_have_a_hole_is_refused(path: Path) -> None:
    async with opened(path) as it:
        await it.record(20)
        await it.store.snapshot()
        await it.store.prune(10, "count")
        with pytest.raises(Pruned, match="what follows seq 9 was pruned"):
            await it.store.read_slice(9, None, None)
        assert len((await it.store.read_slice(10, None, None)).items) == 10


async def test_order_is_by_seq_though_times_of_happening_are_not(path: Path) -> None:
    clock = FakeClock()
    async with opened(path, clock) as it:
        for n in range(10):
            it.put(timestamp=f"2026-01-{(n * 7) % 10 + 1:02}T00:00:00.000Z")
            clock.set_wall_ms(clock.now_ms() - 3_600_000)
        await it.store.flush()
        piece = await it.store.read(Query(happened_since="2026-01-04T00:00:00.000Z"), 100)
        wanted = [entry.frame for entry in it.feeder.entries if entry.timestamp >= "2026-01-04T00:00:00.000Z"]
        assert [delta_frame(item) for item in piece.items] == wanted
        assert sorted(entry.recorded_at for entry in it.feeder.entries) == [
            entry.recorded_at for entry in it.feeder.entries
        ]


async def test_a_text_that_is_not_utf8_is_never_handed_out(path: Path) -> None:
    update = "UPDATE session_deltas SET after_state = {} WHERE id = 2"
    async with opened(path) as it:
        await it.record(3)
        await it.store._memory.run(lambda conn: conn.execute(update.format("CAST(x'22ff22' AS TEXT)")))
        with pytest.raises(UnicodeDecodeError):
            await it.store.read_slice(0, None, None)
        assert len((await it.store.read_slice(2, None, None)).items) == 1
        # Or the last snapshot would stumble over it.
        await it.store._memory.run(lambda conn: conn.execute(update.format("'1'")))
