"""What the commands say, and where."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.cli import console
from recorder.cli.console import replacing
from recorder.core.clock import FakeClock


@given(st.text())
def test_visible_text_is_one_printable_line(text: str) -> None:
    assert console.visible(text).isprintable()
    if text.isprintable():
        assert console.visible(text) == text


def test_data_goes_to_stdout_and_everything_else_to_stderr(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    console.out(b"\xff\x00")
    console.out_line("ä\ud800")
    console.print_status("to you\x07")
    console.print_error("no")
    out, err = capfdbinary.readouterr()
    assert out == b"\xff\x00\xc3\xa4\\ud800\n"
    assert err == b"to you\\x07\nrecorder: no\n"


def test_without_a_terminal_progress_is_a_plain_line_at_intervals(capfd: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    with console.Steps("copying", "bytes", 5000, clock=clock) as steps:
        steps.advance(1000)
        assert capfd.readouterr().err == ""
        clock.advance(console.PLAIN_EVERY_SECONDS)
        steps.advance(1)
        assert capfd.readouterr().err == "copying: 1,001 of 5,000 bytes\n"
        steps.advance(1)
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_progress_is_a_bar_that_goes_away(on_terminal: Callable[..., str]) -> None:
    code = (
        "from recorder.cli.console import Steps\n"
        "with Steps('[copying]', 'bytes', 10) as steps:\n    steps.advance(4)\n"
    )
    text = on_terminal("-c", code)
    assert "[copying]" in text
    assert "4/10" in text
    assert text.endswith("\x1b[2K") or text.rstrip().endswith("\x1b[2K")


def test_the_target_appears_at_the_end_readable_by_its_owner_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with replacing(target) as path:
        path.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(target) as path:
        path.write_bytes(b"half" * (1 // 0))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as path:
        path.write_bytes(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
