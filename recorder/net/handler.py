"""What a connection is for: subscribing, publishing, or being turned away. Given by the door, called by the socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Role(Protocol):
    """What a connection is for. Called by its socket, never after `on_lost`."""

    max_message_bytes: int

    def on_open(self) -> None:
        """The handshake is done; writing is allowed, but keep it small until the next loop tick."""
        ...

    def on_texts(self, messages: Sequence[bytes]) -> None:
        """Whole text messages have come, 1 to `at_once` of them; they are UTF-8."""
        ...

    def on_writable(self) -> None:
        """The unsent bytes have fallen below the low-water mark."""
        ...

    def on_closing(self) -> bool:
        """Nothing more will come from the other side, which closes or has broken a rule.

        Return True where it is owed nothing any more; False to call `finish_closing` when that is so.
        """
        ...

    def on_lost(self) -> None:
        """The connection is gone, or nothing may be written to it any more; may be called once only."""
        ...

    def on_shutdown(self, code: int = 1001, reason: str = "going away") -> None:
        """The server stops, or the right to be here has ended: close in order, soon.

        Args:
            code, reason: Of the close frame.
        """
        ...

    def position_text(self) -> str:
        """What to resume from (a `since`), for the reason of a 4408."""
        ...

    def on_slow(self, *, is_moving: bool) -> bool:
        """Be sent less, where that is possible.

        Args:
            is_moving: Whether the other end has taken anything lately.

        Returns:
            True where it goes on; False to be closed.
        """
        ...

    @property
    def at_once(self) -> int:
        """How many messages it takes in one go."""
        ...

    @property
    def at_own_pace(self) -> bool:
        """Whether it is being sent history, so that being slow is no fault as long as it reads at all."""
        ...
