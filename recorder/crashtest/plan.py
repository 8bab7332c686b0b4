"""The plan of a campaign: its parts, how often each is tried, where, and the seed of its random numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

PARTS = ("kills", "faults", "disk", "files", "flips", "signals", "clock")
"""The parts of a campaign, in the order in which they run."""
LANES = 2
"""How many recorders run at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a campaign: its parts, how often each is tried, and the seed.

    Args:
        folder: Where the recordings are made; theirs alone.
        seed: Of all rng: with it a failed case can be thrown again.
        kills: How often a recorder is killed, half in each durability mode.
        flips: How many damaged copies of a recording are tried.
        quick: Whether the other parts try a sample of their cases only.
    """

    folder: Path
    seed: int
    kills: int = 200
    flips: int = 1000
    quick: bool = False

    def rng(self, case: str) -> random.Random:
        """Return the random generator of one case, independent of the other cases that run."""
        return random.Random(f"{self.seed}/{case}")

    def sample(self, case: str, cases: list[str], quick: int) -> list[str]:
        """Return all the cases; in a quick campaign a random sample of that size."""
        return self.rng(case).sample(cases, quick) if self.quick and len(cases) > quick else cases
