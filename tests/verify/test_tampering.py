"""Every kind of tampering, without and with heads kept elsewhere: each cell of the documentation's table."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from recorder.core.errors import RecorderError
from recorder.store.sqlite import schema
from recorder.verify.report import Level, Report, Verdict
from tests.support.store import typed_dump
from tests.support.tampering import (
    ERASED,
    FIRST,
    LAST,
    YESTERDAY,
    Recording,
    link_of,
    make_sign,
    mend_cache,
    put_back,
    rewrite,
    rows,
    run_sql,
    sign_heads,
    writing,
)
from tests.verify.conftest import Doctor

PAGE = (Path(__file__).parents[2] / "recorder" / "docs" / "verifying.md").read_text(encoding="utf-8")
MIDDLE = 30

EDITS = {
    "id": f"UPDATE session_deltas SET id = 5000 WHERE id = {MIDDLE}",
    "session_id": f"UPDATE session_deltas SET session_id = 's9' WHERE id = {MIDDLE}",
    "delta_type": f"UPDATE session_deltas SET delta_type = 'created' WHERE id = {MIDDLE}",
    "before_state": f"UPDATE session_deltas SET before_state = before_state || ' ' WHERE id = {MIDDLE}",
    "after_state": f"UPDATE session_deltas SET after_state = NULL WHERE id = {MIDDLE}",
    "timestamp": f"UPDATE session_deltas SET timestamp = '2020' || substr(timestamp, 5) WHERE id = {MIDDLE}",
    "created_at": f"UPDATE session_deltas SET created_at = '2020' || substr(created_at, 5) WHERE id = {MIDDLE}",
    "delta_id": f"UPDATE session_deltas SET delta_id = 'other' WHERE id = {MIDDLE}",
    "id_digest": f"UPDATE session_deltas SET id_digest = NULL WHERE id = {MIDDLE}",
    "before_filled": f"UPDATE session_deltas SET before_filled = 1 - before_filled WHERE id = {MIDDLE}",
    "lineage": f"UPDATE session_deltas SET lineage = 'broken' WHERE id = {MIDDLE}",
    "hash": f"UPDATE session_deltas SET hash = zeroblob(32) WHERE id = {MIDDLE}",
}


def changed(work: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Recording], None]:
    """A tampering of the list of entries; the cache is mended behind it."""

    def tamper(recording: Recording) -> None:
        with writing(recording.path) as conn:
            entries = rows(conn)
            work(entries)
            put_back(conn, sorted(entries, key=lambda entry: int(entry["id"])))

    return tamper


def remove(first: int, last: int, *, renumber: bool = False) -> Callable[[Recording], None]:
    def work(entries: list[dict[str, Any]]) -> None:
        entries[:] = [entry for entry in entries if not first <= entry["id"] <= last]
        for entry in entries:
            if renumber and entry["id"] > last:
                entry["id"] -= last - first + 1

    return changed(work)


def swap(one: int, other: int) -> Callable[[Recording], None]:
    def work(entries: list[dict[str, Any]]) -> None:
        first, second = (next(e for e in entries if e["id"] == number) for number in (one, other))
        first["id"], second["id"] = other, one

    return changed(work)


def insert(at: int, *, linked: bool) -> Callable[[Recording], None]:
    """Put in an entry, renumbering those behind it; with the hash that it should have, if `linked`."""

    def work(entries: list[dict[str, Any]]) -> None:
        previous = next(entry["hash"] for entry in entries if entry["id"] == at - 1)
        fake = {
            **next(e for e in entries if e["id"] == at - 1),
            "id": at,
            "after_state": '"a lie"',
            "hash": bytes(32),
        }
        for entry in entries:
            entry["id"] += entry["id"] >= at
        if linked:
            fake["hash"] = link_of(fake, previous)
        entries.append(fake)

    return changed(work)


def copy_over(source: int, target: int) -> Callable[[Recording], None]:
    def work(entries: list[dict[str, Any]]) -> None:
        entries[:] = [entry for entry in entries if entry["id"] != target]
        entries.append({**next(e for e in entries if e["id"] == source), "id": target})

    return changed(work)


def add_at_end(recording: Recording) -> None:
    insert(LAST + 1, linked=True)(recording)


def cut_with_care(recording: Recording) -> None:
    """Cut the tail, and everything that would tell of it."""
    with writing(recording.path) as conn:
        conn.execute(f"DELETE FROM session_deltas WHERE id > {YESTERDAY + 10}")
        conn.execute(f"DELETE FROM heads WHERE seq > {YESTERDAY + 10}")
        conn.execute("UPDATE meta SET value = '0' WHERE key = 'clean'")
        conn.execute("DELETE FROM meta WHERE key = 'seal'")
        mend_cache(conn)


def without_heads(recording: Recording) -> None:
    rewrite(recording)
    run_sql("DELETE FROM heads")(recording)


def with_another_key(recording: Recording) -> None:
    rewrite(recording)
    sign_heads(recording, make_sign(recording.path.parent / "stolen" / "another.key"))


def with_the_key(recording: Recording) -> None:
    rewrite(recording)
    sign_heads(recording, recording.sign)


def make_up_a_receipt(recording: Recording) -> None:
    """Remove the oldest, and say that retention did."""
    with writing(recording.path) as conn:
        gone = next(entry for entry in rows(conn) if entry["id"] == FIRST)
        last = next(entry for entry in rows(conn) if entry["id"] == FIRST + 4)
        conn.execute(f"DELETE FROM session_deltas WHERE id <= {FIRST + 4}")
        conn.execute(
            "INSERT INTO prunes(id, first_seq, last_seq, count, first_hash, last_hash, last_recorded_at, policy,"
            " pruned_at) VALUES (9, ?, ?, 5, ?, ?, ?, '30 days', '2026-11-20T13:00:00.000Z')",
            (FIRST, FIRST + 4, gone["hash"], last["hash"], last["created_at"]),
        )
        mend_cache(conn)


def make_up_a_receipt_with_care(recording: Recording) -> None:
    make_up_a_receipt(recording)
    run_sql("UPDATE meta SET value = '0' WHERE key = 'clean'")(recording)


def take_a_base_away(recording: Recording) -> None:
    """Remove a state that is kept for what was pruned as an erasure would, without its receipt."""
    with writing(recording.path) as conn:
        session, state = conn.execute(
            "SELECT session_id, state FROM session_bases WHERE state IS NOT NULL"
        ).fetchone()
        conn.execute(
            "UPDATE session_bases SET state = NULL, state_digest = ? WHERE session_id = ?",
            (sha256(state.encode()).digest(), session),
        )


def put_a_base_back(recording: Recording) -> None:
    """Put a state back that an erasure has taken away."""
    with writing(recording.path) as conn:
        conn.execute("UPDATE session_bases SET state = '{\"n\":14}' WHERE state IS NULL")


def put_yesterday_back(recording: Recording) -> None:
    shutil.copy(recording.yesterday, recording.path)


@dataclass(frozen=True)
class Case:
    """A row of the table, and the tamperings that it stands for."""

    name: str
    ways: tuple[Callable[[Recording], None], ...]
    seqs: tuple[int | None, ...] = ()


CASES = [
    Case("nothing", (lambda recording: None,)),
    Case(
        "a column of an entry is edited",
        tuple(run_sql(sql) for name, sql in EDITS.items() if name != "id"),
        (MIDDLE,),
    ),
    Case(
        "the hash of an entry is taken away",
        (run_sql(f"UPDATE session_deltas SET hash = NULL WHERE id = {MIDDLE}"),),
        (MIDDLE,),
    ),
    Case(
        "a value is stored as another type",
        (
            run_sql(f"UPDATE session_deltas SET before_filled = 7 WHERE id = {MIDDLE}"),
            run_sql(f"UPDATE session_deltas SET session_id = CAST(session_id AS BLOB) WHERE id = {MIDDLE}"),
        ),
        (MIDDLE,),
    ),
    Case(
        "an entry is overwritten with a copy of another",
        (copy_over(20, MIDDLE), copy_over(MIDDLE - 1, MIDDLE), copy_over(45, MIDDLE)),
        (MIDDLE,),
    ),
    Case("an entry is given another number", (run_sql(EDITS["id"]),), (MIDDLE,)),
    Case("the oldest entries are deleted", (remove(FIRST, FIRST), remove(FIRST, FIRST + 9)), (FIRST,)),
    Case(
        "entries in the middle are deleted", (remove(MIDDLE, MIDDLE), remove(MIDDLE, MIDDLE + 5)), (MIDDLE,)
    ),
    Case(
        "the same, and those behind are renumbered",
        (remove(MIDDLE, MIDDLE, renumber=True), remove(MIDDLE, MIDDLE + 2, renumber=True)),
        (MIDDLE,),
    ),
    Case("the last entries are deleted", (remove(LAST, LAST), remove(LAST - 4, LAST)), (LAST, LAST - 4)),
    Case(
        "the same, with the heads, counters, marks and the seal that tell of it",
        (cut_with_care,),
        (YESTERDAY + 11,),
    ),
    Case("two entries are swapped", (swap(MIDDLE, MIDDLE + 1), swap(MIDDLE, LAST - 1)), (MIDDLE,)),
    Case(
        "an entry is put in, and those behind are renumbered",
        (insert(MIDDLE, linked=False), insert(MIDDLE, linked=True)),
        (MIDDLE,),
    ),
    Case("an entry is added at the end, with its right hash", (add_at_end,), (LAST + 1,)),
    Case("everything from an entry on is rewritten, with all hashes", (rewrite,), (YESTERDAY - 9,)),
    Case("the same, and the signed heads are deleted", (without_heads,), (FIRST,)),
    Case("the same, and the heads are signed with another key", (with_another_key,), (FIRST,)),
    Case("the same, and the heads are signed with the recorder's own key", (with_the_key,), (FIRST,)),
    Case("yesterday's file is put back", (put_yesterday_back,), (YESTERDAY + 1,)),
    Case("all signed heads are deleted", (run_sql("DELETE FROM heads"),)),
    Case(
        "some signed heads are deleted",
        (
            run_sql("DELETE FROM heads WHERE id = 2"),
            run_sql("DELETE FROM heads WHERE id = 1"),
            run_sql("DELETE FROM heads WHERE id = 2", "UPDATE heads SET id = id - 1 WHERE id > 2"),
        ),
    ),
    Case(
        "the same, and the seal is deleted",
        (run_sql("DELETE FROM heads WHERE id = 2", "DELETE FROM meta WHERE key = 'seal'"),),
    ),
    Case(
        "the seal is edited",
        (
            run_sql("UPDATE meta SET value = replace(value, '0', '1') WHERE key = 'seal'"),
            run_sql("UPDATE meta SET value = 'other' WHERE key = 'recording'"),
        ),
    ),
    Case(
        "a signed head is edited",
        tuple(
            run_sql(f"UPDATE heads SET {what} WHERE id = 2")
            for what in (
                "epoch = '01AAAAAAAA'",
                "seq = seq - 1",
                "count = 1",
                "hash = zeroblob(32)",
                "at = '2020' || substr(at, 5)",
                "signature = zeroblob(64)",
            )
        ),
    ),
    Case(
        "a receipt is edited",
        tuple(
            run_sql(f"UPDATE prunes SET {what} WHERE id = 1")
            for what in (
                "policy = '1 days'",
                "pruned_at = '2020'",
                "first_hash = NULL",
                "last_recorded_at = ''",
                "signature = zeroblob(64)",
                "signature = NULL",
                "key_id = NULL",
            )
        ),
    ),
    Case(
        "a receipt is deleted",
        (
            run_sql("DELETE FROM prunes WHERE id = 1"),
            run_sql("DELETE FROM prunes WHERE id = 2"),
            run_sql("DELETE FROM prunes"),
        ),
        (1, 11, 1),
    ),
    Case("the oldest entries are deleted, with a receipt that was made up", (make_up_a_receipt,), (FIRST,)),
    Case("the same, as if the recorder had crashed", (make_up_a_receipt_with_care,)),
    Case(
        "a state kept for what was pruned is edited",
        (
            run_sql("UPDATE session_bases SET state = '\"a lie\"'"),
            run_sql("UPDATE session_bases SET seq = seq - 1"),
            run_sql("DELETE FROM session_bases"),
            run_sql("UPDATE session_bases SET state_digest = zeroblob(32) WHERE state IS NOT NULL"),
            take_a_base_away,
            put_a_base_back,
        ),
    ),
    Case(
        "the current states are edited",
        (
            run_sql("UPDATE session_states SET seq = seq - 1 WHERE session_id = 's1'"),
            run_sql("DELETE FROM session_states WHERE session_id = 's2'"),
            run_sql("UPDATE session_states SET count = 0"),
            run_sql("UPDATE session_states SET deleted = 1 - deleted"),
            run_sql("UPDATE counters SET value = 9"),
            run_sql("UPDATE counters SET value = 'nine'"),
            run_sql("DELETE FROM counters"),
        ),
    ),
    Case(
        "the receipt of an erasure is edited or deleted",
        (
            run_sql("UPDATE erasures SET reason = 'none'"),
            run_sql("DELETE FROM erasures"),
            run_sql("UPDATE erasures SET key_id = NULL"),
            run_sql("UPDATE erasures SET signature = NULL"),
        ),
    ),
    Case(
        "the table of epochs is edited",
        (
            run_sql("UPDATE epochs SET epoch = '01AAAAAAAA'"),
            run_sql("INSERT INTO epochs VALUES ('01ZZZZZZZZ', 20, '', '')"),
            run_sql("INSERT INTO epochs VALUES ('00AAAAAAAA', 1, '', '')"),
            run_sql("UPDATE epochs SET cause = 'none'"),
            run_sql("UPDATE epochs SET started_at = '2020' || substr(started_at, 5)"),
            run_sql("UPDATE epochs SET first_seq = 0"),
            run_sql("UPDATE meta SET value = '01AAAAAAAA' WHERE key = 'epoch'"),
        ),
    ),
    Case(
        "a small table holds what no recorder writes",
        (
            run_sql("INSERT INTO meta VALUES ('note', 'x')"),
            run_sql("UPDATE meta SET value = '2' WHERE key = 'clean'"),
            run_sql("UPDATE meta SET value = 'yes' WHERE key = 'unsigned'"),
            run_sql("UPDATE meta SET value = 'both' WHERE key = 'durability'"),
            *(
                run_sql(f"INSERT OR REPLACE INTO meta VALUES ('{key}', 'other')")
                for key in (
                    "turn",
                    "tenure",
                    "segment",
                    "last_snapshot_at",
                    "last_prune_at",
                    "clock_doubt",
                    "last_loss",
                )
            ),
            run_sql("INSERT INTO counters VALUES ('deltas', 7)"),
            run_sql("UPDATE sqlite_sequence SET seq = 59"),
            run_sql("DELETE FROM sqlite_sequence"),
            run_sql("INSERT INTO sqlite_sequence VALUES ('session_deltas', 60)"),
            run_sql("INSERT INTO sqlite_sequence VALUES ('heads', 1)"),
            run_sql("INSERT INTO job_runs VALUES (99, 'prune', 'today', 1, 'ok', '{}', NULL)"),
            run_sql(
                "INSERT INTO job_runs VALUES (99, 'prune', '2026-11-20T12:00:00.000Z', -1, 'ok', '{}', NULL)"
            ),
            run_sql(
                "INSERT INTO job_runs VALUES (99, 'prune', '2026-11-20T12:00:00.000Z', 1, 'good', '{}', NULL)"
            ),
        ),
    ),
    Case(
        "the schema is edited",
        (
            run_sql("DROP INDEX session_deltas_session"),
            run_sql("CREATE TRIGGER t AFTER INSERT ON session_deltas BEGIN SELECT 1; END"),
            run_sql("CREATE TRIGGER sqliteX AFTER INSERT ON session_deltas BEGIN SELECT 1; END"),
            run_sql("CREATE TRIGGER SQLiteY_stat AFTER INSERT ON session_deltas BEGIN SELECT 1; END"),
            run_sql(
                "CREATE TRIGGER t AFTER INSERT ON session_deltas BEGIN SELECT 1; END",
                "PRAGMA user_version = 2",
            ),
            run_sql("PRAGMA user_version = 2"),
            run_sql("PRAGMA user_version = 0"),
            run_sql("CREATE VIEW sqliteZ AS SELECT 1"),
        ),
    ),
]


def table() -> dict[str, tuple[str, str]]:
    """The documentation's table: what was done, and what is found without and with heads from elsewhere."""
    found = re.search(r"<!-- tampering -->\n(.*?)<!-- /tampering -->", PAGE, re.DOTALL)
    assert found is not None
    lines = [line.strip("| ").split(" | ") for line in found[1].strip().splitlines()[2:]]
    return {name: (alone, expecting) for name, alone, expecting in lines}


