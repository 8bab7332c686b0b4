"""The handler of a connection: a subscriber, a publisher, or a rejection. Called by the socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from websockets.http11 import Request

    from recorder.core.clock import Clock
    from recorder.core.metrics import Metrics
    from recorder.core.sampled_log import SampledLog
    from recorder.net.limits import SocketLimits
    from recorder.net.partial_messages import PartialMessages

Socket = TypeVar("Socket", contravariant=True)
"""The connection that is admitted: a `WebSocket`, whose module stands above this one."""


class Handler(Protocol):
    """The behaviour of one connection, such as a publisher. Called by its socket, never after `on_lost`."""

    max_message_bytes: int

    def on_open(self) -> None:
        """Start after the handshake; writing is allowed, but keep it small until the next loop tick."""
        ...

    def on_texts(self, messages: Sequence[bytes]) -> None:
        """Process complete text messages, 1 to `at_once` of them; they are UTF-8."""
        ...

    def on_writable(self) -> None:
        """React to the unsent bytes having fallen below the low-water mark."""
        ...

    def on_closing(self) -> bool:
        """React to the end of input: the peer closes or has broken a rule.

        Return True where it is owed nothing any more; False to call `finish_closing` when that is so.
        """
        ...

    def on_lost(self) -> None:
        """Release everything: the connection is lost or must not be written to. Called only once."""
        ...

    def on_shutdown(self, code: int = 1001, reason: str = "going away") -> None:
        """Close in order, soon: the server stops, or the peer's permission has ended.

        Args:
            code, reason: Of the close frame.
        """
        ...

    def position_text(self) -> str:
        """Return the position to resume from (a `since`), for the reason of a 4408."""
        ...

    def on_slow(self, *, is_moving: bool) -> bool:
        """Send less to a slow reader, if possible. Return False if it cannot be done.

        Args:
            is_moving: Whether the other end has taken anything lately.

        Returns:
            True where it goes on; False to be closed.
        """
        ...

    @property
    def at_once(self) -> int:
        """The number of messages it takes at once."""
        ...

    @property
    def at_own_pace(self) -> bool:
        """Return whether it is being sent history: it may then be slow as long as it reads at all."""
        ...


class Upgrades(Protocol[Socket]):
    """The component that decides how an upgrade request is answered."""

    limits: SocketLimits
    clock: Clock
    metrics: Metrics
    log: SampledLog
    partial_messages: PartialMessages

    def admit(self, socket: Socket, request: Request) -> Handler:
        """Return the handler for a request. Raises RecorderError to reject it before the upgrade."""
        ...

    def opened(self, socket: Socket) -> None:
        """Register an open connection; its deadlines are checked from now on."""
        ...

    def gone(self, socket: Socket) -> None:
        """Register a closed connection."""
        ...
