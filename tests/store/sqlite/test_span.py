"""The log: what is asked about its order is right for a whole one, a pruned one, an empty one, and one with holes."""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import recorder.store
from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.store.sqlite import schema, span
from recorder.store.sqlite.connection import connect_memory
from recorder.store.sqlite.retention import Receipt, Slice, prune_slice
from recorder.store.sqlite.rows import Transaction
from tests.support.store import Feeder, columns_of

KEEPERS = {"schema.py", "migrations.py", "span.py"}
"""The modules that may name the table: its definition, the frozen text of older ones, and the log itself."""


def database() -> sqlite3.Connection:
    conn = connect_memory()
    schema.create(conn)
    return conn


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    with closing(database()) as conn:
        yield conn


def fill(conn: sqlite3.Connection, count: int, clock: FakeClock | None = None) -> list[Entry]:
    """Record so many entries, one a second; return them."""
    clock = clock or FakeClock()
    feed = Feeder(Sequencer("e", 0, GENESIS, "", CurrentStates()), clock)
    for n in range(count):
        feed.entry(f"s{n % 3}", f'"{n}"', delta_id=f"i{n}" if n % 2 else None)
        clock.advance(1)
    if count:
        with Transaction(conn):
            span.append_entries(conn, feed.entries)
    return feed.entries


def prune(conn: sqlite3.Connection, through: int) -> None:
    prune_slice(conn, through, Receipt(1, "test", "now"), 100, Slice(10_000, 1 << 40))


def drop(conn: sqlite3.Connection, *seqs: int) -> None:
    """Take rows away as damage does: without a receipt."""
    for seq in seqs:
        conn.execute(f"DELETE FROM {span.TABLE} WHERE id = ?", (seq,))


def test_a_log_without_anything_begins_at_nothing(conn: sqlite3.Connection) -> None:
    assert span.bounds(conn) == (0, 0)
    assert span.extent(conn) == span.Extent(0, 0, 0)
    assert span.end(conn) == (0, None, "")
    assert (span.given(conn), span.pruned_through(conn), span.gap(conn)) == (0, 0, None)
    assert (span.hash_at(conn, 0), span.hash_at(conn, 1), span.stored_hash(conn, 0)) == (GENESIS, None, None)
    assert (span.first_at(conn, ""), span.last_at(conn, "9")) == (None, 0)
    assert span.rows(conn, 0).fetchall() == []
    with pytest.raises(span.LogBroken, match="entries 1 to 5 are missing"):
        span.export_slice(conn, 0, 5, 10)


def test_every_question_about_a_log_that_is_whole(conn: sqlite3.Connection) -> None:
    entries = fill(conn, 10)
    assert span.bounds(conn) == (1, 10)
    assert span.extent(conn) == span.Extent(10, 1, 10)
    assert span.end(conn) == (10, entries[9].hash, entries[9].recorded_at)
    assert (span.given(conn), span.pruned_through(conn), span.gap(conn)) == (10, 0, None)
    assert [span.hash_at(conn, seq) for seq in range(12)] == [GENESIS, *(each.hash for each in entries), None]
    assert span.first_at(conn, entries[3].recorded_at) == 4
    assert span.last_at(conn, entries[3].recorded_at) == 4
    assert [row for row in span.rows(conn, 7)] == [columns_of(each) for each in entries[7:]]
    assert [row[0] for row in span.rows(conn, 2, 3)] == [3, 4, 5]
    assert [seq for (seq,) in span.seqs(conn, 8, descending=True)] == [10, 9]
    assert [(name, seq) for name, seq, _ in span.ids(conn, 4, 2)] == [("i5", 6), ("i7", 8)]


