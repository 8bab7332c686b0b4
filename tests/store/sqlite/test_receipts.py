"""What a database says under a signature: on the file, in the transaction that makes it true; then in memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from recorder.auth.signing import open_key
from recorder.core.statements import bases_digest
from recorder.store.sqlite import schema
from recorder.store.sqlite.connection import connect_sqlite
from recorder.store.sqlite.receipts import (
    KEPT_HEADS,
    Sign,
    add_head,
    digest_of_bases,
    read_all,
    read_heads,
    read_receipts,
    seal_bases,
    signer,
)
from recorder.store.sqlite.retention import Receipt, Slice, prune_slice
from recorder.verify.file import verify_file
from recorder.verify.report import Level, Verdict
from recorder.verify.statements import holds
from tests.support.store import file_rows, opened


def make_signer(folder: Path) -> Sign:
    key = open_key(folder / "signing.key")
    return signer(key.key_id, key.sign)


async def test_every_snapshot_ends_with_a_signed_head_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    async with opened(path, sign=make_signer(tmp_path)) as it:
        await it.record(3)
        await it.store.snapshot()
        await it.record(2)
        await it.store.snapshot()
        epoch = it.loaded.epoch
    with closing(sqlite3.connect(path)) as conn:
        heads = read_heads(conn)
    assert all(map(holds, heads))
    # The first one is that of the start, the last one that of the orderly stop.
    assert [(h.payload.epoch, h.payload.seq, h.payload.count, h.payload.durable) for h in heads] == [
        (epoch, 0, 0, 0), (epoch, 3, 3, 3), (epoch, 5, 5, 5), (epoch, 5, 5, 5),
    ]  # fmt: skip
    assert heads[-1].payload.hash == file_rows(path)[-1][-1]


async def test_a_file_whose_entries_are_all_pruned_has_a_head_at_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    async with opened(path, sign=make_signer(tmp_path)) as it:
        await it.record(3)
        await it.store.snapshot()
        await it.store.prune(3, "all")
    with closing(sqlite3.connect(path)) as conn:
        head, receipts = read_heads(conn)[-1], read_receipts(conn)
    assert (head.payload.seq, head.payload.count, head.payload.hash) == (3, 0, it.feeder.entries[-1].hash)
    assert [holds(receipt) for receipt in receipts] == [True]
    # The session lives: its state is kept, and sealed.
    assert file_rows(path, "SELECT count(*) FROM session_bases") == [(1,)]


def test_only_so_many_heads_are_kept(tmp_path: Path) -> None:
    sign = make_signer(tmp_path)
    with closing(connect_sqlite(":memory:")) as conn:
        schema.create(conn)
        conn.execute("BEGIN")
        conn.execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?)"
            " INSERT INTO heads SELECT x, 'E', x, x, NULL, 'T', 'k', x'00' FROM n",
            (KEPT_HEADS,),
        )
        add_head(conn, "E", "T", sign)
        assert conn.execute("SELECT min(id), count(*) FROM heads").fetchone() == (2, KEPT_HEADS)


async def test_a_receipt_is_signed_and_seals_the_bases_with_each_slice(tmp_path: Path) -> None:
    path, sign = tmp_path / "s.sqlite", make_signer(tmp_path)
    async with opened(path) as it:
        await it.record(30)
        it.put("other", '"x"')
    with closing(connect_sqlite(str(path))) as conn:
        receipt = Receipt(1, "by hand", "2026-11-20T12:00:00.000Z")
        seals, sealed = [], []
        while prune_slice(conn, 25, receipt, 0, Slice(10, 1 << 30), sign)[0]:
            (signed,) = read_receipts(conn)
            assert holds(signed)
            seals.append((signed.payload.last_seq, signed.payload.bases_digest))
            sealed.append(digest_of_bases(conn))
        assert [last for last, _ in seals] == [10, 20, 25]
        assert [seal for _, seal in seals] == sealed
        rows = conn.execute("SELECT session_id, seq, recorded_at FROM session_bases").fetchall()
        assert digest_of_bases(conn) == bases_digest([(*rows[0], _digest(b"1"))])


async def test_bases_that_change_are_sealed_again(tmp_path: Path) -> None:
    path, sign = tmp_path / "s.sqlite", make_signer(tmp_path)
    async with opened(path, sign=sign) as it:
        await it.record(3)
        await it.store.snapshot()
        await it.store.prune(3, "all")
    with closing(connect_sqlite(str(path))) as conn:
        before = read_receipts(conn)[-1]
        conn.execute("UPDATE session_bases SET state_digest = ?, state = NULL", (_digest(b"1"),))
        assert digest_of_bases(conn) == before.payload.bases_digest
        conn.execute("UPDATE session_bases SET seq = 2")
        seal_bases(conn, sign)
        after = read_receipts(conn)[-1]
        assert holds(after)
        assert after.payload.bases_digest == digest_of_bases(conn) != before.payload.bases_digest


async def test_memory_learns_the_signatures_and_both_say_the_same_after_a_restart(tmp_path: Path) -> None:
    path, sign = tmp_path / "s.sqlite", make_signer(tmp_path)
    async with opened(path, sign=sign) as it:
        await it.record(6)
        await it.store.snapshot()
        await it.store.prune(2, "first")
        await it.store.prune(4, "second")
        assert [r.by for r in (await it.store.receipts()).prunes] == [None, None]
        await it.store.snapshot()
        there = (await it.store.receipts()).prunes
        assert [holds(receipt) for receipt in there] == [True, True]
        # The same rule goes on with its receipt, which is no longer what was signed.
        await it.store.prune(5, "second")
        assert [r.by is None for r in (await it.store.receipts()).prunes] == [False, True]
    async with opened(path, sign=sign) as it:
        found = await it.store.receipts()
        with closing(sqlite3.connect(path)) as conn:
            assert read_all(conn) == found
        assert [(r.payload.first_seq, r.payload.last_seq, holds(r)) for r in found.prunes] == [
            (1, 2, True),
            (3, 5, True),
        ]


async def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    async with opened(path) as it:
        await it.record(3)
        await it.store.snapshot()
        await it.store.prune(2, "two")
        assert await it.store.head() is None
    with closing(sqlite3.connect(path)) as conn:
        assert read_heads(conn) == []
        assert [receipt.by for receipt in read_receipts(conn)] == [None]


def _digest(text: bytes) -> bytes:
    return sha256(text).digest()


@pytest.mark.parametrize("change", ["delta_id = 'other'", "seq = 1", "id_digest = x'00'"])
async def test_ids_kept_of_what_was_pruned_are_sealed_too(tmp_path: Path, change: str) -> None:
    path, key = tmp_path / "data" / "s.sqlite", open_key(tmp_path / "key")
    async with opened(path, sign=signer(key.key_id, key.sign)) as it:
        for n in range(3):
            it.put("s", f'"{n}"', delta_id=f"i{n}")
        await it.store.snapshot()
        await it.store.prune(2, "all")
    trusted = frozenset({key.key_id})
    assert verify_file(path, trusted).verdict is Verdict.INTACT
    with closing(connect_sqlite(str(path))) as conn:
        conn.execute(f"UPDATE pruned_ids SET {change} WHERE seq = 2")
    assert [finding.kind for finding in verify_file(path, trusted).of(Level.BROKEN)] == ["base"]
