"""What the commands say: data on stdout as bytes, progress and complaints on stderr.

Invariants: stdout carries data and nothing else, so that it can be piped; a progress bar appears only where
stderr is a terminal, elsewhere a plain line at intervals says how far it is; a reader of stdout that goes
away (`| head`) is no error; text from data never reaches a terminal with its control characters.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from recorder.core.clock import Clock, SystemClock

PLAIN_EVERY_SECONDS = 5.0


class OutputClosed(Exception):
    """Whoever read our stdout has had enough."""


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
    """Have what was written leave."""
    try:
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def abandon_stdout() -> None:
    """Keep the interpreter from complaining, on its way out, that stdout could not be flushed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def say(text: str) -> None:
    """Tell the person at the terminal, on stderr."""
    print(visible(text), file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """One line on stderr, with our name in front."""
    say(f"recorder: {text}")


def stdout_is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def visible(text: str) -> str:
    """The text on one line, control characters shown as escapes: data must not steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Steps:
    """Progress of long work, as a context manager.

    Args:
        what: The work, for people: "exporting".
        unit: What is counted: "deltas", "bytes".
        total: How many there will be, where that is known.
        clock: What the intervals of the plain lines are measured with.
    """

    def __init__(self, what: str, unit: str, total: int | None = None, *, clock: Clock | None = None) -> None:
        self._what = what  # the work
        self._unit = unit  # what is counted
        self._total = total  # how many there will be, if known
        self._done = 0  # how many there were
        self._clock = clock or SystemClock()  # for the intervals
        self._said = self._clock.monotonic()  # when the last plain line was written
        self._bar = _bar(unit) if sys.stderr.isatty() else None  # None: plain lines

    def __enter__(self) -> Steps:
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task(self._what, total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def reach(self, more: int, total: int) -> None:
        """So many more are done, of so many; for who learns on the way how many there are."""
        if total != self._total:
            self._total = total
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], total=total)
        self.advance(more)

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], count)
        elif self._clock.monotonic() - self._said >= PLAIN_EVERY_SECONDS:
            self._said = self._clock.monotonic()
            of = f" of {self._total:,}" if self._total is not None else ""
            say(f"{self._what}: {self._done:,}{of} {self._unit}")


def _bar(unit: str) -> Progress:
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
