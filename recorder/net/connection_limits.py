"""Limits on connections: in all and per address, and upgrades per minute and address.

A connection counts from the moment it is accepted, before it has sent anything, until its socket is closed, whatever it
becomes. One that exceeds a limit is rejected when it sends a request; while very many do, the rest are closed without
an answer, since even an answer costs. An IPv6 address counts with its whole /64, which is what one customer gets.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from recorder.core.clock import Clock
from recorder.core.errors import TooMany
from recorder.core.metrics import Metrics
from recorder.core.token_bucket import BucketTable

MAX_TURNED_AWAY = 64
"""How many that are too many may be waiting to be told so, at most."""


def max_turned_away(connections: int) -> int:
    """Return how many that are too many may be waiting to be told so, beside so many connections."""
    return max(4, min(MAX_TURNED_AWAY, connections // 8))


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """How many may come in.

    Args:
        connections: In all.
        per_address: Of one address.
        upgrades_per_minute: WebSocket upgrades of one address; all of a minute may come at once.
    """

    connections: int = 10_000
    per_address: int = 5_000
    upgrades_per_minute: int = 6_000


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
        self._inside: dict[object, str] = {}  # connection → the network it comes from
        self._per_network: Counter[str] = Counter()  # the same, counted
        self._turned_away: dict[object, TooMany] = {}  # rejected, and waiting for the error
        self._upgrades = BucketTable(limits.upgrades_per_minute / 60, limits.upgrades_per_minute)

    @property
    def connections(self) -> int:
        """The number of admitted connections."""
        return len(self._inside)

    def enter(self, connection: object, address: str) -> TooMany | None:
        """Count a connection in.

        Args:
            connection: What `leave` will be called with.
            address: Where it comes from.

        Returns:
            The error to send if it exceeds a limit; None if it is admitted.

        Raises:
            TooMany: It is, and so are many others: cut it without a word.
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
        self._metrics.turn_away(reason)
        if len(self._turned_away) >= max_turned_away(limits.connections):
            raise refusal
        self._turned_away[connection] = refusal
        return refusal

    def pass_on(self, connection: object, to: object) -> TooMany | None:
        """Count a connection as another one from now on, as TLS makes of one.

        Returns:
            As `enter`.
        """
        network = self._inside.pop(connection, None)
        if network is not None:
            self._inside[to] = network
        refusal = self._turned_away.pop(connection, None)
        if refusal is not None:
            self._turned_away[to] = refusal
        return refusal

    def leave(self, connection: object) -> None:
        """Count a connection out. Harmless if it is not inside."""
        self._turned_away.pop(connection, None)
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
            self._metrics.turn_away("upgrades_per_minute")
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