def cell(report: Report) -> str:
    """What the table says of a report."""
    if report.verdict is not Verdict.BROKEN:
        return report.verdict.words
    kind = (report.first_bad or report.of(Level.BROKEN)[0]).kind
    return f"broken: {kind}"


def test_the_table_has_a_row_for_each_kind_of_tampering_and_no_other() -> None:
    assert list(table()) == [case.name for case in CASES] + ["a bit of the file is flipped"]


@pytest.mark.parametrize("expect", [False, True], ids=["alone", "expecting"])
@pytest.mark.parametrize(
    ("case", "way"),
    [(case, way) for case in CASES for way in range(len(case.ways))],
    ids=lambda value: value.name.replace(" ", "-") if isinstance(value, Case) else str(value),
)
def test_each_cell_of_the_table_holds(
    recording: Recording, doctor: Doctor, case: Case, way: int, expect: bool
) -> None:
    case.ways[way](recording)
    report = doctor(recording, expect=expect)
    assert cell(report) == table()[case.name][expect], report.findings
    # Without its heads only the start of what they vouched for is known, and the deleted heads are found first.
    is_unplaced = case.name == "the same, and the signed heads are deleted"
    if report.verdict is Verdict.BROKEN and case.seqs and not is_unplaced:
        assert report.first_bad is not None
        assert report.first_bad.seq == case.seqs[min(way, len(case.seqs) - 1)], report.findings


