"""The address of a recorder, and WebSocket connections to it: opening, closing, and why one could not be opened.

The only place that knows the errors of the websockets library, and the one that loads it: at the first connection, since
it takes as long as all the rest of the client. Whether to try again is decided here for what happens before the
upgrade: an answer that would be the same next time is final, the rest is not. A refused token is final where it is a
text; where it is a function, the next connection asks for another one.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode, urlsplit

from recorder.client.events import TokenRefused
from recorder.client.options import ClientOptions
from recorder.core.errors import ClientError

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed, InvalidStatus

_SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}
_LOCAL = ("localhost", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """A recorder's address.

    Args:
        base: Such as `ws://127.0.0.1:8765`, without a slash at its end.
        is_loopback: Whether it is on this machine, so that no proxy is asked.
    """

    base: str
    is_loopback: bool

    @property
    def shown(self) -> str:
        """The address as people know it: the one that a browser opens."""
        return self.base.replace("ws", "http", 1)

    def subscribe_url(
        self, sessions: Iterable[str], types: Iterable[str], since: str, *, conflate: bool = False
    ) -> str:
        """Return the URL of a subscription.

        Args:
            sessions, types, since: What is asked for.
            conflate: Whether to be moved on to the latest states where it is too slow.

        Raises:
            ClientError: A session id cannot be written as UTF-8.
        """
        pairs = [("session", one) for one in sessions] + [("type", one) for one in types] + [("since", since)]
        if conflate:
            pairs.append(("slow", "conflate"))
        try:
            return f"{self.base}/ws?{urlencode(pairs)}"
        except UnicodeEncodeError as error:
            raise ClientError(f"a session id cannot be written as UTF-8: {error.object!r}") from None

    def publish_url(self) -> str:
        """Return the URL to publish to."""
        return f"{self.base}/publish"


def parse_address(url: str) -> Address:
    """Return the address that a URL names.

    Args:
        url: `http://`, `https://`, `ws://` or `wss://`, host, port, and a path where a proxy puts the
            recorder.

    Raises:
        ClientError: It is no such URL.
    """
    hint = "such as http://127.0.0.1:8765"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ClientError(f"not a URL: {url!r}: {error}", hint=hint) from None
    if parts.scheme not in _SCHEMES or not host:
        raise ClientError(f"not the URL of a recorder: {url!r}", hint=hint)
    if parts.username is not None or parts.query or parts.fragment:
        raise ClientError(
            "the URL of a recorder has no user, query or fragment", hint="a token is given as token=…"
        )
    where = f"[{host}]" if ":" in host else host
    place = where if port is None else f"{where}:{port}"
    is_loopback = host in _LOCAL or host.startswith("127.")
    return Address(f"{_SCHEMES[parts.scheme]}://{place}{parts.path.rstrip('/')}", is_loopback)


MAX_QUEUE = 32
"""Messages websockets holds for us before it stops reading; each may be as long as `max_event_bytes`."""

Token: TypeAlias = str | Callable[[], str | Awaitable[str]] | None
"""A token, or a function that gives one, asked at every connection; a function that is not async runs in a thread."""

MAX_SAME_REFUSED = 3
"""How often in a row the same token, given by a function, may be refused before that is final."""

ADVICE = ". Is a recorder running there ('recorder serve' starts one), and is the address right?"
"""What to try where nothing answers as a recorder does."""

_WORTH_WAITING = frozenset((408, 425, 429))
_MAX_SAID = 300
_log = logging.getLogger("recorder.client")


class Unreachable(Exception):
    """A connection could not be opened; another try may go through. The message says why."""


class Dialer:
    """Opens connections to one recorder, on one event loop.

    Args:
        address: Where it is.
        token: For `Authorization: Bearer …`; a function is asked at every connection.
        options: The client's.
    """

    def __init__(self, address: Address, token: Token, options: ClientOptions) -> None:
        self.address = address  # where the recorder is
        self._token = token  # as it was given
        self._options = options  # limits and timeouts
        self._loop: asyncio.AbstractEventLoop | None = None  # the one it is used on, from its first use on
        self._shown: str | None = None  # the token of the last connection
        self._refused: str | None = None  # the token that was refused last
        self._refusals = 0  # how often in a row that one was

    def bind(self) -> None:
        """Bind to the running event loop.

        Raises:
            ClientError: It belongs to another one: its connections could never be heard there.
        """
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            state = "is closed" if self._loop.is_closed() else "is another one"
            raise ClientError(
                f"this client belongs to the event loop on which it was first used, and that {state}",
                hint="make a Client for each event loop, inside the function that asyncio.run is given",
            )

    @property
    def loop_is_closed(self) -> bool:
        """Return whether the event loop that it belongs to is closed."""
        return self._loop is not None and self._loop.is_closed()

    def accepted(self) -> None:
        """Register that the server accepted the token."""
        self._refused, self._refusals = None, 0

    def refused(self, error: TokenRefused) -> Exception:
        """Judge that the server did not take the token.

        Returns:
            `Unreachable` where another token may be taken, else the error.
        """
        if not callable(self._token):
            return error
        self._refusals = self._refusals + 1 if self._refused == self._shown else 1
        self._refused = self._shown
        is_over = self._refusals >= MAX_SAME_REFUSED and "expired" not in error.message
        return error if is_over else Unreachable(error.message)

    async def headers(self) -> dict[str, str]:
        """Return the headers of a request, with the token of this moment."""
        if self._token is None:
            return {}
        token: object = await self._ask(self._token) if callable(self._token) else self._token
        if not isinstance(token, str):
            raise ClientError(f"the token is no text: it is of type {type(token).__name__}")
        self._shown = token
        return {"Authorization": f"Bearer {token}"}

    async def _ask(self, function: Callable[[], str | Awaitable[str]]) -> str:
        limit_s = self._options.open_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                if inspect.iscoroutinefunction(function):
                    return await function()  # type: ignore[no-any-return]
                # It may use the network, and must not block the event loop.
                given = await asyncio.to_thread(function)
                return await given if inspect.isawaitable(given) else given
        except ClientError:
            raise  # the function reports that there is none
        except TimeoutError:
            raise Unreachable(f"the token function gave no token within {limit_s:g} s") from None
        except Exception as error:
            raise Unreachable(f"the token function raised {type(error).__name__}: {error}") from error

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
        from websockets.asyncio.client import connect
        from websockets.exceptions import (
            InvalidHandshake,
            InvalidProxy,
            InvalidStatus,
            InvalidURI,
            SecurityError,
        )

        options = self._options
        headers = await self.headers()
        extra: dict[str, Any] = {}
        if options.ssl_context is not None and url.startswith("wss:"):
            extra["ssl"] = options.ssl_context
        try:
            return await connect(
                url,
                additional_headers=headers,
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
            raise self._judge(error) from None
        except (InvalidURI, InvalidProxy, SecurityError, ssl.SSLCertVerificationError) as error:
            raise ClientError(f"{self.address.base} cannot be connected to: {error}") from error
        except (OSError, InvalidHandshake) as error:
            raise Unreachable(f"{self.address.shown} cannot be reached: {_why(error)}") from error

    def _judge(self, error: InvalidStatus) -> Exception:
        status = error.response.status_code
        said = bytes(error.response.body or b"")[:_MAX_SAID].decode(errors="replace").strip()
        what = f"{self.address.base} answered {status}" + (f": {said}" if said else "")
        if status == 401:
            return self.refused(TokenRefused(what))
        if status >= 500 or status in _WORTH_WAITING:
            return Unreachable(what)
        if status == 403:
            return ClientError(what, hint="the token's role, the Origin or the Host does not permit it")
        return ClientError(what, hint="is this the URL of a recorder?")


def _why(error: Exception) -> str:
    """Return what went wrong; of an error of the system only its meaning, since the address is named already."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error) or type(error).__name__


