"""Verifying a file in every condition: empty, unsigned, in use, with a commit log, of an older schema, damaged."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from recorder.core.chain import GENESIS
from recorder.core.errors import NotFound, StoreUnreadable
from recorder.core.statements import Head, Signed
from recorder.store.sqlite import migrations
from recorder.store.sqlite.connection import connect_sqlite
from recorder.verify import file as verify_module
from recorder.verify import rows as rows_module
from recorder.verify.file import verify_file
from recorder.verify.report import Report, Verdict
from tests.support.store import opened
from tests.support.tampering import LAST, Recording, make_sign, put_back, rewrite, rows, run_sql, writing
from tests.verify.conftest import Doctor


def texts(report: Report) -> str:
    return "\n".join(finding.text for finding in report.findings)


def test_an_intact_file_is_told_with_all_that_was_looked_at(recording: Recording, doctor: Doctor) -> None:
    report = doctor(recording, expect=True)
    assert (report.verdict, report.checked, report.first, report.last) == (Verdict.INTACT, 45, 16, LAST)
    assert (report.heads > 1, report.expected, report.signed_through) == (True, 2, LAST)
    assert report.pruned == [(10, "30 days"), (5, "45 deltas")]
    assert report.summary() == 'intact; 10 pruned under "30 days"; 5 pruned under "45 deltas"; 1 erased'
    assert report.findings == []


def test_verifying_changes_nothing(recording: Recording, doctor: Doctor) -> None:
    before, names = recording.path.read_bytes(), sorted(recording.path.parent.iterdir())
    doctor(recording)
    assert recording.path.read_bytes() == before
    assert sorted(recording.path.parent.iterdir()) == names


async def test_a_new_file_is_not_intact_but_empty(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.sqlite"):
        pass
    report = verify_file(tmp_path / "s.sqlite", frozenset())
    assert report.verdict is Verdict.CANNOT_TELL
    assert "nothing is recorded" in report.summary()


async def test_without_signatures_it_says_what_does_not_show(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.sqlite") as run:
        await run.record(5)
        await run.store.snapshot()
        await run.store.prune(2, "2 deltas")
    report = verify_file(tmp_path / "s.sqlite", frozenset())
    assert (report.verdict, report.checked) == (Verdict.CANNOT_TELL, 3)
    assert "no signed head" in report.summary()
    assert "is not signed" in report.summary()


async def test_entries_recorded_without_the_chain_are_not_intact_and_are_named(tmp_path: Path) -> None:
    path, sign = tmp_path / "s.sqlite", make_sign(tmp_path / "key")
    async with opened(path, sign=sign) as run:
        await run.record(3)
        run.feeder._sequencer._hash = None
        await run.record(3)
        run.feeder._sequencer._hash = GENESIS
        await run.record(3)
        head = await run.store.head()
    assert head is not None
    assert head.by is not None
    report = verify_file(path, frozenset({head.by.key_id}))
    assert (report.verdict, report.checked) == (Verdict.CANNOT_TELL, 6)
    assert report.summary() == "cannot tell: entries 4 to 6 have no hash: the chain was off"


def test_a_key_that_is_not_known_is_cannot_tell(recording: Recording) -> None:
    report = verify_file(recording.path, frozenset())
    assert report.verdict is Verdict.CANNOT_TELL
    assert "a key that is not known here" in report.summary()


def test_an_expected_head_that_was_not_on_disk_is_not_asked_for(recording: Recording) -> None:
    ahead = _signed(recording, seq=LAST + 5, count=50, durable=LAST)
    report = verify_file(recording.path, recording.keys, [*recording.heads, ahead])
    assert (report.verdict, report.expected) == (Verdict.INTACT, 2)
    assert "was not yet on disk" in texts(report)
    alone = verify_file(recording.path, recording.keys, [ahead])
    assert alone.verdict is Verdict.CANNOT_TELL
    assert "none of the expected heads can be compared" in alone.summary()


def test_an_expected_head_of_another_epoch_or_a_pruned_place_or_a_wrong_signature_is_judged(
    recording: Recording,
) -> None:
    stranger = verify_file(recording.path, recording.keys, [_signed(recording, epoch="01OTHER")])
    assert (stranger.verdict, "not known here" in stranger.summary()) == (Verdict.BROKEN, True)
    pruned = verify_file(recording.path, recording.keys, [_signed(recording, seq=3, count=3, durable=3)])
    assert "none of the expected heads can be compared" in pruned.summary()
    at_cut = verify_file(recording.path, recording.keys, [_signed(recording, seq=15, count=5, durable=15)])
    assert "rewritten" in at_cut.summary()
    forged = Signed(replace(recording.heads[0].payload, seq=1), recording.heads[0].by)
    assert "is not what was signed" in verify_file(recording.path, recording.keys, [forged]).summary()
    back = _signed(recording, count=10)
    assert "an older file was put back" in texts(verify_file(recording.path, recording.keys, [back]))


def _signed(recording: Recording, **changes: object) -> Signed[Head]:
    said = replace(recording.heads[-1].payload, **changes)  # type: ignore[arg-type]
    return Signed(said, recording.sign(said))


async def test_what_a_crash_lost_is_no_tampering_and_what_was_on_disk_must_be_there(tmp_path: Path) -> None:
    path, sign = tmp_path / "s.sqlite", make_sign(tmp_path / "key")
    heads = []
    async with opened(path, sign=sign) as run:
        await run.record(5)
        await run.store.snapshot()
        await run.record(5)
        heads.append(await run.store.head())
        shutil.copy(path, tmp_path / "crashed.sqlite")
    path = tmp_path / "crashed.sqlite"
    async with opened(path, sign=sign) as run:
        assert heads[0] is not None
        assert run.loaded.epoch != heads[0].payload.epoch
        await run.record(9)
        heads.append(await run.store.head())
    asked = [head for head in heads if head is not None]
    keys = frozenset(head.by.key_id for head in asked if head.by is not None)
    assert [head.payload.durable for head in asked] == [5, 5]
    first = verify_file(path, keys, asked[:1])
    assert "of what the expected head" in texts(first)
    assert first.verdict is Verdict.CANNOT_TELL
    said = replace(asked[0].payload, durable=8)
    report = verify_file(path, keys, [Signed(said, sign(said))])
    assert report.verdict is Verdict.BROKEN
    assert report.first_bad is not None
    assert (report.first_bad.kind, report.first_bad.seq, report.first_bad.through) == ("cut", 6, 8)


async def test_the_commit_log_beside_a_file_is_part_of_the_recording(tmp_path: Path) -> None:
    path, sign = tmp_path / "live" / "s.sqlite", make_sign(tmp_path / "key")
    path.parent.mkdir(mode=0o700)
    async with opened(path, sign=sign, commit=True) as run:
        await run.record(4)
        await run.store.snapshot()
        await run.record(6)
        head = await run.store.head()
        shutil.copytree(path.parent, tmp_path / "killed")
    assert head is not None
    assert head.by is not None
    killed, keys = tmp_path / "killed" / "s.sqlite", frozenset({head.by.key_id})
    report = verify_file(killed, keys, [head])
    assert (report.verdict, report.checked, report.last, report.expected) == (Verdict.INTACT, 10, 10, 1)
    assert "the last 6 entries are in the commit log" in texts(report)
    (segment,) = killed.parent.glob("*.commits.*")
    data = bytearray(segment.read_bytes())
    data[len(data) // 3] ^= 1
    segment.write_bytes(data)
    damaged = verify_file(killed, keys)
    assert damaged.verdict is Verdict.BROKEN
    assert "commit log is damaged" in texts(damaged)
    segment.unlink()
    assert verify_file(killed, keys).verdict is Verdict.INTACT
    cut = verify_file(killed, keys, [head])
    assert cut.summary().startswith("broken; first bad seq 5, cut")


def test_a_file_of_the_first_schema_is_verified_as_far_as_it_goes(
    recording: Recording, doctor: Doctor
) -> None:
    run_sql(
        "UPDATE session_deltas SET after_state = '{\"n\":50}' WHERE id = 50",
        "DELETE FROM erasures",
        "DELETE FROM erased_states",
        "UPDATE session_bases SET state = '{}' WHERE state IS NULL",
    )(recording)
    conn = connect_sqlite(str(recording.path))
    migrations.migrate(conn, recording.path, 1, 0)
    conn.close()
    report = doctor(recording)
    assert report.verdict is not Verdict.INTACT
    assert "it has schema 1" in texts(report)
    assert "no signed head" in texts(report)


def test_content_that_was_erased_and_is_there_again_is_found(recording: Recording, doctor: Doctor) -> None:
    run_sql("UPDATE session_deltas SET after_state = '{\"n\":50}' WHERE id = 50")(recording)
    report = doctor(recording)
    assert report.verdict is Verdict.BROKEN
    assert "the content of entry 50 is there, though it was erased" in texts(report)


def test_an_entry_that_cannot_be_read_is_named(recording: Recording, doctor: Doctor) -> None:
    with writing(recording.path) as conn:
        size = conn.execute("PRAGMA page_size").fetchone()[0]
        page = conn.execute(
            "SELECT pageno FROM dbstat WHERE name = 'session_deltas' AND pagetype = 'leaf'"
            " ORDER BY path LIMIT 1 OFFSET 1"
        ).fetchone()[0]
    with recording.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    report = doctor(recording)
    assert report.verdict is Verdict.BROKEN
    assert report.first_bad is not None
    assert "damaged" in report.first_bad.text
    assert report.first_bad.seq is not None
    assert report.first_bad.seq > 16
    assert report.checked > 0


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + bytes(200)])
def test_what_is_no_recording_is_not_judged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(content)
    with pytest.raises((StoreUnreadable, sqlite3.Error)):
        verify_file(path, frozenset())
    assert path.read_bytes() == content


def test_what_is_not_there_or_newer_is_not_judged(recording: Recording, doctor: Doctor) -> None:
    run_sql("PRAGMA user_version = 99")(recording)
    with pytest.raises(StoreUnreadable, match=r"has schema 99.*use a newer recorder"):
        doctor(recording)
    recording.path.unlink()
    with pytest.raises(NotFound):
        doctor(recording)


def test_others_that_may_read_it_are_told_of(recording: Recording, doctor: Doctor) -> None:
    recording.path.chmod(0o644)
    report = doctor(recording)
    assert (report.verdict, "has mode 0644" in texts(report)) == (Verdict.INTACT, True)
    assert stat.S_IMODE(recording.path.stat().st_mode) == 0o644


def test_a_file_that_changes_meanwhile_is_looked_at_again(
    recording: Recording, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    check_file: Callable[..., object] = verify_module.check_file
    good = recording.path.with_name("good.sqlite")
    shutil.copy(recording.path, good)

    def change_meanwhile(*args: object) -> object:
        nonlocal looked
        looked += 1
        if looked > 1:
            return check_file(*args)
        run_sql("DELETE FROM session_deltas WHERE id = 20")(recording)
        found = check_file(*args)
        with writing(recording.path) as conn:
            conn.execute("ATTACH ? AS good", (str(good),))
            conn.execute("INSERT INTO session_deltas SELECT * FROM good.session_deltas WHERE id = 20")
        return found

    monkeypatch.setattr(verify_module, "check_file", change_meanwhile)
    assert doctor(recording).verdict is Verdict.INTACT
    assert looked == 2


def test_several_processes_find_the_same(
    recording: Recording, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sql(
        "DELETE FROM session_deltas WHERE id IN (30, 31)",
        "UPDATE session_deltas SET lineage = 'x' WHERE id = 44",
    )(recording)
    alone, done = doctor(recording), []
    monkeypatch.setattr(rows_module, "ALONE_ROWS", 10)
    monkeypatch.setattr(rows_module, "PART_ROWS", 10)
    monkeypatch.setattr(rows_module, "cpu_count", lambda: 2)
    several = verify_file(
        recording.path, recording.keys, None, lambda more, total: done.append((more, total))
    )
    assert [finding.text for finding in several.findings] == [finding.text for finding in alone.findings]
    assert (several.checked, several.first_bad) == (alone.checked, alone.first_bad)
    assert sum(more for more, _ in done) == done[0][1] == 45


def test_heads_that_speak_of_nothing_that_is_there_vouch_for_nothing(
    recording: Recording, doctor: Doctor
) -> None:
    rewrite(recording)
    run_sql(
        "DELETE FROM heads WHERE seq > 0",
        "UPDATE meta SET value = '0' WHERE key = 'clean'",
        "DELETE FROM meta WHERE key = 'seal'",
    )(recording)
    report = doctor(recording)
    assert report.verdict is Verdict.CANNOT_TELL
    assert "no signed head" in report.summary()


def test_many_signatures_of_a_strange_key_are_one_finding(recording: Recording) -> None:
    report = verify_file(recording.path, frozenset())
    assert [finding.kind for finding in report.findings] == ["receipt", "erasure", "head", "head"]
    assert "and 1 more are signed by a key that is not known here" in report.findings[0].text


@pytest.mark.parametrize("seq", [0, -3])
async def test_an_entry_before_the_first_is_found(tmp_path: Path, seq: int) -> None:
    path, sign = tmp_path / "s.sqlite", make_sign(tmp_path / "key")
    async with opened(path, sign=sign) as run:
        await run.record(3)
        head = await run.store.head()
    assert head is not None
    assert head.by is not None
    with writing(path) as conn:
        entry = {**rows(conn)[0], "id": seq, "hash": bytes(32), "after_state": '"a lie"'}
        put_back(conn, [entry, *rows(conn)])
    report = verify_file(path, frozenset({head.by.key_id}))
    assert report.verdict is Verdict.BROKEN
    assert report.first_bad is not None
    assert report.first_bad.seq == seq


def test_content_that_was_taken_away_under_the_receipt_of_another_session_is_found(
    recording: Recording, doctor: Doctor
) -> None:
    with writing(recording.path) as conn:
        before, after = conn.execute(
            "SELECT before_state, after_state FROM session_deltas WHERE id = 41"
        ).fetchone()
        digests = [None if state is None else sha256(state.encode()).digest() for state in (before, after)]
        conn.execute("UPDATE session_deltas SET before_state = NULL, after_state = NULL WHERE id = 41")
        conn.execute("INSERT INTO erased_states VALUES (41, 1, ?, ?)", digests)
    report = doctor(recording)
    assert report.verdict is Verdict.BROKEN
    assert "the content of entry 41 is gone, and the receipt that is named does not speak of it" in texts(
        report
    )


async def test_a_file_in_which_a_crash_broke_off_a_snapshot_is_verified_with_that_undone(
    tmp_path: Path,
) -> None:
    path, crashed = tmp_path / "s.sqlite", tmp_path / "crashed"
    crashed.mkdir(mode=0o700)
    sign = make_sign(tmp_path / "keys" / "signing.key")
    async with opened(path, sign=sign) as run:
        await run.record(200, after=f'"{"x" * 500}"')
        await run.store.snapshot()
        head = await run.store.head()
    assert head is not None
    assert head.by is not None
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        # A cache of a few pages: what is changed goes to the file long before the end of the transaction.
        conn.execute("PRAGMA cache_size = 2")
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("UPDATE session_deltas SET after_state = 'half written'")
        for name in ("s.sqlite", "s.sqlite-journal"):
            shutil.copyfile(tmp_path / name, crashed / name)
        conn.execute("ROLLBACK")
    (crashed / "s.sqlite").chmod(0o600)
    before = {item.name: item.read_bytes() for item in crashed.iterdir()}
    report = verify_file(crashed / "s.sqlite", frozenset({head.by.key_id}))
    assert (report.verdict, report.checked, report.subject) == (
        Verdict.INTACT,
        200,
        str(crashed / "s.sqlite"),
    )
    assert "a crash interrupted a snapshot" in texts(report)
    assert {item.name: item.read_bytes() for item in crashed.iterdir()} == before