EVIDENCE = (
    "session_deltas", "session_bases", "session_states", "prunes", "erasures", "erased_states", "heads", "epochs",
    "counters",
)  # fmt: skip


def evidence(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    conn = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return typed_dump(conn, EVIDENCE)
    finally:
        conn.close()


@pytest.mark.parametrize("expect", [0, 1], ids=["alone", "expecting"])
def test_a_flipped_bit_is_found_or_touches_nothing_that_was_recorded(
    original: Recording, recording: Recording, doctor: Doctor, expect: int
) -> None:
    assert table()["a bit of the file is flipped"][expect] == "found, or harmless"
    before, data = evidence(original.path), original.path.read_bytes()
    random, harmless = Random(expect), 0
    for _ in range(60):
        place, bit = random.randrange(len(data)), 1 << random.randrange(8)
        recording.path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        try:
            verdict = doctor(recording, expect=bool(expect)).verdict
        except (RecorderError, sqlite3.Error):
            continue  # cannot tell, as the command says it
        if verdict is Verdict.INTACT:
            harmless += 1
            assert evidence(recording.path) == before, f"bit {bit} of byte {place}"
    assert harmless < 60


def test_every_column_is_edited_in_the_table(original: Recording) -> None:
    assert list(EDITS) == list(schema.COLUMNS)


def recipe() -> str:
    found = re.search(
        r"<!-- recipe -->\n<!-- part of a program -->\n```python\n(.*?)```\n<!-- /recipe -->", PAGE, re.DOTALL
    )
    assert found is not None
    assert len([line for line in found[1].splitlines() if line]) <= 30
    return found[1]


def run_recipe(path: Path, folder: Path) -> tuple[int, str]:
    script = folder / "verify.py"
    script.write_text(recipe(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(path)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_recipe_of_the_readme_verifies_a_file(recording: Recording, tmp_path: Path) -> None:
    with writing(recording.path) as conn:
        last = rows(conn)[-1]
    said = f"{LAST - FIRST + 1} links hold; the last is {LAST} {last['hash'].hex()}\n"
    assert run_recipe(recording.path, tmp_path) == (0, said)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (run_sql(EDITS["lineage"]), f"the link of {MIDDLE} does not hold\n"),
        (remove(MIDDLE, MIDDLE), f"{MIDDLE} is missing\n"),
        (run_sql("DELETE FROM erased_states"), f"the link of {ERASED} does not hold\n"),
    ],
)
def test_the_recipe_finds_what_was_done(
    recording: Recording, tmp_path: Path, tamper: Callable[[Recording], None], said: str
) -> None:
    tamper(recording)
    assert run_recipe(recording.path, tmp_path) == (1, said)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("number", [-(2**62), 2**62, 2**63 - 1])
def test_a_number_that_is_far_away_is_named_and_takes_neither_memory_nor_for_ever(
    recording: Recording, doctor: Doctor, number: int
) -> None:
    run_sql(f"UPDATE session_deltas SET id = {number} WHERE id = 33")(recording)
    assert doctor(recording, expect=False).verdict is Verdict.BROKEN


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("epochs", "first_seq"),
        ("prunes", "last_seq"),
        ("prunes", "last_hash"),
        ("heads", "seq"),
        ("erasures", "digest"),
    ],
)
def test_a_value_of_another_type_beside_the_entries_is_named(
    recording: Recording, doctor: Doctor, table: str, column: str
) -> None:
    run_sql(f"UPDATE {table} SET {column} = 'text'")(recording)
    report = doctor(recording, expect=False)
    assert report.verdict is Verdict.BROKEN
    assert f"{table}.{column} holds a value of a type that no recorder writes there" in str(report.findings)
