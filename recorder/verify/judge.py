"""The verdict: from the checked links and the statements about the entries to a report.

The order matters to people: first what is wrong with entries, in a way that names the first one and what was done to it,
then who vouches for what is there. Pure; `file.py` and the command for servers bring the entries and the claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from recorder.core.chain import GENESIS
from recorder.core.statements import ErasureReceipt, Head, Signed
from recorder.verify import statements as claims
from recorder.verify.chain import Tally
from recorder.verify.diagnosis import Entries, Fault, diagnose, diagnose_gap, diagnose_unhashed
from recorder.verify.report import Report
from recorder.verify.statements import Evidence


@dataclass(frozen=True, slots=True)
class Claims:
    """The statements about a recording, beside its prune receipts.

    Args:
        heads: Its own signed heads.
        expected: Heads from elsewhere; None where none were asked for.
        erasures: Receipts of what was erased.
        erased: As `check_erasures` takes it.
        given: The highest number it says it has given.
        clean: Whether it says that it was stopped in order.
    """

    heads: Sequence[Signed[Head]]
    expected: Sequence[Signed[Head]] | None = None
    erasures: Sequence[Signed[ErasureReceipt]] = ()
    erased: dict[int, bytes | None] = field(default_factory=dict)
    given: int = 0
    clean: bool = False


def starting_point(
    first: int, pruned: int, last_hash: bytes | None, *, known: bool
) -> tuple[int, bytes | None]:
    """Return the position before the first entry: its number and hash; the hash is None if it is unknown.

    Args:
        first: The first entry that is there.
        pruned: The highest seq that was pruned; 0 for none.
        last_hash: The hash at that seq, by the receipt; None where the chain was off.
        known: Whether that receipt can be believed.
    """
    if first <= pruned:
        return first - 1, None
    return pruned, (last_hash or GENESIS) if known else None


def judge(report: Report, tally: Tally, entries: Entries, evidence: Evidence, claimed: Claims) -> None:
    """Write down everything that follows from the links and the claims."""
    report.checked, report.first, report.last = tally.checked, evidence.first, evidence.last
    _judge_links(report, tally, entries, evidence)
    claims.check_receipts(report, evidence)
    claims.check_erasures(report, evidence, claimed.erasures, claimed.erased)
    claims.check_heads(report, evidence, claimed.heads)
    if claimed.expected is not None:
        claims.check_expected(report, evidence, claimed.expected, len(claimed.heads))
    at_stop = claimed.clean and bool(claimed.heads) and claims.holds(claimed.heads[-1])
    last_head = claimed.heads[-1].payload if at_stop else None
    claims.check_end(report, evidence, claimed.given, last_head)
    for first, last in tally.off:
        report.unknown("chain", f"entries {first} to {last} have no hash: the chain was off", first, last)
    if evidence.last < evidence.first and not claimed.given:
        report.unknown("chain", "nothing is recorded")


def _judge_links(report: Report, tally: Tally, entries: Entries, evidence: Evidence) -> None:
    if tally.unreadable is not None:
        seq = tally.unreadable
        report.broken("structure", f"the database is damaged: entry {seq} cannot be read", seq)
    bad = tally.bad[0] if tally.bad else None
    gap = tally.gaps[0] if tally.gaps else None
    if gap is not None and (bad is None or gap[0] < bad):
        _write(report, diagnose_gap(entries, *gap, _hash_before(entries, evidence, gap[0])))
    elif bad is not None:
        _write(report, _diagnose(tally, entries, evidence, bad))
    others = tally.bad_count + len(tally.gaps) - 1
    if others > 0:
        report.note("chain", f"{others:,} more hashes do not match")


def _diagnose(tally: Tally, entries: Entries, evidence: Evidence, bad: int) -> Fault:
    for first, last in tally.off:
        if last == bad - 1:
            fault = diagnose_unhashed(entries, first, bad, _hash_before(entries, evidence, first) or GENESIS)
            if fault is not None:
                return fault
    return diagnose(entries, bad, _hash_before(entries, evidence, bad) or GENESIS)


def _hash_before(entries: Entries, evidence: Evidence, seq: int) -> bytes | None:
    if evidence.first <= seq - 1 <= evidence.last:
        return evidence.hash_at(seq - 1)
    if seq == 1:
        return GENESIS
    return evidence.known_hash(seq - 1) if evidence.knows(seq - 1) else None


def _write(report: Report, fault: Fault) -> None:
    report.broken(fault.kind, fault.text, fault.seq, fault.through)
