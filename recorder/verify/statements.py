"""Check the statements about the entries against the entries: receipts, heads, epochs, bases, erasures.

Each statement is checked twice: whether a known key signed it, and whether it agrees with the entries. A head of the
recording itself was written together with its entries, so all of them must exist. A head kept elsewhere may cover
entries that had not reached the disk: its `durable` says how many had, and only these are required.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from recorder.auth.signing import is_signed
from recorder.core.statements import (
    Adoption,
    ErasureReceipt,
    Head,
    PruneReceipt,
    Seal,
    Signed,
    Statement,
    statement_bytes,
)
from recorder.verify.report import Level, Report

Payload = TypeVar("Payload", Head, PruneReceipt, ErasureReceipt)


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch, and the first seq that may be its own."""

    name: str
    first_seq: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The entries that are there, and what else they are judged by.

    Args:
        first, last: The first and the last seq that is there; `last` is `first - 1` where none is.
        hash_at: The stored hash of an entry that is there.
        receipts: Of what was pruned, in order.
        epochs: In order.
        trusted: The ids of the keys that are believed.
    """

    first: int
    last: int
    hash_at: Callable[[int], bytes | None]
    receipts: Sequence[Signed[PruneReceipt]]
    epochs: Sequence[Epoch]
    trusted: frozenset[str]

    @property
    def pruned(self) -> int:
        """The highest seq that a receipt says was pruned."""
        return max((receipt.payload.last_seq for receipt in self.receipts), default=0)

    @property
    def end(self) -> int:
        """The highest seq that there is, or was before it was pruned."""
        return max(self.last, self.pruned)

    def knows(self, seq: int) -> bool:
        """Return whether the hash at a seq is known, from an entry or from a receipt."""
        return self.first <= seq <= self.last or seq in self._cuts()

    def known_hash(self, seq: int) -> bytes | None:
        """Return the known hash at a seq."""
        return self.hash_at(seq) if self.first <= seq <= self.last else self._cuts()[seq]

    def _cuts(self) -> dict[int, bytes | None]:
        return {receipt.payload.last_seq: receipt.payload.last_hash for receipt in self.receipts}


def holds(statement: Signed[Statement]) -> bool:
    """Return whether the signature is valid, whichever key made it."""
    by = statement.by
    return by is not None and is_signed(by.key_id, statement_bytes(statement.payload), by.signature)


def check_receipts(report: Report, evidence: Evidence) -> None:
    """Check that signed receipts account for everything before the first entry."""
    named = [(_receipt_name(receipt.payload), receipt) for receipt in evidence.receipts]
    check_signatures(report, named, "receipt", evidence.trusted)
    expected = 1
    for name, receipt in named:
        said = receipt.payload
        if said.first_seq > expected:
            report.broken(
                "deleted",
                f"entries {expected} to {said.first_seq - 1} are gone, and no receipt says why",
                expected,
                said.first_seq - 1,
            )
        elif said.first_seq < expected or said.count != said.last_seq - said.first_seq + 1:
            report.broken("receipt", f"{name} does not agree with the one before it, or with itself")
        report.pruned.append((said.count, said.policy))
        expected = said.last_seq + 1
    if evidence.first < expected <= evidence.last + 1 and evidence.first <= evidence.last:
        report.broken(
            "inserted",
            f"entries {evidence.first} to {min(expected - 1, evidence.last)} are there, though they were pruned, or"
            " never recorded: they were inserted",
            evidence.first,
            min(expected - 1, evidence.last),
        )


def _receipt_name(said: PruneReceipt) -> str:
    return f"the receipt of the prune of {said.first_seq} to {said.last_seq}"


def check_signatures(
    report: Report, statements: Sequence[tuple[str, Signed[Payload]]], kind: str, trusted: frozenset[str]
) -> list[tuple[str, Payload]]:
    """Return the statements signed by a known key; of the others report one, and their number.

    Args:
        report: Where that is written down.
        statements: Each with its name.
        kind: What they are, for findings.
        trusted: The ids of the keys that are believed.
    """
    believed, unsigned, forged = [], [], []
    strangers: dict[str, list[str]] = {}
    for name, statement in statements:
        if statement.by is None:
            unsigned.append(name)
        elif not holds(statement):
            forged.append(name)
        elif statement.by.key_id not in trusted:
            strangers.setdefault(statement.by.key_id, []).append(name)
        else:
            believed.append((name, statement.payload))
    if forged:
        report.broken(kind, f"{_some(forged)} not what was signed: edited or forged")
    if unsigned:
        report.unknown(kind, f"{_some(unsigned)} not signed")
    for key, names in strangers.items():
        report.unknown(kind, f"{_some(names)} signed by a key that is not known here ({key[:16]}…)")
    return believed


def _some(names: Sequence[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more are"


def check_heads(report: Report, evidence: Evidence, heads: Sequence[Signed[Head]]) -> None:
    """Check that the recording's own heads agree with its entries."""
    named = [(f"the signed head of {head.payload.time} (seq {head.payload.seq})", head) for head in heads]
    believed = check_signatures(report, named, "head", evidence.trusted)
    for name, said in believed:
        _check_epoch(report, evidence, said, name)
    agreeing = _compare(report, evidence, [said for _, said in believed], "the signed head of")
    report.heads = len(agreeing)
    report.signed_through = max([report.signed_through, *(head.seq for head in agreeing)])
    if not heads:
        report.unknown("head", "there is no signed head: a cut tail, or another history, would not show")
    elif believed and not agreeing and evidence.first <= evidence.last and not report.of(Level.BROKEN):
        # Heads of what has been pruned since, or of the very beginning, vouch for nothing that is there.
        report.unknown("head", "no signed head speaks of what is there: another history would not show")


