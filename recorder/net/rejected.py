"""The role of a connection that may not be here: it is told why, and closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from recorder.core.errors import RecorderError
from recorder.core.sampled_log import SampledLog
from recorder.net.websocket import WebSocket
from recorder.wire.events import event_frame


class RejectedHandler:
    """A connection that is closed as soon as it is open.

    Args:
        socket: Its connection.
        error: Why; its close code is used.
        log: Writes some of it down.
    """

    max_message_bytes = 1024
    at_once = 1
    at_own_pace = False

    def __init__(self, socket: WebSocket, error: RecorderError, log: SampledLog) -> None:
        self._socket = socket
        self._log = log
        self._error = error

    def on_open(self) -> None:
        """Send the error, then close."""
        error = self._error
        address = self._socket.address
        self._log.write("INFO", "connection rejected", code=error.code, reason=str(error), address=address)
        self._socket.write(event_frame("error", code=error.code, message=str(error)))
        self._socket.close(cast(int, error.close_code), error.message)

    def on_texts(self, messages: Sequence[bytes]) -> None:
        """Ignore the messages."""

    def on_writable(self) -> None:
        """Do nothing: nothing waits to be written."""

    def on_closing(self) -> bool:
        """Return True: there is nothing left to send."""
        return True

    def on_lost(self) -> None:
        """Do nothing: it was never counted."""

    def on_shutdown(self, code: int = 1001, reason: str = "going away") -> None:
        """Do nothing: it is being closed already."""

    def on_slow(self, *, is_moving: bool) -> bool:
        """Return False: it is being closed already."""
        return False

    def position_text(self) -> str:
        """Return "": it has no position."""
        return ""
