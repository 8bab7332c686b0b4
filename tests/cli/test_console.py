"""What the commands say, and where."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.cli import console
from recorder.core.clock import FakeClock


@given(st.text())
def test_visible_text_is_one_printable_line(text: str) -> None:
    assert console.visible(text).isprintable()
    if text.isprintable():
        assert console.visible(text) == text


def test_data_goes_to_stdout_and_everything_else_to_stderr(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    console.out(b"\xff\x00")
    console.out_line("ä\ud800")
    console.say("to you\x07")
    console.complain("no")
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
