"""Nothing is signed on that was not signed as it is; what is taken over all the same is said for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recorder.auth.signing import known_keys, note_sealed, open_key, sealed_epochs
from recorder.core.errors import StoreDamaged, StoreError
from recorder.store.sqlite.receipts import Sign, read_adoptions, signer
from recorder.verify.file import verify_file
from recorder.verify.report import Verdict
from tests.support.store import file_rows, opened
from tests.support.tampering import Recording, mend_cache, rewrite, rows, run_sql


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "s.sqlite"


@pytest.fixture
def sign(tmp_path: Path) -> Sign:
    key = open_key(tmp_path / "key")
    return signer(key.key_id, key.sign, known_keys(tmp_path / "key"))


async def recorded(path: Path, sign: Sign | None) -> None:
    """Forty entries, ten of them pruned; stopped in order."""
    async with opened(path, sign=sign) as it:
        for n in range(40):
            it.put(f"s{n % 3}", f'{{"n":{n}}}', delta_id=f"i{n}")
        await it.store.snapshot()
        await it.store.prune(10, "30 days")


def tampered(path: Path, work: Callable[[Recording], Any]) -> None:
    work(Recording(path, path, [], frozenset(), None))  # type: ignore[arg-type]


def cut(recording: Recording) -> None:
    with closing(sqlite3.connect(recording.path)) as conn, conn:
        conn.execute("DELETE FROM session_deltas WHERE id = 40")
        mend_cache(conn)


def forge_a_receipt(recording: Recording) -> None:
    """Delete what is kept up to 30, and say that retention did."""
    with closing(sqlite3.connect(recording.path)) as conn, conn:
        entries = rows(conn)
        first, last = entries[0], next(entry for entry in entries if entry["id"] == 30)
        conn.execute("DELETE FROM session_deltas WHERE id <= 30")
        conn.execute(
            "INSERT INTO prunes(id, first_seq, last_seq, count, first_hash, last_hash, last_recorded_at, policy,"
            " pruned_at) VALUES (2, 11, 30, 20, ?, ?, ?, '30 days', '2026-11-20T13:00:00.000Z')",
            (first["hash"], last["hash"], last["created_at"]),
        )
        mend_cache(conn)


FORGERIES: dict[str, Callable[[Recording], Any]] = {
    "an entry rewritten with all hashes": lambda r: rewrite(r, 35),
    "the last entry deleted": cut,
    "the last heads deleted": run_sql("DELETE FROM heads WHERE id > 1"),
    "a head in the middle deleted": run_sql("DELETE FROM heads WHERE id = 2"),
    "a head edited": run_sql("UPDATE heads SET count = 29 WHERE id = (SELECT max(id) FROM heads)"),
    "a receipt made up": forge_a_receipt,
    "a receipt edited": run_sql("UPDATE prunes SET policy = 'none'"),
    "the signature of a receipt taken away": run_sql("UPDATE prunes SET signature = NULL, key_id = NULL"),
    "a state kept for what was pruned edited": run_sql("UPDATE session_bases SET state = '\"a lie\"'"),
    "a state kept for what was pruned deleted": run_sql("DELETE FROM session_bases WHERE session_id = 's1'"),
    "an id kept of what was pruned edited": run_sql("UPDATE pruned_ids SET id_digest = zeroblob(32)"),
    "an epoch edited": run_sql("UPDATE epochs SET cause = 'none'"),
    "an epoch added": run_sql("INSERT INTO epochs VALUES ('00AAAAAAAA', 1, '', '')"),
    "the seal deleted": run_sql("DELETE FROM meta WHERE key = 'seal'"),
    "the seal of nobody": run_sql("UPDATE meta SET value = replace(value, '0', '1') WHERE key = 'seal'"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_start_signs_nothing_on_a_file_that_was_changed_since(
    path: Path, sign: Sign, forgery: str
) -> None:
    await recorded(path, sign)
    tampered(path, FORGERIES[forgery])
    before = path.read_bytes()  # noqa: ASYNC240
    with pytest.raises(StoreDamaged):
        async with opened(path, sign=sign):
            pass
    assert path.read_bytes() == before  # noqa: ASYNC240


@pytest.mark.parametrize(
    "unfinished",
    [
        "DELETE FROM session_states WHERE session_id = 's1'",
        "INSERT INTO meta VALUES ('erasing', '1')",
    ],
    ids=["the cache does not fit", "an erasure is to be finished"],
)
async def test_a_start_writes_nothing_to_a_file_before_it_is_trusted(
    path: Path, sign: Sign, unfinished: str
) -> None:
    await recorded(path, sign)
    tampered(path, run_sql(unfinished, "UPDATE epochs SET cause = 'none'"))
    before = path.read_bytes()  # noqa: ASYNC240
    with pytest.raises(StoreDamaged):
        async with opened(path, sign=sign):
            pass
    assert path.read_bytes() == before  # noqa: ASYNC240
    async with opened(path, sign=sign, accept_gap=True) as it:
        assert it.loaded.head == 40
    assert "erasing" not in {name for (name,) in file_rows(path, "SELECT key FROM meta")}


async def test_entries_of_an_older_release_that_ran_on_the_file_are_refused_with_the_reason_and_the_way_on(
    path: Path, sign: Sign
) -> None:
    await recorded(path, sign)
    tenure = path.with_name("s.sqlite.tenure")
    kept = "SELECT key, value FROM meta WHERE key IN ('seal', 'tenure', 'prior_tenure', 'turn')"
    facts, said = file_rows(path, kept), tenure.read_bytes()
    async with opened(path, sign=sign) as it:
        await it.record(5)
    # It signs heads, and knows neither the seal nor the tenure.
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.executemany("UPDATE meta SET value = ?2 WHERE key = ?1", facts)
    tenure.write_bytes(said)
    with pytest.raises(StoreDamaged) as refused:
        async with opened(path, sign=sign):
            pass
    assert "by an older release of the recorder" in str(refused.value.hint)
    assert "--accept-gap" in str(refused.value.hint)
    async with opened(path, sign=sign, accept_gap=True) as it:
        assert it.loaded.head == 45


@pytest.mark.parametrize(
    "forgery", ["an entry rewritten with all hashes", "a receipt made up", "an epoch edited"]
)
async def test_a_gap_that_is_accepted_is_signed_begins_an_epoch_and_is_shown_ever_after(
    path: Path, sign: Sign, forgery: str
) -> None:
    await recorded(path, sign)
    async with opened(path, sign=sign) as it:
        epoch = it.loaded.epoch
    tampered(path, FORGERIES[forgery])
    async with opened(path, sign=sign, accept_gap=True) as it:
        assert it.loaded.epoch > epoch
        await it.record(3)
    for _ in range(2):
        async with opened(path, sign=sign) as it:
            await it.record(1)
        report = verify_file(path, sign.trusted)
        assert report.verdict is not Verdict.INTACT
        assert any("were taken over unverified" in finding.text for finding in report.findings)
    tampered(path, run_sql("DELETE FROM meta WHERE key = 'adoptions'"))
    assert verify_file(path, sign.trusted).verdict is Verdict.BROKEN


async def test_a_file_without_a_head_of_ours_is_adopted_and_never_said_to_be_intact(
    path: Path, sign: Sign
) -> None:
    await recorded(path, sign)
    tampered(path, lambda r: rewrite(r, 35))
    strip = "DELETE FROM meta WHERE key IN ('seal', 'tenure', 'recording', 'turn')"
    tampered(path, run_sql("DELETE FROM heads", strip))
    async with opened(path, sign=sign):
        pass
    report = verify_file(path, sign.trusted)
    assert report.verdict is Verdict.CANNOT_TELL
    assert "entries 11 to 40 were taken over unverified" in report.summary()
    with closing(sqlite3.connect(path)) as conn:
        (adoption,) = read_adoptions(conn)
    assert (adoption.payload.kind, adoption.payload.first_seq, adoption.payload.seq) == ("adopt", 11, 40)
    async with opened(path, sign=sign) as it:
        await it.record(5)
        await it.store.snapshot()
        await it.store.prune(40, "all")
    report = verify_file(path, sign.trusted)
    # What was taken over is gone; that it was is still said.
    assert report.verdict is Verdict.INTACT
    assert any("were taken over unverified" in finding.text for finding in report.findings)


async def test_what_a_run_without_a_key_has_recorded_is_adopted_not_refused(path: Path, sign: Sign) -> None:
    await recorded(path, sign)
    async with opened(path) as it:
        await it.record(5)
        await it.store.snapshot()
        await it.store.prune(15, "30 days")
    async with opened(path, sign=sign) as it:
        assert it.loaded.head == 45
    assert "were taken over unverified" in verify_file(path, sign.trusted).summary()


async def test_the_file_of_an_older_release_that_was_stopped_in_order_starts_without_a_word(
    path: Path, sign: Sign
) -> None:
    await recorded(path, sign)
    run_older = (
        "DELETE FROM meta WHERE key IN ('seal', 'tenure', 'prior_tenure', 'recording', 'turn', 'unsigned')"
    )
    tampered(path, run_sql(run_older))
    path.with_name("s.sqlite.tenure").unlink()
    async with opened(path, sign=sign) as it:
        assert not await it.store._memory.run(read_adoptions)
    assert verify_file(path, sign.trusted).verdict is Verdict.INTACT


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE session_bases SET state = '\"a lie\"'",
        "INSERT INTO session_bases VALUES ('s9', 5, '2026-11-20T12:00:00.000Z', '\"a lie\"', NULL)",
        "UPDATE epochs SET cause = 'none'",
        "DELETE FROM heads WHERE id = 1",
    ],
)
async def test_what_another_program_changes_between_two_transactions_is_not_signed(
    path: Path, sign: Sign, change: str
) -> None:
    await recorded(path, sign)
    with suppress(StoreError):  # the orderly stop cannot save, and says so
        async with opened(path, sign=sign) as it:
            await it.record(5)
            await it.store.snapshot()
            with closing(sqlite3.connect(path, isolation_level=None)) as conn:
                conn.execute(change)
            await it.store.prune(20, "30 days")
            with pytest.raises(StoreError, match="file_replaced"):
                await it.store.snapshot()
            assert it.store.durable <= 20


async def test_an_index_that_another_program_adds_does_no_harm(path: Path, sign: Sign) -> None:
    await recorded(path, sign)
    async with opened(path, sign=sign) as it:
        await it.record(5)
        with closing(sqlite3.connect(path, isolation_level=None)) as conn:
            conn.execute("CREATE INDEX mine ON session_deltas(after_state)")
        await it.store.snapshot()
        assert it.store.durable == 45


async def test_no_prune_goes_on_with_a_receipt_that_was_not_signed_at_the_start(
    path: Path, sign: Sign
) -> None:
    await recorded(path, None)
    async with opened(path, sign=sign) as it:
        await it.store.prune(20, "30 days")
        await it.store.snapshot()
        receipts = (await it.store.receipts()).prunes
    assert [(r.payload.first_seq, r.payload.last_seq) for r in receipts] == [(1, 10), (11, 20)]


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def cut_without_seal(recording: Recording) -> None:
    """Cut the last entry, with everything that a seal would show: as if an older release had written the file."""
    with closing(sqlite3.connect(recording.path)) as conn, conn:
        conn.execute("DELETE FROM session_deltas WHERE id = 40")
        conn.execute("DELETE FROM heads WHERE seq > 39")
        conn.execute(
            "DELETE FROM meta WHERE key IN ('seal', 'recording', 'tenure', 'turn', 'segment', 'copied')"
        )
        mend_cache(conn)
    Path(f"{recording.path}.tenure").unlink()


def forge_epochs_without_seal(recording: Recording) -> None:
    with closing(sqlite3.connect(recording.path)) as conn, conn:
        conn.execute("UPDATE epochs SET cause = 'forged', started_at = '2020-01-01T00:00:00.000Z'")
        conn.execute("DELETE FROM heads WHERE id < (SELECT max(id) FROM heads)")
        conn.execute("DELETE FROM meta")


@pytest.mark.parametrize("work", [cut_without_seal, forge_epochs_without_seal])
async def test_a_file_that_was_sealed_is_refused_without_its_seal(
    work: Callable[[Recording], Any], path: Path, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"

    def signing() -> Sign:
        key = open_key(key_file)
        note = partial(note_sealed, key_file)
        return signer(key.key_id, key.sign, known_keys(key_file), sealed_epochs(key_file), note)

    async with opened(path, sign=signing()) as it:
        for n in range(40):
            it.put("s", f'{{"n":{n}}}')
            if n % 10 == 9:
                await it.store.snapshot()
    tampered(path, work)
    before = bytes_of(path)
    with pytest.raises(StoreDamaged):
        async with opened(path, sign=signing()):
            pass
    assert bytes_of(path) == before


async def test_a_file_that_was_never_sealed_with_the_key_needs_no_seal(path: Path, sign: Sign) -> None:
    await recorded(path, sign)
    tampered(path, cut_without_seal)
    async with opened(path, sign=sign) as it:
        assert it.loaded.head == 39
