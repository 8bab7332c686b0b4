"""The values that travel: plain, and without a place for what is not theirs."""

from __future__ import annotations

import gc

import msgspec

from recorder.core.delta import CREATED, DELETED, DELTA_TYPES, UPDATED, Delta, Entry
from recorder.store.sqlite.schema import COLUMNS

DELTA = Delta(UPDATED, "a", None, "1", None, None)
ENTRY = Entry(1, "a", UPDATED, "0", "1", "t", "r", None, None, True, None, bytes(32), b"frame")


def test_there_are_three_types() -> None:
    assert (CREATED, UPDATED, DELETED) == ("created", "updated", "deleted")
    assert (CREATED, UPDATED, DELETED) == DELTA_TYPES


def test_an_entry_has_a_field_for_every_column_and_one_for_the_wire() -> None:
    assert len(msgspec.structs.fields(Entry)) == len(COLUMNS) + 1


def test_deltas_and_entries_are_equal_by_their_fields() -> None:
    assert msgspec.structs.replace(DELTA) == DELTA
    assert msgspec.structs.replace(ENTRY, frame=b"other") != ENTRY


def test_the_garbage_collector_has_nothing_to_look_at() -> None:
    # Tens of thousands of them live in queues: a collection that walked them would stop the world for it.
    assert not gc.is_tracked(DELTA)
    assert not gc.is_tracked(ENTRY)
