"""`recorder heads`: the signed head of a running recorder, shown and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from recorder.cli import heads as module
from recorder.cli.heads import expected_heads, parse_heads
from recorder.core.errors import Unavailable
from recorder.verify.statements import holds

Invoke = Callable[..., tuple[int, bytes, str]]


def test_the_head_is_one_line_of_json(invoke: Invoke, server: Any) -> None:
    code, out, _ = invoke("heads", "--url", server.url)
    assert code == 0
    (head,) = parse_heads(out, "stdout")
    assert holds(head)
    assert (head.payload.seq, json.loads(out)["epoch"]) == (0, head.payload.epoch)


def test_a_log_grows_by_a_line_each_time_and_can_be_expected(
    invoke: Invoke, server: Any, tmp_path: Path
) -> None:
    log = tmp_path / "heads.ndjson"
    for _ in range(2):
        httpx.post(
            f"{server.url}/api/deltas",
            json={"type": "updated", "sessionId": "s", "after": 1},
            trust_env=False,
        )
        code, out, err = invoke("heads", "--url", server.url, "--append", str(log))
        assert (code, out) == (0, b"")
        assert str(log) in err
    assert [head.payload.seq for head in expected_heads(str(log))] == [1, 2]
    assert [head.payload.seq for head in expected_heads(server.url)] == [2]
    assert all(map(holds, expected_heads(str(log))))


def test_going_on_it_outlives_a_recorder_that_is_away(
    invoke: Invoke, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, taken = tmp_path / "heads.ndjson", []
    take = module._take

    def turn(*args: Any, **options: Any) -> None:
        taken.append(len(taken))
        if len(taken) == 2:
            raise Unavailable("it is away")
        if len(taken) == 4:
            raise KeyboardInterrupt
        take(*args, **options)

    monkeypatch.setattr(module, "_take", turn)
    monkeypatch.setattr(module, "sleep", lambda seconds: None)
    code, _, err = invoke("heads", "--url", server.url, "--append", str(log), "--every", "60")
    assert (code, "it is away" in err) == (130, True)
    assert len(expected_heads(str(log))) == 2


def test_a_head_that_its_key_has_not_signed_is_not_kept(
    invoke: Invoke, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "holds", lambda head: False)
    code, _, err = invoke("heads", "--url", server.url, "--append", str(tmp_path / "log"))
    assert (code, "is not what its key has signed" in err) == (1, True)
    assert not (tmp_path / "log").exists()


def test_a_recorder_that_signs_nothing_says_so(invoke: Invoke, start_server: Callable[..., Any]) -> None:
    server = start_server("--persist", "--key-file", "none")
    code, _, err = invoke("heads", "--url", server.url)
    assert (code, "nothing is signed here" in err) == (1, True)
