"""The output of the commands: data on stdout, progress and errors on stderr; and files that are replaced as a whole.

One rule for all commands: on a terminal answers are for people (tables, colours, a pager), in a pipe and with `--json`
they are JSON, one value a line. Invariants: stdout carries data and nothing else; progress is shown on stderr, and
nowhere while data goes to a terminal, where the two would mix; a reader of stdout that goes away (`| head`) is no error;
text from data never reaches a terminal with its control characters.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from recorder.core.clock import Clock, SystemClock
from recorder.core.errors import InvalidQuery, NotAllowed

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_EVERY_SECONDS = 5.0


class OutputClosed(Exception):
    """The reader of stdout has gone away."""


def out(data: bytes) -> None:
    """Write to stdout, all of it.

    Raises:
        OutputClosed: Nobody reads it any more.
    """
    try:
        sys.stdout.buffer.write(data)
    except BrokenPipeError:
        raise OutputClosed from None


def out_line(text: str) -> None:
    """Write a line to stdout and have it leave at once."""
    out(text.encode("utf-8", "backslashreplace") + b"\n")
    flush()


def flush() -> None:
    """Flush the output."""
    try:
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def abandon_stdout() -> None:
    """Keep the interpreter from complaining, on its way out, that stdout could not be flushed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def print_status(text: str) -> None:
    """Write a line for people to stderr."""
    print(visible(text), file=sys.stderr, flush=True)


def print_error(text: str) -> None:
    """Write an error to stderr, on one line that begins with the program's name."""
    print_status(f"recorder: {text}")


def stdout_is_terminal() -> bool:
    """Return whether a person reads stdout."""
    return sys.stdout.isatty()


def is_pretty(as_json: bool) -> bool:
    """Return whether an answer is for people: stdout is a terminal, and no JSON was asked for."""
    return not as_json and stdout_is_terminal()


def json_line(value: Mapping[str, Any]) -> None:
    """Write a JSON object to stdout, on one line, and have it leave at once."""
    import orjson

    out(orjson.dumps(value) + b"\n")
    flush()


def answer(value: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Write what a command has done.

    Args:
        value: For programs.
        lines: For people.
        as_json: Whether JSON was asked for.
    """
    if not is_pretty(as_json):
        json_line(value)
        return
    for line in lines:
        out_line(visible(line))


def confirm(question: Callable[[], str], *, yes: bool) -> None:
    """Ask before something is done that cannot be undone.

    Args:
        question: Makes the question, which says what is about to happen; called only where somebody can be asked.
        yes: Whether it was agreed to beforehand.

    Raises:
        InvalidQuery: Nobody can be asked.
        NotAllowed: The answer was not yes.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidQuery(
            "this cannot be undone, and there is no terminal to ask at",
            hint="--yes does it without asking, --dry-run shows what it would do",
        )
    print(f"{visible(question())} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotAllowed("nothing was done")


COLOURS = {"red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36", "dim": "2", "bold": "1"}


def several(count: int, one: str) -> str:
    """Return a number of something: 1 delta, 1,234 deltas."""
    return f"{count:,} {one}{'s' * (count != 1)}"


def styled(text: str, style: str) -> str:
    """Return a text in a colour of `COLOURS`, where the terminal on stdout shows colours; "" is none."""
    if not style or not has_colours():
        return text
    return f"\x1b[{COLOURS[style]}m{text}\x1b[0m"


def has_colours() -> bool:
    """Return whether stdout is a terminal whose user has not asked for plain text (NO_COLOR, TERM=dumb)."""
    return stdout_is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Return how many columns the terminal has."""
    return max(20, shutil.get_terminal_size().columns)


def page(lines: Iterable[str]) -> None:
    """Write lines to the terminal, through the user's pager where they are more than the screen has.

    Args:
        lines: Without line ends; taken as they are read, so that the first ones show at once.
    """
    waiting: list[str] = []
    source = iter(lines)
    most = shutil.get_terminal_size().lines - 1
    for line in source:
        waiting.append(line)
        if len(waiting) > most and (command := _pager()) is not None:
            _page_through(command, waiting, source)
            return
        if len(waiting) > most:
            break
    for line in _chained(waiting, source):
        out_line(line)


def _chained(first: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from rest


def _pager() -> list[str] | None:
    """Return the pager's command; None where there is none, or nobody could use it."""
    import shlex

    named = os.environ.get("PAGER", "less")
    words = shlex.split(named)
    if not words or not sys.stdin.isatty() or os.environ.get("TERM") == "dumb":
        return None
    return words if words[0] != "cat" and shutil.which(words[0]) else None


def _page_through(command: list[str], first: list[str], rest: Iterator[str]) -> None:
    import signal
    import subprocess

    # As git does: less leaves colours alone, and does not clear the screen when it ends.
    environment = {"LESS": "FRX", **os.environ}
    # Ctrl-C belongs to the pager while it runs: it stops its search, and must not take us away from under it.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # the reader has seen enough
                for line in _chained(first, rest):
                    process.stdin.write(line.encode("utf-8", "backslashreplace") + b"\n")
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def visible(text: str) -> str:
    """Return the text on one line with control characters escaped: data must not control a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Steps:
    """Progress of long work, as a context manager.

    Args:
        what: The work, for people: "exporting".
        unit: What is counted: "deltas", "bytes".
        total: How many there will be, where that is known.
        quiet: Whether to show nothing: data goes to the same terminal.
        clock: What the intervals of the plain lines are measured with.
    """

    def __init__(
        self,
        what: str,
        unit: str,
        total: int | None = None,
        *,
        quiet: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._what = what  # the work
        self._unit = unit  # what is counted
        self._total = total  # how many there will be, if known
        self.done = 0  # how many there were
        self._clock = clock or SystemClock()  # for the intervals
        self._said = self._clock.monotonic()  # when the last plain line was written
        # With data on the same terminal a bar would be written over it, and lines in between.
        self._silent = quiet
        self._bar = _bar(unit) if sys.stderr.isatty() and not quiet else None  # None: plain lines

    def __enter__(self) -> Steps:
        return self

    def _show_bar(self) -> None:
        """Show the bar with the first step: an error before it stands alone."""
        if self._bar is not None and not self._bar.task_ids:
            self._bar.add_task(self._what, total=self._total)
            self._bar.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def reach(self, more: int, total: int) -> None:
        """Advance by a number of steps and set the total, which may become known only on the way."""
        self._show_bar()
        if total != self._total:
            self._total = total
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], total=total)
        self.advance(more)

    def advance(self, count: int) -> None:
        """Advance by a number of steps."""
        self._show_bar()
        self.done += count
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], count)
        elif not self._silent and self._clock.monotonic() - self._said >= PLAIN_EVERY_SECONDS:
            self._said = self._clock.monotonic()
            of = f" of {self._total:,}" if self._total is not None else ""
            print_status(f"{self._what}: {self.done:,}{of} {self._unit}")


def _bar(unit: str) -> Progress:
    # Not at the top: only long work on a terminal needs it, and it takes a tenth of a second to load.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary file, mode 0600, that takes the target's place at the end, or goes when an error leaves.

    Args:
        target: Where the complete file shall be; its directory must exist. Of a link the file behind it is replaced.
    """
    target = target.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    path = Path(name)
    try:
        yield path
        _sync(path)
        path.replace(target)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    # The rename itself lives in the directory: without this a power cut could take it back.
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
