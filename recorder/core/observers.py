"""Observers: callbacks that are told of something, each apart from the others and from who tells.

Invariant: whatever a callback raises, everybody else is told, and whoever tells goes on. Recording once ended for good
because a callback that only counted raised one exception. What was raised is logged once per callback until it works
again, and counted each time (`recorder_callback_errors`).

Left out: a callback whose failure must stop the work. That is a step of the work, and is called like one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVarTuple, Unpack

from loguru import logger

from recorder.core.metrics import Metrics

Args = TypeVarTuple("Args")


def report_failure(where: str, metrics: Metrics) -> None:
    """Log and count the exception that is being handled, which a callback raised. Never raises an `Exception`.

    Args:
        where: What the callback was told of: a constant, used as the label of the metric.
        metrics: Counts it.
    """
    # Where memory is short, this is what fails next; recording must not end because its report did.
    with suppress(Exception):
        metrics.count_callback_error(where)
        logger.bind(where=where).exception("a callback failed")


@contextmanager
def isolated(where: str, metrics: Metrics) -> Iterator[None]:
    """Report what the block raises instead of raising it, so that others are still served.

    Args:
        where, metrics: As of `report_failure`.
    """
    try:
        yield
    except Exception:
        report_failure(where, metrics)


class Observers(Generic[*Args]):
    """Callbacks for one kind of event, called in the order in which they were added.

    Args:
        where: What they are told of: a constant for the log and the metric.
        metrics: Counts what they raise.
    """

    def __init__(self, where: str, metrics: Metrics) -> None:
        self._where = where
        self._metrics = metrics
        self._callbacks: list[Callable[[Unpack[Args]], object]] = []
        self._failing: set[int] = set()  # indexes of those whose last call raised

    def add(self, callback: Callable[[Unpack[Args]], object]) -> None:
        """Call `callback` from now on."""
        self._callbacks.append(callback)

    def tell(self, *args: *Args) -> None:
        """Call all of them. Never raises an `Exception`."""
        for index, callback in enumerate(self._callbacks):
            try:
                callback(*args)
            except Exception:
                self._note_failure(index)
            else:
                if self._failing:
                    self._failing.discard(index)

    def _note_failure(self, index: int) -> None:
        if index in self._failing:
            # It may fail with each group that is recorded: a traceback for each would fill the disk.
            with suppress(Exception):
                self._metrics.count_callback_error(self._where)
            return
        self._failing.add(index)
        report_failure(self._where, self._metrics)
