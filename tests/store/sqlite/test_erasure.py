"""Erasing: what a session's states said is nowhere any more, byte for byte, and the chain still verifies."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.core.chain import GENESIS, link
from recorder.core.clock import FakeClock
from recorder.core.errors import StoreError
from recorder.core.statements import ErasureReceipt, erased_digest
from recorder.store.sqlite import erasure, retention, schema
from recorder.store.sqlite.connection import connect_file, connect_sqlite
from recorder.store.sqlite.receipts import signer
from recorder.store.sqlite.recovery import check as checking
from recorder.store.sqlite.span import append_rows
from recorder.store.sqlite.store import SqliteStore
from recorder.verify.file import verify_file
from recorder.verify.report import Level
from tests.support.store import Opened, file_rows, opened

TAKEN = "taken"
"""The session that is erased."""


class Marks:
    """States with marks in them that are found again wherever they are."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.secret: list[str] = []  # must be gone
        self.kept: list[str] = []  # must still be there

    def state(self, session: str, size: int) -> str:
        """A state with its mark all through it."""
        mark = f"{self._random.getrandbits(64):016x}"
        (self.secret if session == TAKEN else self.kept).append(mark)
        return json.dumps({"mark": [mark] * (1 + size // 20)})

    def found_in(self, data: bytes) -> list[str]:
        """Secret marks that are there."""
        return [mark for mark in self.secret if mark.encode() in data]


async def memory_image(store: SqliteStore) -> bytes:
    return await store._memory.run(lambda conn: conn.serialize())


def file_images(path: Path) -> Iterator[tuple[str, bytes]]:
    for item in sorted(path.parent.iterdir()):
        yield item.name, item.read_bytes()


async def assert_gone(it: Opened, marks: Marks) -> None:
    """No secret mark is in memory or in any file, and every other one is in both."""
    image = await memory_image(it.store)
    assert marks.found_in(image) == []
    for name, data in file_images(it.path):
        assert marks.found_in(data) == [], name
    await it.store.snapshot()
    for data in (image, it.path.read_bytes()):
        missing = [mark for mark in marks.kept if mark.encode() not in data]
        assert missing == []


def head_of(it: Opened) -> int:
    """What the ingest would do: forget the state."""
    it.feeder._sequencer._states.put(TAKEN, 0, None, None)
    return it.feeder.head


async def erase(it: Opened, reason: str = "asked to") -> ErasureReceipt | None:
    signed = await it.store.erase(TAKEN, reason, lambda: head_of(it))
    return None if signed is None else signed.payload


async def assert_verifies(it: Opened) -> None:
    """Every link, with the digests in the place of what was erased; the file's checks; the two agree."""
    await it.store.snapshot()
    await it.store._memory.run(checking.check)
    await it.store._file.run(checking.check)
    pruned = await it.store._memory.run(
        lambda conn: conn.execute(
            "SELECT last_seq, last_hash FROM prunes ORDER BY id DESC LIMIT 1"
        ).fetchone()
    )
    head, previous = pruned or (0, GENESIS)
    rows = file_rows(it.path)
    digests = await it.store._memory.run(checking.erased_digests)
    assert checking.break_in(rows, head, previous, digests) is None
    assert (
        await it.store._memory.run(lambda c: c.execute("SELECT * FROM session_deltas ORDER BY id").fetchall())
        == rows
    )


async def fill(it: Opened, marks: Marks, count: int, size: int, *, share: int = 3) -> None:
    for number in range(count):
        session = TAKEN if number % share == 0 else f"s{number % 5}"
        before = marks.state(session, size) if number % 7 == 0 else None
        it.put(session, marks.state(session, size), before=before, delta_id=f"{it.feeder.head}")
    await it.store.flush()


async def test_content_is_gone_from_memory_and_file_and_the_digests_stay(tmp_path: Path) -> None:
    marks, clock = Marks(1), FakeClock()
    async with opened(tmp_path / "d.sqlite", clock) as it:
        await fill(it, marks, 60, 300)
        hashes = [entry.hash for entry in it.feeder.entries]
        receipt = await erase(it, "article 17")
        await assert_gone(it, marks)
        await assert_verifies(it)
        assert [row[-1] for row in file_rows(it.path)] == hashes
        taken = file_rows(it.path, "SELECT seq, before_digest, after_digest FROM erased_states ORDER BY seq")
        assert receipt == ErasureReceipt(
            1, TAKEN, 1, 58, 20, 60, "article 17", "2025-11-20T12:00:00.000Z", erased_digest(taken)
        )
        (stored,) = file_rows(
            it.path, "SELECT id, session_id, first_seq, last_seq, count, head_seq, reason FROM erasures"
        )
        assert stored == (1, TAKEN, 1, 58, 20, 60, "article 17")
        assert file_rows(it.path, "SELECT * FROM meta WHERE key = 'erasing'") == []
        assert it.path.stat().st_mode & 0o777 == 0o600
        # Again: there is nothing left, and no new receipt.
        assert await erase(it) is None
        assert len(file_rows(it.path, "SELECT id FROM erasures")) == 1


async def test_it_goes_on_after_an_erasure_and_can_be_erased_again(tmp_path: Path) -> None:
    marks = Marks(2)
    async with opened(tmp_path / "d.sqlite") as it:
        await fill(it, marks, 30, 100)
        await erase(it)
        entry = it.put(TAKEN, marks.state(TAKEN, 100))
        assert (entry.before, entry.before_filled, entry.lineage) == (None, False, None)
        await fill(it, marks, 30, 100)
        receipt = await erase(it)
        assert receipt is not None
        assert (receipt.id, receipt.first_seq) == (2, 31)
        await assert_gone(it, marks)
        await assert_verifies(it)
    async with opened(tmp_path / "d.sqlite") as it:
        await assert_gone(it, marks)
        state = await it.store.states.state(TAKEN)
        assert state is not None
        assert (state.state, state.deleted) == (None, False)
        assert it.put(TAKEN, marks.state("other", 1)).before is None


async def test_the_state_kept_for_what_was_pruned_is_erased_too(tmp_path: Path) -> None:
    marks = Marks(3)
    async with opened(tmp_path / "d.sqlite") as it:
        await fill(it, marks, 30, 400)
        await it.store.snapshot()
        assert await it.store.prune(29, "test") == 29
        kept = marks.kept
        marks.kept = [mark for mark in kept if mark.encode() in await memory_image(it.store)]
        receipt = await erase(it)
        assert receipt is not None
        assert (receipt.first_seq, receipt.last_seq, receipt.count) == (28, 28, 0)
        marks.kept = []
        await assert_gone(it, marks)
        await assert_verifies(it)
        assert await erase(it) is None
        ((digest, state),) = file_rows(
            it.path, f"SELECT state_digest, state FROM session_bases WHERE session_id = '{TAKEN}'"
        )
        assert (len(digest), state) == (32, None)


async def test_nothing_of_a_session_that_is_not_there_is_erased(tmp_path: Path) -> None:
    async with opened(tmp_path / "d.sqlite") as it:
        await it.record(3)
        inode = it.path.stat().st_ino
        assert await erase(it) is None
        assert it.path.stat().st_ino == inode


async def test_what_is_recorded_meanwhile_is_in_the_memory_that_takes_over(tmp_path: Path) -> None:
    marks = Marks(4)
    async with opened(tmp_path / "d.sqlite") as it:
        await fill(it, marks, 40, 100)

        async def publish(*_: object) -> None:
            # More than one slice, while the file is still.
            for number in range(1200):
                it.put("late", str(number))
            await it.store.flush()

        rewrite = it.store._snapshotter.rewrite
        with pytest.MonkeyPatch.context() as patch:

            async def slow() -> None:
                await rewrite()
                await publish()

            patch.setattr(it.store._snapshotter, "rewrite", slow)
            await erase(it)
        assert it.store.recorded == 1240
        await it.store.set_metadata(fact="kept")
        await assert_gone(it, marks)
        await assert_verifies(it)
        assert len(file_rows(it.path)) == 1240


async def test_a_disk_that_says_no_while_erasing_leaves_everything_as_it_was(tmp_path: Path) -> None:
    marks = Marks(5)
    async with opened(tmp_path / "d.sqlite") as it:
        await fill(it, marks, 20, 100)
        await it.store.snapshot()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(erasure, "erase", _raise(sqlite3.OperationalError("disk I/O error")))
            with pytest.raises(StoreError, match="disk I/O error"):
                await erase(it)
        assert marks.found_in(it.path.read_bytes()) != []
        assert await erase(it) is not None
        await assert_gone(it, marks)


async def test_where_the_disk_is_full_it_is_erased_and_cleaned_up_at_the_next_try(tmp_path: Path) -> None:
    marks = Marks(6)
    async with opened(tmp_path / "d.sqlite") as it:
        await fill(it, marks, 20, 100)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(erasure, "rewrite", _raise(OSError(28, "No space left on device")))
            with pytest.raises(StoreError, match="No space left"):
                await erase(it)
        assert file_rows(it.path, "SELECT count(*) FROM erasures") == [(1,)]
        assert (await it.store.states.state(TAKEN)).state is None  # type: ignore[union-attr]
        assert await erase(it) is None
        await assert_gone(it, marks)
        await assert_verifies(it)


async def test_a_start_after_a_crash_finishes_what_was_begun(tmp_path: Path) -> None:
    marks, path = Marks(7), tmp_path / "one" / "d.sqlite"
    async with opened(path) as it:
        await fill(it, marks, 60, 300)
        await it.store.snapshot()
        # A crash right after the transaction that erases: what is on disk then.
        await it.store._file.run(lambda conn: erasure.erase(conn, TAKEN, 60, "r", "t", None))
        (tmp_path / "two").mkdir()
        shutil.copy(path, tmp_path / "two" / "d.sqlite")
        # And one that had begun to write it anew, of an earlier erasure that had more content.
        (tmp_path / "two" / "d.sqlite.anew").write_bytes(" ".join(marks.secret).encode())
    async with opened(tmp_path / "two" / "d.sqlite") as it:
        await assert_gone(it, marks)
        await assert_verifies(it)
        assert file_rows(it.path, "SELECT * FROM meta WHERE key = 'erasing'") == []


def test_copies_beside_the_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite"
    for name in (
        "d.sqlite",
        "d.sqlite.lock",
        "d.sqlite-journal",
        "d.sqlite.commits.3",
        "other.sqlite.corrupt-1",
    ):
        (tmp_path / name).touch()
    assert erasure.leftovers(path) == []
    for name in ("d.sqlite.schema1-20261120T120000Z", "d.sqlite.corrupt-20261120T120000Z", "d.sqlite.mine"):
        (tmp_path / name).touch()
    assert erasure.leftovers(path) == [
        "d.sqlite.corrupt-20261120T120000Z", "d.sqlite.mine", "d.sqlite.schema1-20261120T120000Z",
    ]  # fmt: skip


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(
        st.tuples(st.integers(1, 60), st.sampled_from([5, 60, 900, 5000]), st.booleans()),
        min_size=1,
        max_size=5,
    ),
    share=st.integers(2, 4),
    erasures=st.integers(1, 3),
)
async def test_no_byte_of_it_survives_whatever_the_pages_were_through(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    steps: list[tuple[int, int, bool]],
    share: int,
    erasures: int,
) -> None:
    marks, dice = Marks(seed), random.Random(seed)
    async with opened(tmp_path_factory.mktemp("e") / "d.sqlite") as it:
        for _ in range(erasures):
            for count, size, prune in steps:
                await fill(it, marks, count, size, share=share)
                if prune:
                    await it.store.snapshot()
                    await it.store.prune(dice.randint(0, it.feeder.head), f"{dice.random()}")
            await erase(it)
            await it.store.snapshot()
            image = await memory_image(it.store)
            assert marks.found_in(image) == []
            for name, data in file_images(it.path):
                assert marks.found_in(data) == [], name
        await assert_verifies(it)


def _raise(error: Exception) -> object:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_the_link_of_an_erased_entry_is_that_of_its_digests() -> None:
    times, names = ("t", "t"), ("s", "updated")
    row = (1, "s", "updated", None, None, "t", "t", None, None, 0, None, None)
    digests = {1: (b"b" * 32, None)}
    assert checking.expected_hash(row, GENESIS, digests) == link(
        GENESIS, 1, names, (b"b" * 32, None), times, (None, None, False, None)
    )


def test_a_file_written_anew_has_no_copies_that_pages_kept_of_cells_that_moved(tmp_path: Path) -> None:
    path, dice, marks = tmp_path / "d.sqlite", random.Random(32), []
    with closing(connect_sqlite(str(path))) as conn:
        schema.create(conn)
    with closing(connect_file(path)) as conn:
        seq = pruned = 0
        for _ in range(8):
            values: list[Any] = []
            for number in range(seq + 1, seq + 91):
                session, mark = f"s{dice.randrange(2)}", f"{dice.getrandbits(64):016x}"
                if session == "s0":
                    marks.append(mark)
                state = json.dumps(mark * (1 + dice.choice((16, 60, 200)) // 16))
                values += [number, session, "updated", None, state, "t", "t", None, None, 0, None, b"h" * 32]
            append_rows(conn, values, seq + 1, seq + 90)
            seq += 90
            receipt = retention.new_receipt(conn, "test", "t")
            while pruned < seq - 30:
                pruned = retention.prune_slice(conn, seq - 30, receipt, 100, retention.Slice(7, 1 << 20))[1]
        assert erasure.erase(conn, "s0", seq, "r", "t", None) is not None
        survived = [mark for mark in marks if mark.encode() in path.read_bytes()]
        erasure.rewrite(conn, path)
    data = path.read_bytes()
    assert [mark for mark in marks if mark.encode() in data] == []
    if not survived:
        pytest.skip("this SQLite left no such copies: it had nothing to clean up")


async def test_the_doctor_is_content_with_what_was_erased_then_pruned_and_pruned_then_erased(
    tmp_path: Path,
) -> None:
    marks, key = Marks(8), Ed25519PrivateKey.generate()
    known = key.public_key().public_bytes_raw().hex()
    async with opened(tmp_path / "d.sqlite", sign=signer(known, key.sign)) as it:
        await fill(it, marks, 40, 100)
        await erase(it)
        for through in (20, 37, 40):
            assert await it.store.prune(through, f"test {through}")
            await it.store.snapshot()
            report = verify_file(it.path, frozenset({known}))
            assert (report.of(Level.BROKEN), report.erased) == ([], 14)
        it.put(TAKEN, marks.state(TAKEN, 100))
        await it.store.flush()
        await it.store.snapshot()
        assert await it.store.prune(41, "test")
        receipt = await erase(it)
        assert receipt is not None
        assert (receipt.first_seq, receipt.count) == (41, 0)
        await assert_gone(it, Marks(0))
        report = verify_file(it.path, frozenset({known}))
        assert report.of(Level.BROKEN) == []
