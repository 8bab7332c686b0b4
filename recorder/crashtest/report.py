"""The result of a campaign: figures, failures and what was skipped, part by part.

A part that could do nothing, and one that skipped something, say so: a campaign passes only where something was tried
and nothing failed.
"""

from __future__ import annotations

import platform
import sqlite3
from dataclasses import dataclass, field
from typing import Any

from recorder import __version__


@dataclass(frozen=True, slots=True)
class Failure:
    """A promise that was not kept.

    Args:
        case: Where it happened.
        what: What was found.
        kept: Where the recording is left for whoever looks into it; None where there is nothing to see.
    """

    case: str
    what: str
    kept: str | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """A part that was skipped, with the reason.

    Args:
        what: The cases.
        why: The reason.
    """

    what: str
    why: str


@dataclass(slots=True)
class Part:
    """The result of a part. Its figures are counts unless their names say otherwise.

    Args:
        name: One of `plan.PARTS`.
    """

    name: str
    figures: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    cases: int = 0
    seconds: float = 0.0

    def count(self, about: str, **figures: int) -> None:
        """Add to figures."""
        kept = self.figures.setdefault(about, {})
        for name, value in figures.items():
            kept[name] = kept.get(name, 0) + value

    def most(self, about: str, **figures: int) -> None:
        """Keep the largest value of figures."""
        kept = self.figures.setdefault(about, {})
        for name, value in figures.items():
            kept[name] = max(kept.get(name, 0), value)

    def fail(self, case: str, what: str, kept: str | None = None) -> None:
        """Register a broken promise."""
        self.failures.append(Failure(case, what, kept))

    def skip(self, what: str, why: str) -> None:
        """Register that a case cannot be run here."""
        self.skipped.append(Skip(what, why))

    @property
    def passed(self) -> bool:
        """Return whether nothing failed, and at least one case ran or was skipped with a reason."""
        return not self.failures and (self.cases > 0 or bool(self.skipped))


@dataclass(slots=True)
class Verdict:
    """The result of a campaign.

    Args:
        seed: Of its rng.
        directory: Where it worked.
        started_at: When it began, RFC 3339.
    """

    seed: int
    directory: str
    started_at: str
    parts: list[Part] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Return whether every part passed, and at least one ran a case."""
        return all(part.passed for part in self.parts) and any(part.cases for part in self.parts)

    def document(self) -> dict[str, Any]:
        """Return the verdict as a JSON object."""
        return {
            "passed": self.passed,
            "seed": self.seed,
            "startedAt": self.started_at,
            "seconds": round(self.seconds, 1),
            "directory": self.directory,
            "recorder": __version__,
            "sqlite": sqlite3.sqlite_version,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "parts": [_part(part) for part in self.parts],
        }


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "passed": part.passed,
        "cases": part.cases,
        "seconds": round(part.seconds, 1),
        "figures": part.figures,
        "failures": [
            {"case": failure.case, "what": failure.what, "kept": failure.kept} for failure in part.failures
        ],
        "skipped": [{"what": skip.what, "why": skip.why} for skip in part.skipped],
    }