def check_expected(report: Report, evidence: Evidence, heads: Sequence[Signed[Head]], own: int) -> None:
    """Check that heads kept elsewhere agree with the entries.

    Args:
        report: Where it is written down.
        evidence: The entries.
        heads: The heads; whoever keeps them believes them.
        own: How many heads the recording itself has.
    """
    asked = []
    for head in heads:
        name = f"the expected head of {head.payload.time} (seq {head.payload.seq})"
        if not holds(head):
            report.unknown("expected", f"{name} is not what was signed: it cannot be expected")
        elif _was_kept(report, evidence, head.payload, name):
            asked.append(head.payload)
    agreeing = _compare(report, evidence, asked, "the expected head of")
    report.expected = len(agreeing)
    report.signed_through = max([report.signed_through, *(head.seq for head in agreeing)])
    if not agreeing and not report.of(Level.BROKEN):
        report.unknown("expected", "none of the expected heads can be compared with what is there")
    if agreeing and not own:
        report.broken(
            "head", "the recording's own signed heads are gone: it has some whenever it was on disk"
        )


def _was_kept(report: Report, evidence: Evidence, head: Head, name: str) -> bool:
    """Return whether an expected head can be compared; report it if what it says was on disk is missing."""
    ends = _end_of_epoch(evidence, head.epoch)
    if any(finding.kind == "epoch" for finding in report.of(Level.BROKEN)):
        return False  # nothing can be judged by a table of epochs that was edited
    if ends is None:
        if head.durable:
            report.broken(
                "expected",
                f"{name} is of epoch {head.epoch}, which is not known here: an older file was put back, or it is another"
                " recording",
            )
        return False
    if head.durable > ends:
        report.broken(
            "cut",
            f"{name} says that everything up to {head.durable} was on disk; here its epoch ends at {ends}",
            ends + 1,
            head.durable,
        )
        return False
    ends = min(ends, evidence.end)
    if head.seq > ends >= head.durable:
        report.note(
            "expected", f"of what {name} speaks of, {ends + 1} and on was not yet on disk, and is not here"
        )
        return False
    return True


def check_end(report: Report, evidence: Evidence, given: int, last_head: Head | None) -> None:
    """Check that the recording ends where it should.

    Args:
        report: Where it is written down; its heads have been checked.
        evidence: The entries.
        given: The highest number that was ever given, as the recording itself says.
        last_head: Its own last head, where it says that it was stopped in order: then nothing can have changed since.
    """
    if given > evidence.end:
        text = f"it ends at {evidence.end}, and numbers up to {given} were given"
        report.broken("cut", text, evidence.end + 1, given)
    if last_head is not None and evidence.pruned > last_head.seq - last_head.count:
        first = last_head.seq - last_head.count + 1
        report.broken(
            "deleted",
            f"entries {first} to {evidence.pruned} were there when it was stopped in order: what says that they were"
            " pruned was made up",
            first,
            evidence.pruned,
        )
    if last_head is not None and evidence.last > last_head.seq:
        first = last_head.seq + 1
        text = f"entries {first} to {evidence.last} were added after it was stopped"
        report.broken("inserted", text, first, evidence.last)
        return
    beyond = evidence.last - max(report.signed_through, evidence.first - 1)
    if beyond > 0 and report.heads + report.expected:
        first = evidence.last - beyond + 1
        report.note(
            "head", f"the last {beyond:,} entries are newer than the last signed head", first, evidence.last
        )


