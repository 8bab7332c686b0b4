"""Where a recorder is: its base URL, and the WebSocket URLs made from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from recorder.core.errors import ClientError

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

    def subscribe_url(
        self, sessions: Iterable[str], types: Iterable[str], since: str, *, conflate: bool = False
    ) -> str:
        """The URL of a subscription.

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
        """The URL to publish to."""
        return f"{self.base}/publish"


def parse_address(url: str) -> Address:
    """The address that a URL names.

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
