"""`recorder export` from a database file."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from recorder.bridges.imports import SourceDelta, open_source
from recorder.cli import export as module
from recorder.wire.export import MEDIA_TYPES, ExportRow, json_item, ndjson_line

Invoke = Callable[..., tuple[int, bytes, str]]


def test_the_formats_are_those_of_the_encoder() -> None:
    (literal,) = [part for part in get_args(module.FormatOption) if get_args(part)]
    assert set(get_args(literal)) == set(MEDIA_TYPES)


def test_ndjson_goes_to_stdout_oldest_first_and_whole(
    invoke: Invoke, database: Path, rows: list[ExportRow]
) -> None:
    code, out, err = invoke("export", "--db", str(database))
    assert (code, out, err) == (0, b"".join(map(ndjson_line, rows)), "")


def test_json_is_one_array_with_the_states_byte_for_byte(
    invoke: Invoke, database: Path, rows: list[ExportRow]
) -> None:
    _, out, _ = invoke("export", "--db", str(database), "--format", "json")
    assert [entry["seq"] for entry in json.loads(out)] == [1, 2, 3, 5]
    for row in rows:
        assert json_item(row) in out
    assert json.loads(invoke("export", "--db", str(database), "--format", "json", "--after", "9")[1]) == []


def test_csv_has_a_header_and_every_column(invoke: Invoke, database: Path, rows: list[ExportRow]) -> None:
    _, out, _ = invoke("export", "--db", str(database), "-f", "csv")
    records = list(csv.DictReader(io.StringIO(out.decode(), newline=""), strict=True))
    assert [record["before"] for record in records] == [row.before or "" for row in rows]
    assert records[3]["sessionId"] == "ä,b"
    assert [record["lineage"] for record in records] == ["", "broken", "", ""]
    assert [record["beforeFilled"] for record in records] == ["", "", "true", ""]
    assert [record["idDigest"] for record in records] == ["d0" * 32, "", "", ""]


def test_filters_count(invoke: Invoke, database: Path) -> None:
    _, out, _ = invoke("export", "--db", str(database), "--session", "a", "--type", "updated")
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [3]


def test_what_was_exported_can_be_imported_byte_for_byte(
    invoke: Invoke, database: Path, rows: list[ExportRow], tmp_path: Path
) -> None:
    target = tmp_path / "out.ndjson"
    told = f"wrote {len(rows)} deltas to {target}"
    code, out, err = invoke("export", "--db", str(database), "-o", str(target))
    assert (code, out, told in " ".join(err.split())) == (0, b"", True)
    items = list(open_source("ndjson", str(target)))
    for item, row in zip(items, rows, strict=True):
        assert isinstance(item, SourceDelta)
        for state in (row.before, row.after):
            assert state is None or state.encode() in item.text


def test_a_failed_export_leaves_the_old_file(invoke: Invoke, tmp_path: Path) -> None:
    target = tmp_path / "out.ndjson"
    target.write_text("old")
    (tmp_path / "bad.sqlite").write_text("not a database" * 100)
    code, _, err = invoke("export", "--db", str(tmp_path / "bad.sqlite"), "-o", str(target))
    assert code == 1
    assert "not a database" in err
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_directory_that_is_not_there_is_one_line(invoke: Invoke, database: Path, tmp_path: Path) -> None:
    code, _, err = invoke("export", "--db", str(database), "-o", str(tmp_path / "no" / "out"))
    assert code == 1
    assert err.count("\n") == 1
    assert "No such file or directory" in err


def test_a_pipe_as_target_is_written_to_and_not_replaced(
    invoke: Invoke, database: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    assert invoke("export", "--db", str(database), "-o", str(fifo))[0] == 0
    reader.join(timeout=30)
    assert read[0].count(b"\n") == 4
    assert fifo.is_fifo()


@pytest.mark.parametrize("output", [[], ["-o", "-"]])
def test_stdout_is_the_target_unless_a_file_is_named(
    output: list[str], invoke: Invoke, database: Path
) -> None:
    assert invoke("export", "--db", str(database), *output)[1].count(b"\n") == 4