class ConnectionLog:
    """The log lines about the connections of one subscription or publisher.

    The log is the standard library's, so that its warnings are seen without any set-up. Of an outage it warns once, at
    the first connection that does not serve: whoever waits must learn that there may be nothing to wait for.

    Args:
        base: The recorder's address.
        purpose: What the connections are for: `publish` or `subscribe`.
    """

    def __init__(self, base: str, purpose: str) -> None:
        self._base = base
        self._purpose = purpose
        self._is_greeted = False  # whether the server has said hello on the current connection
        self._works = False  # whether the current connection serves its purpose
        self._has_warned = False  # whether this outage was told

    def greeted(self) -> None:
        """Register that the server sent `hello`."""
        self._is_greeted = True

    def works(self) -> None:
        """Register that the connection serves its purpose: the outage is over."""
        if self._has_warned:
            _log.info("can %s at %s again", self._purpose, self._base)
        self._works, self._has_warned = True, False

    def failed(self, why: str, retry_s: float, *, broken: bool = False) -> None:
        """Log that a connection was lost, or could not be made.

        Args:
            why: What happened.
            retry_s: Seconds until the next try.
            broken: Whether the server broke the protocol.
        """
        told = self._purpose, self._base, why, retry_s
        if broken:
            _log.warning("cannot %s at %s: the server broke the protocol: %s; next try in %.1f s", *told)
        elif self._works:
            _log.info("cannot %s at %s, the connection was lost: %s; next try in %.1f s", *told)
        elif self._has_warned:
            _log.info("still cannot %s at %s: %s; next try in %.1f s", *told)
        else:
            self._has_warned = True
            advice = "" if self._is_greeted else ADVICE
            _log.warning("cannot %s at %s: %s; next try in %.1f s, and so on until it works%s", *told, advice)
        self._is_greeted = self._works = False


def connection_closed() -> type[ConnectionClosed]:
    """Return the error of a closed connection, for `except`: it is asked for where something was raised."""
    from websockets.exceptions import ConnectionClosed

    return ConnectionClosed


def close_code(closed: ConnectionClosed) -> tuple[int, str]:
    """Return the close code and the reason of a closed connection.

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
            # Unread messages would block the peer's close frame after them.
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
    except connection_closed():
        return
