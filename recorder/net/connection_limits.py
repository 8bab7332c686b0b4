"""Limits on connections: in all and per address, and upgrades per minute and address.

A connection counts from the moment it is accepted, before it has sent anything, until its socket is closed, whatever it
becomes. One that exceeds a limit is rejected when it sends a request. Of those only a few wait at the same time: the one
that has waited longest is closed without an answer, so that a health probe is answered however many idle connections
there are. An IPv6 address counts with its whole /64, which is what one customer gets.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from recorder.core.clock import Clock
from recorder.core.errors import TooMany
from recorder.core.metrics import Metrics
from recorder.core.token_bucket import BucketTable

MAX_REJECTED = 64
"""How many connections beyond the limits are open at most, waiting for their answer."""


def max_rejected(connections: int) -> int:
    """Return how many connections beyond the limits may be open, beside so many that are admitted."""
    return max(8, min(MAX_REJECTED, connections // 8))


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """The limits on the number of connections.

    Args:
        connections: In all.
        per_address: Of one address.
        upgrades_per_minute: WebSocket upgrades of one address; all of a minute may come at once.
    """

    connections: int = 10_000
    per_address: int = 5_000
    upgrades_per_minute: int = 6_000


class Connection(Protocol):
    """An accepted connection."""

    def abort(self) -> None:
        """Close it at once."""
        ...


class Admission:
    """Counts who is inside.

    Args:
        limits: See there.
        clock, metrics: As everywhere.
        is_proxy: Whether many come from an address, each of whom is known by what the proxy there says.
    """

    def __init__(
        self,
        limits: AdmissionLimits,
        clock: Clock,
        metrics: Metrics,
        is_proxy: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self.limits = limits
        self._is_proxy = is_proxy
        self._clock = clock
        self._metrics = metrics
        self._inside: dict[Connection, str] = {}  # connection → the network it comes from
        self._per_network: Counter[str] = Counter()  # the same, counted
        self._rejected: dict[Connection, TooMany] = {}  # rejected, and waiting for the error
        self._upgrades = BucketTable(limits.upgrades_per_minute / 60, limits.upgrades_per_minute)

    @property
    def connections(self) -> int:
        """The number of admitted connections."""
        return len(self._inside)

    def enter(self, connection: Connection, address: str) -> TooMany | None:
        """Count a connection in.

        Args:
            connection: What `leave` will be called with.
            address: Where it comes from.

        Returns:
            The error to send if it exceeds a limit; None if it is admitted.
        """
        network, limits = network_of(address), self.limits
        if len(self._inside) >= limits.connections:
            refusal = TooMany(
                f"{limits.connections} connections are open, and no more are accepted",
                hint="try again later; MAX_CONNECTIONS sets the limit",
            )
            reason = "connections"
        elif self._per_network[network] >= limits.per_address and not self._is_proxy(address):
            refusal = TooMany(
                f"{limits.per_address} connections are open from this address, and no more are accepted",
                hint="close some; MAX_CONNECTIONS_PER_ADDRESS sets the limit",
            )
            reason = "connections_per_address"
        else:
            self._inside[connection] = network
            self._per_network[network] += 1
            return None
        self._metrics.reject(reason)
        if len(self._rejected) >= max_rejected(limits.connections):
            oldest = next(iter(self._rejected))
            del self._rejected[oldest]
            oldest.abort()
        self._rejected[connection] = refusal
        return refusal

    def pass_on(self, connection: Connection, to: Connection) -> TooMany | None:
        """Count a connection as another one from now on, as TLS makes of one.

        Returns:
            As `enter`.
        """
        network = self._inside.pop(connection, None)
        if network is not None:
            self._inside[to] = network
        refusal = self._rejected.pop(connection, None)
        if refusal is not None:
            self._rejected[to] = refusal
        return refusal

    def leave(self, connection: Connection) -> None:
        """Count a connection out. Harmless if it is not inside."""
        self._rejected.pop(connection, None)
        network = self._inside.pop(connection, None)
        if network is not None:
            self._per_network[network] -= 1
            if not self._per_network[network]:
                del self._per_network[network]

    def upgrade(self, address: str) -> None:
        """Count a WebSocket upgrade, or an event stream that begins.

        Args:
            address: Where it comes from.

        Raises:
            TooMany: There were too many from there within the last minute.
        """
        now = self._clock.monotonic()
        bucket = self._upgrades.bucket(network_of(address), now)
        if bucket.wait(1, now):
            self._metrics.reject("upgrades_per_minute")
            raise TooMany(
                f"more than {self.limits.upgrades_per_minute} upgrades and event streams within a minute"
                " from this address",
                hint="wait before connecting again; MAX_UPGRADES_PER_MINUTE sets the limit",
            )
        bucket.take(1, now)


def network_of(address: str) -> str:
    """Return the network that counts as one address: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
