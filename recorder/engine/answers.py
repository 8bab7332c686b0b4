"""The answers to a publish: the ack of accepted deltas, and the errors for those that were not accepted or recorded.

Invariant: an answer is true when it is given. An ack says "durable" only of what is on disk; an error says "not
recorded" only if that is certain, and is `OutcomeUnknown` otherwise.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from loguru import logger

from recorder.core.errors import (
    Closed,
    OutcomeUnknown,
    OutOfMemory,
    RecorderError,
    StoreError,
)


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The result of one accepted publish.

    Args:
        epoch: The epoch of the numbers.
        first_seq: The number of the first delta.
        seq: The number of the last delta.
        count: How many deltas there were.
        duplicates: How many of them were known already, by their id.
        highest_seq: The highest number among them: the ack is true once this much is recorded.
    """

    epoch: str
    first_seq: int
    seq: int
    count: int
    highest_seq: int
    duplicates: int = 0

    def ack(self, durable: int) -> bytes:
        """Return the `ack` event, as JSON text.

        Args:
            durable: The highest seq known to be on disk.
        """
        # By hand: there is one for every frame of every publisher.
        return (
            f'{{"event":"ack","epoch":"{self.epoch}","firstSeq":{self.first_seq},"seq":{self.seq}'
            f',"count":{self.count},"durable":{"true" if self.highest_seq <= durable else "false"}'
            + (f',"duplicates":{self.duplicates}}}' if self.duplicates else "}")
        ).encode()

    def fields(self, durable: int) -> dict[str, object]:
        """Return the ack's fields as HTTP returns them."""
        fields: dict[str, object] = {
            "epoch": self.epoch,
            "firstSeq": self.first_seq,
            "seq": self.seq,
            "count": self.count,
            "durable": self.highest_seq <= durable,
        }
        if self.duplicates:
            fields["duplicates"] = self.duplicates
        return fields


def raised(outcome: Accepted | RecorderError) -> Accepted:
    """Return an ack; raise an error."""
    if isinstance(outcome, RecorderError):
        try:
            raise outcome
        finally:
            # It will know this frame, and this frame must not know it: they would wait for the garbage collector,
            # and with them the callers' frames, which have the text.
            del outcome
    return outcome


def closed() -> Closed:
    """Return the error of a publish after the shutdown began."""
    return Closed("the recorder is stopping", hint="publish again when it is back")


def no_memory(size: int) -> OutOfMemory:
    """Return the error of a publish of `size` bytes that ran out of memory, and log it."""
    with suppress(MemoryError):  # the publisher is told, whether or not there is memory for the line
        logger.bind(size=size).error("a publish was rejected for lack of memory; nothing of it was recorded")
    return OutOfMemory(
        f"not recorded: there was no memory for a publish of {size} bytes",
        hint="publish it again, in smaller pieces or later",
    )


def not_on_disk(reason: str) -> StoreError:
    """Return the error of accepted deltas that the disk rejected."""
    return StoreError(
        f"not recorded: the write to disk failed ({reason})", hint="publish it again when /readyz is green"
    )


def not_known(reason: str) -> OutcomeUnknown:
    """Return the error of accepted deltas of which nobody knows whether they are on disk."""
    return OutcomeUnknown(
        f"it is not known whether this is recorded ({reason})",
        hint="publish it again with the same ids when /readyz is green: what is recorded is then not recorded twice",
    )
