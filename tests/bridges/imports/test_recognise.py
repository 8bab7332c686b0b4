"""Recognising a log: by what only its format has, wherever it breaks off, and an error that names what else it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recorder.bridges.imports import Importer, SourceDelta
from recorder.bridges.imports.recognise import Likeness, Recognised, recognise
from recorder.bridges.imports.registry import Recognition
from recorder.core.errors import SourceError

CLAUDE = '{"type":"user","uuid":"u","parentUuid":null,"sessionId":"s","message":{"role":"user"}}'
EVENT = '{"op":"c","before":null,"after":{"id":1},"source":{"db":"d","table":"t"},"ts_ms":1}'
ENTRY = (
    '{"seq":1,"recordedAt":"x","delta":{"type":"created","sessionId":"s","after":{"type":"user","uuid":"u"}}}'
)
RUN = '{"environment":"main","trajectory":[{"action":"ls","observation":"%s"}],"info":{}}'


def format_of(text: str | bytes) -> str | None:
    found = recognise(text.encode() if isinstance(text, str) else text)
    return found.format if isinstance(found, Recognised) else None


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (CLAUDE, "claude-code"),
        (f"nonsense\n3\n{CLAUDE}\n", "claude-code"),
        ('{"type":"summary","summary":"T","leafUuid":"u"}', "claude-code"),
        (f'{{"type":"x","id":1}}\n{CLAUDE}\n{CLAUDE}', "claude-code"),
        (EVENT, "debezium"),
        (f"[{EVENT},{EVENT}]", "debezium"),
        (f'{{"payload":{EVENT},"schema":{{}}}}', "debezium"),
        (json.dumps({"key": "k", "value": EVENT}), "debezium"),
        (json.dumps(json.loads(EVENT), indent=2), "debezium"),
        (ENTRY, "ndjson"),
        ('{"type":"deleted","sessionId":"s"}', "ndjson"),
        (RUN % "x", "swe-agent"),
        ((RUN % ("x" * 100_000))[:60_000], "swe-agent"),
        (json.dumps(json.loads(RUN % "x"), indent=1), "swe-agent"),
        ('{"history":[{"role":"user","content":"x"}]}', "swe-agent"),
        ('{"type":"log","id":1,"timestamp":"2025-06-14T10:00:00Z"}', None),
        ('{"type":"user","message":{"content":"hi"}}', None),
        ('{"sessionId":"s","type":"click"}', None),
        ("{}", None),
        ("[]", None),
        ("", None),
        ('"' * 7, None),
        ("[" * 10_000, None),
        ("]", None),
    ],
)
def test_a_format_is_recognised_by_what_only_it_has(text: str, form: str | None) -> None:
    assert format_of(text) == form


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"version":2,"status":"success","eval":{"task":"t"},"plan":{}}', "Inspect"),
        ('{"type":"RUN_STARTED","threadId":"t","runId":"r"}', "AG-UI"),
        ('{"action":"opened","repository":{},"sender":{}}', "GitHub"),
        ('{"resourceSpans":[]}', "OpenTelemetry"),
        ("", "empty"),
        ("a,b\n1,2\n", "plain text"),
        ("data: {}\n\n", "Server-Sent Events"),
        ("<html>", "HTML"),
        (b"PK\x03\x04abc", "zip"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\x00\x01", "binary"),
    ],
)
def test_what_cannot_be_imported_is_named(data: str | bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    error = Importer().recognise(str(path))
    assert isinstance(error, SourceError)
    assert error.message.startswith(f"{path}: not a log that can be imported: it looks like ")
    assert said in error.message


@pytest.mark.parametrize(
    ("folder", "form"), [("claude_code", "claude-code"), ("swe_agent", "swe-agent"), ("debezium", "debezium")]
)
def test_real_logs_are_recognised_wherever_they_break_off(folder: str, form: str, shared_data: Path) -> None:
    paths = [path for path in sorted((shared_data / folder).iterdir()) if not path.name.startswith("LICENSE")]
    for path in paths:
        data = path.read_bytes()
        assert [format_of(data[:size]) for size in (2000, 20_000, 262_144)] == [form] * 3


@pytest.mark.parametrize("folder", ["ag_ui", "github_webhooks", "inspect"])
def test_real_files_of_other_kinds_are_taken_for_none_of_ours(folder: str, shared_data: Path) -> None:
    for path in sorted((shared_data / folder).iterdir()):
        assert not isinstance(recognise(path.read_bytes()[:262_144]), Recognised), path
        if folder == "inspect" and path.name != "LICENSE":
            assert isinstance(recognise(path.read_bytes()[:262_144]), Likeness)


@pytest.mark.parametrize("name", ["x", "x.jsonl", "x.traj"])
def test_the_name_of_a_file_says_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(f"{CLAUDE}\n")
    found = Importer().recognise(str(path))
    assert isinstance(found, Recognition)
    assert (found.format, found.why) == ("claude-code", "'uuid' and 'parentUuid'")
    assert [type(item) for item in found.items] == [SourceDelta]