@pytest.mark.parametrize("through", [4, 10])
def test_every_question_about_a_log_that_was_pruned(conn: sqlite3.Connection, through: int) -> None:
    entries = fill(conn, 10)
    prune(conn, through)
    assert span.bounds(conn) == ((5, 10) if through == 4 else (0, 0))
    assert span.end(conn) == (10, entries[9].hash, entries[9].recorded_at)
    assert (span.given(conn), span.pruned_through(conn), span.gap(conn)) == (10, through, None)
    # The receipt has the hash at the cut, and nothing has those before it.
    assert span.hash_at(conn, through) == entries[through - 1].hash
    assert span.hash_at(conn, through - 1) is None
    assert [name for name, _, _ in span.ids(conn, 0, 100)] == ["i1", "i3", "i5", "i7", "i9"]


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ((1,), "entries 1 to 1 are missing"),
        ((5,), "1 entries before 10 are missing"),
        ((2, 4, 6, 8), "4 entries before 10 are missing"),
        ((10,), "entries 10 to 10 are missing"),
    ],
)
def test_a_log_with_holes_is_never_taken_for_one_without(
    conn: sqlite3.Connection, missing: tuple[int, ...], told: str
) -> None:
    fill(conn, 10)
    drop(conn, *missing)
    assert span.gap(conn) == told
    with closing(database()) as other, pytest.raises(span.LogBroken):  # noqa: PT012 - at whichever slice
        text = span.export_slice(conn, 0, 10, 100)
        with Transaction(other):
            after = span.import_slice(other, text, 0)
            # Where only the end is missing the first slice is whole, and there is no second one.
            span.export_slice(conn, after, 10, 100)


def test_an_entry_from_before_the_cut_is_told(conn: sqlite3.Connection) -> None:
    entries = fill(conn, 10)
    prune(conn, 4)
    with Transaction(conn):
        span.append_rows(conn, columns_of(entries[2]), 3, 3)
    assert span.gap(conn) == "entry 3 is there, though everything up to 4 was pruned"


def test_what_is_exported_in_slices_is_what_is_imported(conn: sqlite3.Connection) -> None:
    entries = fill(conn, 23)
    with closing(database()) as other:
        after = 0
        while after < 23:
            text = span.export_slice(conn, after, 23, 7)
            with Transaction(other):
                after += span.import_slice(other, text, after)
        assert list(span.rows(other, 0)) == [columns_of(entry) for entry in entries]
        assert span.gap(other) is None
        # The states went with the rows.
        assert other.execute("SELECT sum(count), max(seq) FROM session_states").fetchone() == (23, 23)


def test_a_slice_takes_no_further_row_once_its_states_are_large(conn: sqlite3.Connection) -> None:
    feed = Feeder(Sequencer("e", 0, GENESIS, "", CurrentStates()), FakeClock())
    for n in range(6):
        feed.entry(f"s{n}", '"' + "x" * (span.SLICE_BYTES // 2 + 1) + '"')
    with Transaction(conn):
        span.append_entries(conn, feed.entries)
    with closing(database()) as other:
        sizes = []
        while (after := sum(sizes)) < 6:
            with Transaction(other):
                sizes.append(span.import_slice(other, span.export_slice(conn, after, 6, 100), after))
    assert sizes == [2, 2, 2]


@pytest.mark.parametrize(("descending", "expected"), [(False, (3, 6)), (True, (6, 9))])
def test_the_next_entries_of_a_stretch_need_not_be_looked_for(
    conn: sqlite3.Connection, descending: bool, expected: tuple[int, int]
) -> None:
    fill(conn, 10)
    where, params = span.stretch(3, 9, 4, descending=descending)
    assert params == expected
    assert conn.execute(f"SELECT count(*) FROM {span.TABLE} WHERE {where}", params).fetchone() == (4,)
    assert span.stretch(3, 4, 100, descending=descending)[1] == (3, 4)


def test_removing_a_stretch_says_how_many_there_were(conn: sqlite3.Connection) -> None:
    fill(conn, 10)
    assert span.delete(conn, 1, 4) == 4
    assert span.bounds(conn) == (5, 10)
    span.set_given(conn, 20)
    assert span.given(conn) == 20
    assert span.gap(conn) == "entries 1 to 4 are missing"


def test_nothing_else_names_the_table() -> None:
    """The assumption that seq follows seq can only be in one place if only one place knows the rows."""
    found = []
    for path in Path(next(iter(recorder.store.__path__))).rglob("*.py"):
        if path.name in KEEPERS:
            continue
        found += [
            (path.name, node.lineno)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and span.TABLE in node.value
        ]
    assert found == []
