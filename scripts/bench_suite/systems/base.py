"""The interface of a system: to start, to be connected to, to say how much it recorded, to stop.

A new peer is one file beside this one, and a line in `systems/__init__.py`. What is not a WebSocket at all
brings its own `Opening`s, marker and `encode`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from bench_suite.connecting import Opening
from bench_suite.needs import Needs
from bench_suite.processes import Server


@dataclass(frozen=True, slots=True)
class About:
    """The work that a system does for its figures, so that an unfair comparison is visible."""

    records: str
    durable: str
    ordered: str
    resumes: str
    note: str = ""


class Running(Protocol):
    """A system that has started."""

    # Its process, for CPU time and memory.
    server: Server
    # How a subscriber to everything connects.
    subscribe: Opening
    # How a publisher connects.
    publish: Opening
    # Occurs once in every delivery, and in nothing else that a subscriber is sent; must not overlap itself.
    delivery_marker: bytes
    # Occurs once in the answer to every frame; empty where frames aren't answered.
    ack_marker: bytes
    # Occurs in the answer to a refused frame.
    error_marker: bytes
    # The arguments of `workers.chores.Chores`, if it can do these at all.
    chores: dict[str, Any] | None

    def recorded_count(self) -> int | None:
        """Return how many deltas are recorded by now; None where nothing is recorded."""


@runtime_checkable
class Replays(Protocol):
    """A running system that is no recorder, but gives what was before, too."""

    # Occurs once in every delta that `history` brings.
    history_marker: bytes

    def history(self) -> Opening:
        """Return how one reads everything that is recorded, from the first."""


class System(Protocol):
    """A system that can be started."""

    name: str
    about: About
    # Skipped, visibly, where this isn't there.
    needs: Needs

    def start(self, workdir: Path) -> AbstractContextManager[Running]:
        """Starts it with all its files in `workdir`, which is empty, or has what it left there; then lets others in.

        Leaving the context stops it.
        """

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """Return what a publisher sends: whole frames, of `per_frame` deltas each."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line about systems."""

    # Settings of the recorder, over the benchmark's own.
    recorder_settings: tuple[tuple[str, str], ...] = ()
    # Whether the obvious build gets uvloop, which an obvious build wouldn't have.
    baseline_uvloop: bool = False
