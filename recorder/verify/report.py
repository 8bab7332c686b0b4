"""The findings of a verification, and the verdict that follows from them.

There are three verdicts: *intact*, *broken*, and *cannot tell*. Nothing counts as intact without having been checked,
and what an attacker could have made himself proves nothing: an unsigned receipt, or a signature of an unknown key, is a
reason for *cannot tell*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Level(Enum):
    """The severity of a finding."""

    BROKEN = "broken"
    UNKNOWN = "unknown"
    NOTE = "note"


class Verdict(Enum):
    """The answer; its value is the exit code."""

    INTACT = 0
    BROKEN = 1
    CANNOT_TELL = 3

    @property
    def words(self) -> str:
        """For people and programs."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, unclear or worth knowing.

    Args:
        level: How much it weighs.
        kind: What is wrong, in a word: of entries `edited`, `deleted`, `inserted`, `reordered`, `cut`, `rewritten`; else
            where it is: `structure`, `receipt`, `base`, `cache`, `head`, `erasure`, `epoch`, `expected`, `chain`.
        text: The same in a sentence.
        seq: The first entry that it concerns, where it concerns entries.
        through: The last one.
    """

    level: Level
    kind: str
    text: str
    seq: int | None = None
    through: int | None = None


ENTRY_KINDS = ("edited", "deleted", "inserted", "reordered", "cut", "rewritten")
"""Kinds that name what happened to entries."""


@dataclass(slots=True)
class Report:
    """Everything that was looked at, and what came of it.

    Args:
        subject: What was verified: a file, or a server.
        findings: In the order in which they were found.
        checked: Entries whose link was verified.
        first, last: The first and the last seq that is there; 0 for none.
        pruned: (how many, by which policy) of each receipt.
        erased: How many entries' content was erased, with a receipt.
        signed_through: The highest seq that a signed head vouches for; 0 for none.
        heads, expected: How many heads of the recording and from elsewhere agree with it.
    """

    subject: str
    findings: list[Finding] = field(default_factory=list)
    checked: int = 0
    first: int = 0
    last: int = 0
    pruned: list[tuple[int, str]] = field(default_factory=list)
    erased: int = 0
    signed_through: int = 0
    heads: int = 0
    expected: int = 0

    def broken(self, kind: str, text: str, seq: int | None = None, through: int | None = None) -> None:
        """Add a finding: something is wrong."""
        self.findings.append(Finding(Level.BROKEN, kind, text, seq, through))

    def unknown(self, kind: str, text: str, seq: int | None = None, through: int | None = None) -> None:
        """Add a finding: something cannot be verified."""
        self.findings.append(Finding(Level.UNKNOWN, kind, text, seq, through))

    def note(self, kind: str, text: str, seq: int | None = None, through: int | None = None) -> None:
        """Add a finding: something is worth knowing."""
        self.findings.append(Finding(Level.NOTE, kind, text, seq, through))

    def names_entry_up_to(self, seq: int) -> bool:
        """Return whether an entry up to this seq is known to be wrong."""
        return any(
            finding.seq is not None and finding.seq <= seq and finding.kind in ENTRY_KINDS
            for finding in self.of(Level.BROKEN)
        )

    def of(self, level: Level) -> list[Finding]:
        """Return the findings of a level."""
        return [finding for finding in self.findings if finding.level is level]

    @property
    def verdict(self) -> Verdict:
        """The answer."""
        if self.of(Level.BROKEN):
            return Verdict.BROKEN
        return Verdict.CANNOT_TELL if self.of(Level.UNKNOWN) or not self.checked else Verdict.INTACT

    @property
    def first_bad(self) -> Finding | None:
        """The first entry that is wrong, with what is wrong with it."""
        named = [finding for finding in self.of(Level.BROKEN) if finding.seq is not None]
        # Where two name the same entry, what its own link says is more exact than what a head says about it.
        return min(named, key=_exactness, default=None)

    def summary(self) -> str:
        """Return the verdict in one line, for people."""
        if self.verdict is Verdict.BROKEN:
            bad = self.first_bad or self.of(Level.BROKEN)[0]
            where = f"first bad seq {bad.seq}, {bad.kind}: " if bad.seq is not None else ""
            return f"broken; {where}{bad.text}"
        if self.verdict is Verdict.CANNOT_TELL:
            reasons = "; ".join(finding.text for finding in self.of(Level.UNKNOWN))
            return f"cannot tell: {reasons or 'there was nothing to check'}"
        return "; ".join(
            ["intact", *_taken(self.pruned), *([f"{self.erased:,} erased"] if self.erased else [])]
        )


def _exactness(finding: Finding) -> tuple[int, int]:
    assert finding.seq is not None
    return finding.seq, ENTRY_KINDS.index(finding.kind) if finding.kind in ENTRY_KINDS else len(ENTRY_KINDS)


def _taken(pruned: Iterable[tuple[int, str]]) -> list[str]:
    by_policy: dict[str, int] = {}
    for count, policy in pruned:
        by_policy[policy] = by_policy.get(policy, 0) + count
    return [f'{count:,} pruned under "{policy}"' for policy, count in by_policy.items()]
