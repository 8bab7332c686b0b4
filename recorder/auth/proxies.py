"""The client's address as proxies report it, believed only from `TRUSTED_PROXIES`.

`X-Forwarded-For` grows from left to right, each proxy adding whom it was called by, so it is read from the right: the
first address that is not a trusted proxy's is the client's, and whatever stands left of it was made up by somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Caller:
    """The origin of a request.

    Args:
        address: The client's address; empty where it is not known.
        is_secure: Whether it came by TLS as far as we can know.
    """

    address: str
    is_secure: bool


class Proxies:
    """The proxies that are believed.

    Args:
        networks: Addresses or networks (`10.0.0.0/8`).
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = tuple(ip_network(text, strict=False) for text in networks)

    def has(self, address: str) -> bool:
        """Return whether an address is one of theirs."""
        found = _address(address)
        return found is not None and self._trusts(found)

    def caller(
        self, peer: str, forwarded_for: Sequence[str], forwarded_proto: Sequence[str], *, is_secure: bool
    ) -> Caller:
        """Return who calls.

        Args:
            peer: The address of the connection.
            forwarded_for, forwarded_proto: Values of `X-Forwarded-For` and `X-Forwarded-Proto`, in order.
            is_secure: Whether the connection itself is TLS.
        """
        address = _address(peer)
        if address is None or not self._trusts(address):
            return Caller(peer, is_secure)
        for text in reversed(",".join(forwarded_for).split(",")):
            stated = _address(text.strip())
            if stated is None:
                break  # nothing left of what cannot be read is worth more
            address = stated
            if not self._trusts(address):
                break
        # The last one to speak is the proxy that we trust.
        proto = forwarded_proto[-1].rpartition(",")[2].strip().lower() if forwarded_proto else ""
        return Caller(str(address), proto == "https" if proto else is_secure)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """Return an address, with a port or without; an IPv4 address in IPv6's clothes is IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
