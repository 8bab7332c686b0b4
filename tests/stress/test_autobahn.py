"""The script around the Autobahn suite: its echo is the recorder's own socket, its verdict that of the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stress import autobahn
from stress.echo import echo_server
from websockets.asyncio.client import connect


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_everything_is_echoed_as_it_is(compression: str | None) -> None:
    async with (
        echo_server() as url,
        connect(url.replace("http", "ws"), compression=compression, proxy=None) as wire,
    ):
        for message in ("", "ä€𝄞", "x" * 100_000, b"", b"\xff\x00", b"\xff" * 70_000):
            await wire.send(message)
            assert await wire.recv() == message
        for fragments in (["a", "", "b"], [b"a", b"", b"\xff"]):
            await wire.send(fragments)
            assert await wire.recv() == type(fragments[0])().join(fragments)


def report(folder: Path, **behaviors: tuple[str, str]) -> Path:
    cases = {
        name: {"behavior": behavior, "behaviorClose": close} for name, (behavior, close) in behaviors.items()
    }
    (folder / "index.json").write_text(json.dumps({"recorder": cases}))
    return folder


def test_a_failed_case_fails_the_run_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"1": ("OK", "OK"), "2": ("NON-STRICT", "OK"), "3": ("INFORMATIONAL", "INFORMATIONAL")}
    assert autobahn.summary(report(tmp_path, **good)) == 0
    assert "3 cases: {'OK': 1, 'NON-STRICT': 1, 'INFORMATIONAL': 1}" in capsys.readouterr().out
    for bad in (("FAILED", "OK"), ("OK", "WRONG CODE"), ("OK", "UNCLEAN")):
        assert autobahn.summary(report(tmp_path, **good, bad=bad)) == 1
        assert f"  bad: {bad[0]}, closing {bad[1]}" in capsys.readouterr().out


def test_without_python_2_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv("AUTOBAHN_PYTHON", raising=False)
    monkeypatch.setattr("sys.argv", ["autobahn"])
    assert autobahn.main() == autobahn.MISSING
    assert "AUTOBAHN_PYTHON" in capsys.readouterr().err
