"""`recorder redact --check`: what would go, and never the value itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

Invoke = Callable[..., tuple[int, bytes, str]]


def test_it_names_what_would_go_and_shows_none_of_it(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "deltas.ndjson"
    states = [{"a": 1}, {"env": [{"token": "very secret"}]}, {"pin": 1234}]
    lines = [orjson.dumps({"type": "updated", "sessionId": "s", "after": state}) for state in states]
    path.write_bytes(b"\n".join(lines))
    code, out, err = invoke("redact", "--check", str(path))
    assert code == 0, err
    assert "line 2: s: after.env[0].token: 13 characters, by key token" in out.decode()
    assert "3 deltas, 1 values would be replaced" in out.decode()
    assert "very secret" not in out.decode()
    _, out, _ = invoke("redact", "--check", str(path), "--redact-keys", "pin")
    assert "after.pin: 4 characters, by key pin" in out.decode()
