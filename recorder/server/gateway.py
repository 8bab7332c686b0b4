"""The gateway: what a server puts around a recorder so that others can reach it.

It knows who may come in and how many, and it is there before the recorder is: while the recording is being loaded
it answers how far that is, and every other request gets `Unavailable`. Left out: the port, the process and its
signals, which are `serve`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from loguru import logger

from recorder.app import Loading, Recorder, prepare_recorder
from recorder.auth.origin import Access
from recorder.auth.proxies import Proxies
from recorder.auth.request_guard import RequestGuard
from recorder.auth.tokens import Authority, authority_of
from recorder.config.settings import Settings
from recorder.core.clock import Clock, SystemClock
from recorder.core.errors import Closed, Unavailable
from recorder.core.sampled_log import SampledLog
from recorder.engine.rate_limit import PublishRate
from recorder.net.connection_limits import AdmissionLimits
from recorder.net.connections import Connections
from recorder.net.limits import SocketLimits
from recorder.net.upgrade import UpgradeHandler


class Gateway:
    """The server's entry point for HTTP and WebSocket, created by `open_gateway` before the recorder is loaded.

    Args:
        loading: The recorder, not loaded yet.
        authority: Knows what tokens grant.
        stack: Closes the connections, before the recorder is closed.
    """

    def __init__(self, loading: Loading, authority: Authority, stack: AsyncExitStack) -> None:
        self.settings = settings = loading.settings
        self.clock = loading.clock
        self.metrics = loading.metrics
        self.is_recording = loading.is_recording
        self.stopping = False  # nobody is admitted any more
        self.sampled_log = SampledLog(self.clock)  # of what strangers do
        self.request_guard = RequestGuard(
            Access(settings.host, settings.allowed_hosts, settings.allowed_origins),
            Proxies(settings.trusted_proxies),
            authority,
        )
        self.upgrades = UpgradeHandler(
            self.request_guard,
            SocketLimits.of(settings),
            AdmissionLimits(
                settings.max_connections,
                settings.max_connections_per_address,
                settings.max_upgrades_per_minute,
            ),
            publish_rate(settings),
            settings.max_partial_message_bytes,
            self.clock,
            self.metrics,
            self.sampled_log,
        )
        self._behind: Loading | Recorder = loading
        self._connections: Connections | None = None  # from when it is loaded on
        self._stack = stack
        self._offer_gauges()

    @property
    def recorder(self) -> Recorder:
        """Return the recorder. Raises `Unavailable` while it is being loaded."""
        if isinstance(self._behind, Recorder):
            return self._behind
        raise self._not_loaded()

    @property
    def connections(self) -> Connections:
        """Return the connections. Raises `Unavailable` while the recorder is being loaded."""
        if self._connections is None:
            raise self._not_loaded()
        return self._connections

    def _not_loaded(self) -> Closed | Unavailable:
        if self.stopping or isinstance(self._behind, Recorder):
            return Closed("the recorder is stopping")
        return Unavailable(f"the recorder is {self._behind.progress}", hint="try again in a moment")

    def not_ready(self) -> str | None:
        """Return why it is not ready to serve, in words; None where it is."""
        return "stopping" if self.stopping else self._behind.not_ready()

    async def load(self) -> None:
        """Load the recording, then admit everybody. Raises `StoreUnreadable`."""
        assert isinstance(self._behind, Loading), "it is loaded once"
        recorder = await self._behind.load()
        self._connections = await self._stack.enter_async_context(
            Connections.run(recorder.hub, recorder.ingest, self.upgrades.limits, self.clock, self.metrics)
        )
        self._behind = recorder
        self.metrics.gauge(
            "recorder_publishers", "Connections that publish", lambda: self.connections.publishers
        )
        if self.stopping:
            recorder.stop_ingest()
        else:
            self.upgrades.open(self._connections)

    def stop_ingest(self) -> None:
        """Take nothing more and admit nobody; what was accepted is still recorded."""
        self.stopping = True
        self.upgrades.shut("stopping")
        if isinstance(self._behind, Recorder):
            self._behind.stop_ingest()

    def renew_tokens(self) -> int:
        """Read the files of tokens and of keys again. What was granted by one that is gone ends, with 4401.

        Returns:
            How many connections were closed for it. Answers under way end with their next piece.

        Raises:
            InvalidSetting: A file cannot be read or used; everything stays as it was.
        """
        authority = self.request_guard.authority
        authority.renew(authority_of(self.settings, self.clock.now_ms))
        closed = 0 if self._connections is None else self._connections.revoke(authority.holds)
        logger.bind(closed=closed).info("tokens and keys were reloaded")
        return closed

    def end_streams(self) -> None:
        """End every `/api/stream` after what is queued for it."""
        if self._connections is not None:
            self._connections.end_streams()

    def _offer_gauges(self) -> None:
        gauge, upgrades = self.metrics.gauge, self.upgrades
        gauge("recorder_connections", "Connections open", lambda: upgrades.admission.connections)
        gauge(
            "recorder_partial_message_bytes",
            "Memory taken by incomplete messages and requests",
            lambda: upgrades.partial_messages.total,
        )


def publish_rate(settings: Settings) -> PublishRate:
    """Return how fast a publisher may go."""
    return PublishRate(settings.publish_rate, settings.publish_burst, settings.publish_max_delay / 1000)


@asynccontextmanager
async def open_gateway(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Gateway]:
    """Open a gateway whose recorder holds its file and is not loaded yet; close everything at the end of the block.

    Args:
        settings: Its settings.
        clock: The machine's by default.

    Raises:
        InvalidSetting: A file with tokens or keys cannot be used.
        StoreLocked, StoreUnreadable: The database file cannot be used; it is left as it is.
    """
    clock = clock or SystemClock()
    authority = authority_of(settings, clock.now_ms)
    async with prepare_recorder(settings, clock=clock) as loading, AsyncExitStack() as stack:
        # The connections are closed before the recorder is, which still records what was accepted.
        gateway = Gateway(loading, authority, stack)
        try:
            yield gateway
        finally:
            gateway.stop_ingest()