def check_erasures(
    report: Report,
    evidence: Evidence,
    erasures: Sequence[Signed[ErasureReceipt]],
    taken: dict[int, bytes | None],
) -> None:
    """Check that every erasure has a receipt.

    Args:
        report: Where it is written down.
        evidence: The entries.
        erasures: The receipts.
        taken: `statements.erased_digest` of the kept digests, by the number of the receipt that they name; None where
            that cannot be known: some have been pruned since, or are not shown.
    """
    named = [
        (f"the receipt of the erasure of {e.payload.session_id!r} at {e.payload.erased_at}", e)
        for e in erasures
    ]
    check_signatures(report, named, "erasure", evidence.trusted)
    for name, erasure in named:
        said = erasure.payload
        digest = taken.pop(said.id, None)
        if digest is not None and digest != said.digest:
            report.broken("erasure", f"{name} does not agree with the digests that were kept", said.first_seq)
        report.erased += said.count
    for number in taken:
        report.broken("erasure", f"digests of erased content name receipt {number}, which is not there")


def check_seal(report: Report, seal: Signed[Seal] | None, now: Seal | None, trusted: frozenset[str]) -> None:
    """Check that what stands beside the entries is all of what was sealed, and nothing else.

    Args:
        report: Where it is written down.
        seal: The seal of the file.
        now: What a seal of the file as it is now says; None where the file's schema has none.
        trusted: The ids of the keys that are believed.
    """
    if seal is None or now is None:
        text = "the file has no seal: edited epochs, and heads that were deleted, would not show"
        report.unknown("head", f"{text} (the next start seals it)")
        return
    if not holds(seal):
        report.broken("head", "the seal of the file is not what was signed: edited or forged")
        return
    if seal.payload.recording != now.recording:
        report.broken("head", "the seal is that of another recording")
    if seal.by is not None and seal.by.key_id not in trusted:
        text = f"the seal is signed by a key that is not known here ({seal.by.key_id[:16]}…)"
        report.unknown("head", text)
    for name, kind, what in (
        ("epochs", "epoch", "rows of the table of epochs"),
        ("heads", "head", "signed heads"),
        ("receipts", "receipt", "receipts of prunes or erasures"),
        ("adoptions", "head", "statements of what was taken over unverified"),
    ):
        if getattr(seal.payload, name) != getattr(now, name):
            report.broken(kind, f"the {what} are not those that were sealed: edited, added or deleted")


def check_adoptions(report: Report, evidence: Evidence, adoptions: Sequence[Signed[Adoption]]) -> None:
    """Report entries that a start took over and signed although nothing verified them."""
    for adoption in adoptions:
        said = adoption.payload
        if not holds(adoption):
            report.broken("head", "a statement of what was taken over unverified is not what was signed")
            continue
        text = (
            f"entries {said.first_seq} to {said.seq} were taken over unverified at {said.at} ({said.reason})"
        )
        if evidence.first <= said.seq and evidence.first <= evidence.last:
            report.unknown("head", text, max(said.first_seq, evidence.first), said.seq)
        else:
            report.note("head", text)


def _compare(report: Report, evidence: Evidence, heads: Sequence[Head], whose: str) -> list[Head]:
    """Return the heads that agree with the entries; report the first that does not."""
    agreeing: list[Head] = []
    for head in sorted(heads, key=lambda head: (head.seq, head.time)):
        if head.seq > evidence.end:
            text = f"it ends at {evidence.end}; {whose} {head.time} says {head.seq}"
            report.broken("cut", text, evidence.end + 1, head.seq)
            break
        if head.seq - head.count > evidence.pruned:
            report.broken(
                "inserted",
                f"{whose} {head.time} says that everything up to {head.seq - head.count} had been pruned, and it is"
                " there: an older file was put back",
                evidence.first,
                head.seq - head.count,
            )
            break
        if head.seq and evidence.knows(head.seq):
            if evidence.known_hash(head.seq) != head.hash:
                if report.names_entry_up_to(head.seq):
                    break  # what is wrong is known better already
                first = max([evidence.first, *(good.seq + 1 for good in agreeing)])
                report.broken(
                    "rewritten",
                    f"{whose} {head.time} has another hash at {head.seq}: something from {first} on was rewritten, with"
                    " all hashes behind it",
                    first,
                    head.seq,
                )
                break
            agreeing.append(head)
    return agreeing


def _check_epoch(report: Report, evidence: Evidence, head: Head, name: str) -> None:
    ends = _end_of_epoch(evidence, head.epoch)
    if ends is None or head.seq > ends:
        report.broken("epoch", f"{name} is of epoch {head.epoch}, which the table of epochs does not confirm")


def _end_of_epoch(evidence: Evidence, name: str) -> int | None:
    """Return the last seq that an epoch can have; None if the epoch is unknown."""
    for place, epoch in enumerate(evidence.epochs):
        if epoch.name == name:
            following = evidence.epochs[place + 1 :]
            return following[0].first_seq - 1 if following else 2**63 - 1
    return None
