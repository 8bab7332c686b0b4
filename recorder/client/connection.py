"""Opening and closing one WebSocket connection, and saying in one way why it could not be opened.

The only place that knows the errors of the websockets library. Whether to try again is decided here for what
happens before the upgrade: an answer that would be the same next time is final, the rest is not.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    SecurityError,
)

from recorder.client.address import Address
from recorder.client.options import ClientOptions
from recorder.core.errors import ClientError

MAX_QUEUE = 32
"""Messages websockets holds for us before it stops reading; each may be as long as `max_event_bytes`."""

_WORTH_WAITING = frozenset((408, 425, 429))
_MAX_SAID = 300


class Unreachable(Exception):
    """A connection could not be opened; another try may go through. The message says why."""


class Dialer:
    """Opens connections to one recorder.

    Args:
        address: Where it is.
        token: For `Authorization: Bearer …`, or None.
        options: The client's.
    """

    def __init__(self, address: Address, token: str | None, options: ClientOptions) -> None:
        self.address = address  # where the recorder is
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}  # of every request
        self._options = options  # limits and timeouts

    async def dial(self, url: str, *, ping_s: float | None) -> ClientConnection:
        """Open a connection.

        Args:
            url: One of the address's.
            ping_s: Interval of the client's own pings, in seconds, or None: silence is watched by other
                means.

        Raises:
            Unreachable: Not now.
            ClientError: Never like this.
        """
        options = self._options
        extra: dict[str, Any] = {}
        if options.ssl_context is not None and url.startswith("wss:"):
            extra["ssl"] = options.ssl_context
        try:
            return await connect(
                url,
                additional_headers=self._headers,
                user_agent_header="recorder-client",
                compression=None,
                proxy=None if self.address.is_loopback else True,
                open_timeout=options.open_timeout_s,
                close_timeout=options.close_timeout_s,
                ping_interval=ping_s,
                ping_timeout=None if ping_s is None else 3 * ping_s,
                max_size=options.max_event_bytes,
                max_queue=MAX_QUEUE,
                **extra,
            )
        except InvalidStatus as error:
            raise _judge(self.address.base, error) from None
        except (InvalidURI, InvalidProxy, SecurityError, ssl.SSLCertVerificationError) as error:
            raise ClientError(f"{self.address.base} cannot be connected to: {error}") from error
        except (OSError, InvalidHandshake) as error:
            raise Unreachable(f"{self.address.base} cannot be reached: {error}") from error


def _judge(base: str, error: InvalidStatus) -> Exception:
    status = error.response.status_code
    said = bytes(error.response.body or b"")[:_MAX_SAID].decode(errors="replace").strip()
    what = f"{base} answered {status}" + (f": {said}" if said else "")
    if status >= 500 or status in _WORTH_WAITING:
        return Unreachable(what)
    hints = {
        401: "give the right token",
        403: "the token's role, the Origin or the Host does not permit it",
    }
    return ClientError(what, hint=hints.get(status, "is this the URL of a recorder?"))


def close_code(closed: ConnectionClosed) -> tuple[int, str]:
    """The code and the reason a connection was closed with.

    Returns:
        What was received first counts, then what this side sent (it does so where the other side broke RFC
        6455); 1006 where neither happened.
    """
    ours_first = closed.sent is not None and not closed.rcvd_then_sent
    frame = closed.sent if ours_first or closed.rcvd is None else closed.rcvd
    return (1006, "the connection was lost") if frame is None else (int(frame.code), frame.reason)


async def hang_up(socket: ClientConnection, code: int = 1000, *, limit_s: float) -> None:
    """Close a connection, reading away what still comes; cut it where that takes too long.

    Args:
        socket: The connection.
        code: The close code to send.
        limit_s: How long the goodbye may take, in seconds.
    """
    try:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
            # Unread messages would hold up the other side's goodbye behind them.
            group.create_task(_discard(socket), name="client-discard")
            await socket.close(code)
    except TimeoutError:
        # Such as a peer that reads nothing any more: a close frame cannot even be written.
        socket.transport.abort()
        await socket.wait_closed()
    finally:
        socket.transport.abort()


async def _discard(socket: ClientConnection) -> None:
    try:
        while True:
            await socket.recv(decode=False)
    except ConnectionClosed:
        return
