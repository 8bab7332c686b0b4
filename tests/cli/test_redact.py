"""`recorder redact --check`: what would go, and never the value itself."""

from __future__ import annotations

from pathlib import Path

import orjson
from typer.testing import CliRunner

from recorder.cli.main import app


def test_it_names_what_would_go_and_shows_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "deltas.ndjson"
    states = [{"a": 1}, {"env": [{"token": "very secret"}]}, {"pin": 1234}]
    lines = [orjson.dumps({"type": "updated", "sessionId": "s", "after": state}) for state in states]
    path.write_bytes(b"\n".join(lines))
    result = CliRunner().invoke(app, ["redact", "--check", str(path)])
    assert result.exit_code == 0, result.output
    assert "line 2: s: after.env[0].token: 13 characters, by key token" in result.output
    assert "3 deltas, 1 values would be replaced" in result.output
    assert "very secret" not in result.output
    result = CliRunner().invoke(app, ["redact", "--check", str(path), "--redact-keys", "pin"])
    assert "after.pin: 4 characters, by key pin" in result.output
