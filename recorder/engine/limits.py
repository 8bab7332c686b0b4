"""What one publish may hold: checked whole, between decoding and the order, before any of it gets a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recorder.core import json_text as jsontext
from recorder.core.delta import MAX_DEPTH, Delta
from recorder.wire.decode import place_of
from recorder.wire.explain import refused


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """What one publish may hold.

    Args:
        max_delta_bytes: The most the JSON text of one delta may take.
        max_message_bytes: The most a message may take.
        max_deltas: How many deltas.
        max_depth: How deeply a state may nest.
    """

    max_delta_bytes: int = 262_144
    max_message_bytes: int = 16 << 20
    max_deltas: int = 10_000
    max_depth: int = MAX_DEPTH

    def check(self, deltas: Sequence[Delta], text: bytes, *, lines: bool) -> None:
        """Check how deeply the states are nested, if the limit is lower than that of decoding.

        Args:
            deltas: What was decoded.
            text: What it was decoded from.
            lines: Whether that is NDJSON.

        Raises:
            InvalidDelta: A state nests too deeply.
        """
        for index, delta in enumerate(deltas):
            for name, state in (("before", delta.before), ("after", delta.after)):
                if state is not None and jsontext.is_deeper(state, self.max_depth):
                    at, place = place_of(text, index, name, lines=lines)
                    error = refused(None, place, f"must not nest deeper than {self.max_depth}")
                    error.index = at
                    raise error


DEFAULT_LIMITS = PublishLimits()
"""Those of the settings' defaults."""
