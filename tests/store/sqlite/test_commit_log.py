"""The commit log: groups come back as they were; a torn end is told from damage; what failed leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.chain import GENESIS
from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.store.sqlite.commit_log import (
    GROUP,
    MAGIC,
    CommitLog,
    NotCut,
    SegmentReader,
    _record,
    segment_files,
)
from recorder.store.sqlite.span import WIDTH, flat
from tests.support.store import Feeder


def feeder() -> Feeder:
    return Feeder(Sequencer("E", 0, GENESIS, "", CurrentStates()), FakeClock())


def group(feed: Feeder, count: int) -> list[Entry]:
    return [feed.entry(f"s{n % 3}", f'{{"n":{n}}}', delta_id=f"id-{feed.head}-{n}") for n in range(count)]


@asynccontextmanager
async def written(path: Path, *sizes: int) -> AsyncIterator[tuple[CommitLog, list[list[Entry]]]]:
    feed, groups = feeder(), []
    async with CommitLog.open(path) as log:
        for size in sizes:
            groups.append(group(feed, size))
            await log.append(groups[-1])
        yield log, groups


def read(path: Path) -> list[SegmentReader]:
    readers = []
    for segment in segment_files(path):
        reader = SegmentReader(segment.path)
        list(reader)
        readers.append(reader)
    return readers


async def test_groups_come_back_as_they_were_with_their_types(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    async with written(path, 1, 7, 600) as (log, groups):
        assert log.durable == 608
    (segment,) = segment_files(path)
    reader = SegmentReader(segment.path)
    assert list(reader) == [flat(group) for group in groups]
    assert (reader.last, reader.torn, reader.damage) == (608, 0, None)
    assert reader.good == segment.path.stat().st_size
    assert segment.path.stat().st_mode & 0o777 == 0o600


async def test_nothing_is_made_before_the_first_append(tmp_path: Path) -> None:
    async with CommitLog.open(tmp_path / "x.sqlite") as log:
        assert await log.rotate() == 0
        await log.forget(10)
    assert os.listdir(tmp_path) == []


async def test_a_segment_goes_when_all_of_it_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    async with written(path, 3) as (log, groups):
        assert await log.rotate() == 3
        feed = feeder()
        feed._sequencer.head = 3
        await log.append(group(feed, 2))
        await log.forget(2)
        assert len(segment_files(path)) == 2
        await log.forget(3)
        assert [segment.number for segment in segment_files(path)] == [2]
        await log.forget(5)  # what is being written stays, whatever the file has
        assert len(segment_files(path)) == 1
        assert await log.rotate() == 5
        await log.forget(5)
        assert segment_files(path) == []
    assert len(groups) == 1


@pytest.fixture(scope="module")
def segment_bytes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[int]]:
    """A segment of three groups, and where each group's record ends."""
    path = tmp_path_factory.mktemp("segment") / "x.sqlite"
    ends: list[int] = []

    async def write() -> None:
        feed = feeder()
        async with CommitLog.open(path) as log:
            for size in (2, 1, 3):
                await log.append(group(feed, size))
                assert log._segment is not None
                ends.append(log._segment.good)

    asyncio.run(write())
    (segment,) = segment_files(path)
    return segment.path, segment.path.read_bytes(), ends


@given(cut=st.integers(min_value=0))
def test_cut_at_any_byte_it_is_a_whole_prefix(segment_bytes: tuple[Path, bytes, list[int]], cut: int) -> None:
    path, whole, ends = segment_bytes
    cut %= len(whole) + 1
    path.write_bytes(whole[:cut])
    reader = SegmentReader(path)
    found = len(list(reader))
    # 17 bytes of a mark follow each group; a group without its mark is whole all the same.
    assert found == sum(cut >= end - 17 for end in ends)
    assert reader.good + reader.torn == cut
    assert reader.damage is None
    path.write_bytes(whole)


@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_named_where_something_acked_follows(
    segment_bytes: tuple[Path, bytes, list[int]], place: int, bit: int
) -> None:
    path, whole, ends = segment_bytes
    place %= len(whole)
    flipped = bytearray(whole)
    flipped[place] ^= 1 << bit
    path.write_bytes(flipped)
    reader = SegmentReader(path)
    found = len(list(reader))
    if place < ends[-1] - 17:
        assert reader.damage is not None
        assert "were acked" in reader.damage
        assert found == sum(place >= end - 17 for end in ends[:-1])
    else:
        # In the very last mark: every group is whole.
        assert (found, reader.damage) == (3, None)
    path.write_bytes(whole)


