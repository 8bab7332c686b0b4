"""The systems that can be measured, by name."""

from __future__ import annotations

from benchlib.systems.bare import Bare
from benchlib.systems.base import Options, System
from benchlib.systems.obvious import Obvious
from benchlib.systems.recorder import Recorder

NAMES = ("recorder", "obvious", "bare")
BASELINE = "obvious"


def named(name: str, options: Options) -> System:
    """The system of that name.

    Raises:
        KeyError: there is none.
    """
    systems: dict[str, System] = {
        "recorder": Recorder(options),
        "obvious": Obvious(options),
        "bare": Bare(options),
    }
    return systems[name]
