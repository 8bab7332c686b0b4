"""Removing the oldest: bases, receipts and ids, in bounded slices, the same in memory and on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.store.sqlite import retention, schema
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.retention import Receipt, Slice
from recorder.store.sqlite.rows import Transaction
from recorder.store.sqlite.span import append_rows
from tests.support.store import Feeder, columns_of, typed_dump

ALL = Slice(1_000_000, 1 << 40)
AT = "2026-11-20T12:00:00.000Z"
RECEIPT = Receipt(1, "test", AT)


def database() -> sqlite3.Connection:
    conn = connect_sqlite(":memory:")
    schema.create(conn)
    return conn


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    conn = database()
    yield conn
    conn.close()


def feeder() -> Feeder:
    clock = FakeClock()
    return Feeder(Sequencer("E", 0, GENESIS, "", CurrentStates()), clock)


def feeder_after(conn: sqlite3.Connection) -> Feeder:
    head = conn.execute("SELECT max(id) FROM session_deltas").fetchone()[0]
    return Feeder(Sequencer("E", head, GENESIS, "", CurrentStates()), FakeClock())


def insert(conn: sqlite3.Connection, entries: list[Entry]) -> None:
    with Transaction(conn):
        values = [value for entry in entries for value in columns_of(entry)]
        append_rows(conn, values, entries[0].seq, entries[-1].seq)


def fill(conn: sqlite3.Connection, count: int, *, size: int = 1) -> list[Entry]:
    made = feeder()
    insert(conn, [made.entry(f"s{n % 5}", f'"{"x" * size}"') for n in range(count)])
    return made.entries


def prune_all(conn: sqlite3.Connection, through: int, most: Slice, keep_ids: int = 1000) -> list[int]:
    """The sizes of the slices that it took."""
    sizes = []
    while removed := retention.prune_slice(conn, through, RECEIPT, keep_ids, most)[0]:
        sizes.append(removed)
    return sizes


def test_a_slice_is_bounded_in_rows(conn: sqlite3.Connection) -> None:
    fill(conn, 250)
    assert prune_all(conn, 230, Slice(100, 1 << 40)) == [100, 100, 30]
    assert conn.execute("SELECT min(id), count(*) FROM session_deltas").fetchone() == (231, 20)


def test_a_slice_is_bounded_in_bytes(conn: sqlite3.Connection) -> None:
    fill(conn, 60, size=100_000)
    # Before and after: 200 kB an entry.
    sizes = prune_all(conn, 50, Slice(1000, 1 << 20))
    assert sum(sizes) == 50
    assert max(sizes) <= 6
    assert prune_all(conn, 60, Slice(1000, 1)) == [1] * 10


def test_it_says_how_far_it_came(conn: sqlite3.Connection) -> None:
    fill(conn, 10)
    assert retention.prune_slice(conn, 7, RECEIPT, 10, Slice(4, 1 << 40)) == (4, 4)
    assert retention.prune_slice(conn, 7, RECEIPT, 10, ALL) == (3, 7)
    assert retention.prune_slice(conn, 7, RECEIPT, 10, ALL) == (0, 0)
    assert retention.prune_slice(conn, 99, RECEIPT, 10, ALL) == (3, 10)
    assert retention.prune_slice(conn, 99, RECEIPT, 10, ALL) == (0, 0)


def test_a_slice_that_fails_changes_nothing(conn: sqlite3.Connection) -> None:
    fill(conn, 10)
    before = typed_dump(conn)
    conn.execute(
        "CREATE TRIGGER no BEFORE DELETE ON session_deltas WHEN old.id = 5 BEGIN SELECT raise(ABORT, 'no'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        retention.prune_slice(conn, 7, RECEIPT, 10, ALL)
    assert typed_dump(conn) == before


@given(
    taken=st.lists(
        st.tuples(
            st.sampled_from("abc"), st.none() | st.sampled_from("01"), st.none() | st.sampled_from("xyzw")
        ),
        min_size=1,
        max_size=60,
    ),
    cut=st.integers(0, 60),
    keep_ids=st.integers(0, 5),
    rows=st.integers(1, 20),
)
def test_the_result_does_not_depend_on_the_size_of_the_slices(
    taken: list[tuple[str, str | None, str | None]], cut: int, keep_ids: int, rows: int
) -> None:
    made = feeder()
    entries = [made.entry(session, after, delta_id=delta_id) for session, after, delta_id in taken]
    dumps = []
    for most in (ALL, Slice(rows, 1 << 40)):
        conn = database()
        insert(conn, entries)
        prune_all(conn, cut, most, keep_ids)
        dumps.append(typed_dump(conn))
        conn.close()
    assert dumps[0] == dumps[1]


def test_a_receipt_tells_what_went_and_where_the_chain_goes_on(conn: sqlite3.Connection) -> None:
    entries = fill(conn, 20)
    prune_all(conn, 15, Slice(4, 1 << 40))
    found = conn.execute("SELECT * FROM prunes").fetchall()
    first, last = entries[0], entries[14]
    assert found == [(1, 1, 15, 15, first.hash, last.hash, last.recorded_at, "test", AT, None, None, None)]


def test_a_receipt_that_goes_on_is_not_signed_any_more(conn: sqlite3.Connection) -> None:
    fill(conn, 20)
    prune_all(conn, 5, ALL)
    conn.execute("UPDATE prunes SET bases_digest = x'01', key_id = 'k', signature = x'02'")
    prune_all(conn, 9, ALL)
    found = conn.execute("SELECT last_seq, bases_digest, key_id, signature FROM prunes").fetchall()
    assert found == [(9, None, None, None)]


def test_of_an_erased_state_the_digest_survives_as_the_base(conn: sqlite3.Connection) -> None:
    fill(conn, 10)
    conn.execute("UPDATE session_deltas SET before_state = NULL, after_state = NULL WHERE session_id = 's1'")
    conn.execute(
        "INSERT INTO erased_states SELECT id, 1, x'0b', x'0a' FROM session_deltas WHERE session_id = 's1'"
    )
    prune_all(conn, 9, Slice(4, 1 << 40))
    bases = conn.execute(
        "SELECT session_id, seq, state, state_digest FROM session_bases ORDER BY 1"
    ).fetchall()
    assert bases[1] == ("s1", 7, None, b"\x0a")
    assert {(state is None, digest) for _, _, state, digest in bases[:1] + bases[2:]} == {(False, None)}
    assert conn.execute("SELECT count(*) FROM erased_states").fetchone() == (0,)
    insert(conn, [feeder_after(conn).entry("s1", '"known again"')])
    prune_all(conn, 11, ALL)
    found = conn.execute(
        "SELECT seq, state, state_digest FROM session_bases WHERE session_id = 's1'"
    ).fetchone()
    assert found == (11, '"known again"', None)


def test_runs_by_one_rule_share_a_receipt_and_another_rule_begins_its_own(conn: sqlite3.Connection) -> None:
    fill(conn, 40)
    for through, policy, at in ((5, "count", "1"), (9, "count", "2"), (20, "age", "3"), (21, "count", "4")):
        receipt = retention.new_receipt(conn, policy, at)
        retention.prune_slice(conn, through, receipt, 10, ALL)
    found = conn.execute("SELECT id, first_seq, last_seq, count, policy, pruned_at FROM prunes").fetchall()
    assert found == [(1, 1, 9, 9, "count", "2"), (2, 10, 20, 11, "age", "3"), (3, 21, 21, 1, "count", "4")]
    assert retention.receipts_after(conn, 5) == [
        (Receipt(1, "count", "2"), 9),
        (Receipt(2, "age", "3"), 20),
        (Receipt(3, "count", "4"), 21),
    ]
    assert retention.receipts_after(conn, 20) == [(Receipt(3, "count", "4"), 21)]
    assert retention.receipts_after(conn, 21) == []


def test_it_removes_by_the_primary_key_and_sorts_no_more_than_a_slice(conn: sqlite3.Connection) -> None:
    fill(conn, 10)
    for sql in (
        retention._KEEP_BASES,
        retention._DROP_BASES,
        retention._KEEP_IDS,
        retention._COUNT_DOWN,
        retention._FORGET_DELETED,
    ):
        plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}", (1, 5))]
        log = [step for step in plan if "session_deltas" in step]
        assert log
        assert all("(rowid>? AND rowid<?)" in step or "(id>? AND id<?)" in step for step in log), plan


def test_used_bytes_leaves_out_what_is_free(conn: sqlite3.Connection) -> None:
    fill(conn, 500, size=2000)
    full = retention.used_bytes(conn)
    assert full > 500 * 4000
    prune_all(conn, 400, ALL)
    assert retention.used_bytes(conn) < full * 0.3


def test_free_pages_come_back_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `execute` of incremental_vacuum frees a single page, whatever it is asked for."""
    monkeypatch.setattr(retention, "VACUUM_PAGES", 100)
    path = tmp_path / "x.sqlite"
    conn = connect_sqlite(str(path))
    schema.create(conn)
    fill(conn, 500, size=2000)
    full = path.stat().st_size
    prune_all(conn, 450, ALL)
    left = [conn.execute("PRAGMA freelist_count").fetchone()[0]]
    while left[-1]:
        left.append(retention.vacuum_slice(conn))
    freed = [before - after for before, after in pairwise(left)]
    assert set(freed[:-1]) == {100}
    assert path.stat().st_size < full * 0.2
    conn.close()