async def test_what_failed_is_cut_off_and_nothing_is_taken_before_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    feed = feeder()
    async with CommitLog.open(path) as log:
        await log.append(group(feed, 1))
        (segment,) = segment_files(path)
        size = segment.path.stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        later = group(feed, 50)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
            with pytest.raises(OSError, match="File too large"):
                await log.append(later)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert segment.path.stat().st_size == size
        with pytest.raises(OSError, match="an earlier write failed"):
            await log.append(later)
        assert log.durable == 1
        await log.recover()
        await log.append(later)
        assert (log.durable, log.lost) == (51, 0)
    assert [reader.last for reader in read(path)] == [1, 51]


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_segment_that_vanishes_is_noticed_and_what_was_acked_counts_as_lost(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "x.sqlite"
    feed = feeder()
    async with CommitLog.open(path) as log:
        await log.append(group(feed, 3))
        (segment,) = segment_files(path)
        if how == "removed":
            segment.path.unlink()
        else:
            (tmp_path / "other").write_bytes(segment.path.read_bytes())
            os.replace(tmp_path / "other", segment.path)
        with pytest.raises(OSError, match=r"No such file|another file"):
            await log.append(group(feed, 1))
        await log.recover()
        assert log.lost == 3
        await log.forget(2)
        assert log.lost == 3
        await log.forget(3)
        assert log.lost == 0


async def test_a_call_that_is_cancelled_is_carried_out_and_in_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    feed = feeder()
    async with CommitLog.open(path) as log:
        call = asyncio.ensure_future(log.append(group(feed, 1)))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await log.append(group(feed, 1))
        assert log.durable == 2
    assert [reader.last for reader in read(path)] == [2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"payload": b"\xc1"},
        {"payload": b"\x91\xa1\xff"},
        {"payload": msgspec.msgpack.encode({"a": 1})},
        {"payload": msgspec.msgpack.encode([])},
        {"payload": b"\x91" * 2000 + b"\x90"},
        {"values": lambda values: values[:-1]},
        {"values": lambda values: [*values[:1], 7, *values[2:]]},
        {"values": lambda values: [*values[:2], "moved", *values[3:]]},
        {"values": lambda values: [*values[:4], b"bytes", *values[5:]]},
        {"values": lambda values: [*values[:9], 2, *values[10:]]},
        {"values": lambda values: ["1", *values[1:]]},
    ],
)
async def test_a_record_that_is_right_but_for_what_it_says_is_damage_and_no_crash(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    path = tmp_path / "x.sqlite"
    async with written(path, 2, 1) as (_, groups):
        pass
    (segment,) = segment_files(path)
    head = MAGIC + _record(GROUP, msgspec.msgpack.encode(flat(groups[0])))
    payload = wrong.get("payload") or msgspec.msgpack.encode(wrong["values"](flat(groups[1])))
    segment.path.write_bytes(head + _record(GROUP, payload) + _record(GROUP, payload))
    reader = SegmentReader(segment.path)
    assert list(reader) == [flat(groups[0])]
    assert (reader.good, reader.torn) == (len(head), 0)
    assert reader.damage == f"x.sqlite.commits.1: no group of entries at byte {len(head)}"


async def test_a_segment_that_could_not_be_cut_is_not_closed_before_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.sqlite"
    async with written(path, 2) as (log, _):
        feed = feeder()
        feed._sequencer.head = 2

        def fail(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", fail)
            patched.setattr(os, "ftruncate", fail)
            with pytest.raises(NotCut, match="cut: Input/output error"):
                await log.append(group(feed, 1))
            # A snapshot that runs meanwhile must not take what may be behind its end out of reach.
            await log.rotate()
            await log.forget(2)
            assert len(segment_files(path)) == 1
            with pytest.raises(OSError, match="Input/output error"):
                await log.recover()
        await log.recover()
        feed._sequencer.head = 2
        again = group(feed, 1)
        await log.append(again)
    found = [list(SegmentReader(segment.path)) for segment in segment_files(path)]
    assert found[1:] == [[flat(again)]]
    assert max(row for values in found[0] for row in values[::WIDTH]) == 2


async def test_a_group_in_a_segment_that_is_moved_away_before_it_is_cut_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.sqlite"
    async with written(path, 2) as (log, _):
        feed = feeder()
        feed._sequencer.head = 2
        (segment,) = segment_files(path)
        away = tmp_path / "away"

        def move(*_: object) -> None:
            segment.path.rename(away)
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", move)
            with pytest.raises(OSError, match="Input/output error") as raised:
                await log.append(group(feed, 1))
        assert not isinstance(raised.value, NotCut)
        reader = SegmentReader(away)
        list(reader)
        assert reader.last == 2
