"""The gateway: what a server puts around a recorder so that others can reach it.

It knows who may come in and how many, and it is there before the recorder is: while the recording is being loaded
it answers how far that is, and every other request gets `Unavailable`. Left out: the port, the process and its
signals, which are `serve`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loguru import logger

from recorder.app import Loading, Recorder, prepare_recorder, socket_limits
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
from recorder.net.upgrade import RecorderDoor


class Gateway:
    """See the module. Made by `open_gateway`.

    Args:
        loading: The recorder, not loaded yet.
        authority: Knows what tokens grant.
    """

    def __init__(self, loading: Loading, authority: Authority) -> None:
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
        self.door = RecorderDoor(
            self.request_guard,
            socket_limits(settings),
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
        self._offer_gauges()

    @property
    def recorder(self) -> Recorder:
        """Return the recorder. Raises `Unavailable` while it is being loaded."""
        match self._behind:
            case Recorder() as recorder:
                return recorder
            case Loading() if self.stopping:
                raise Closed("the recorder is stopping")
            case Loading() as loading:
                raise Unavailable(f"the recorder is {loading.progress}", hint="try again in a moment")

    def not_ready(self) -> str | None:
        """Return why it is not ready to serve, in words; None where it is."""
        return "stopping" if self.stopping else self._behind.not_ready()

    async def load(self) -> None:
        """Load the recording, then admit everybody. Raises `StoreUnreadable`."""
        assert isinstance(self._behind, Loading), "it is loaded once"
        recorder = self._behind = await self._behind.load()
        if self.stopping:
            recorder.stop_intake()
        else:
            self.door.open(recorder.hub, recorder.intake)

    def stop_intake(self) -> None:
        """Take nothing more and admit nobody; what was accepted is still recorded."""
        self.stopping = True
        self.door.shut("stopping")
        if isinstance(self._behind, Recorder):
            self._behind.stop_intake()

    def renew_tokens(self) -> int:
        """Read the files of tokens and of keys again. What was granted by one that is gone ends, with 4401.

        Returns:
            How many connections were closed for it. Answers under way end with their next piece.

        Raises:
            InvalidSetting: A file cannot be read or used; everything stays as it was.
        """
        authority = self.request_guard.authority
        authority.renew(authority_of(self.settings, self.clock.now_ms))
        is_loaded = isinstance(self._behind, Recorder)
        closed = self.recorder.hub.revoke(authority.holds) if is_loaded else 0
        logger.bind(closed=closed).info("tokens and keys were reloaded")
        return closed

    def end_streams(self) -> None:
        """End every `/api/stream` after what is queued for it."""
        if isinstance(self._behind, Recorder):
            self._behind.hub.end_streams()

    def _offer_gauges(self) -> None:
        gauge, door = self.metrics.gauge, self.door
        gauge("recorder_connections", "Connections open", lambda: door.admission.connections)
        gauge(
            "recorder_partial_message_bytes",
            "Memory taken by incomplete messages and requests",
            lambda: door.unfinished.total,
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
    async with prepare_recorder(settings, clock=clock) as loading:
        gateway = Gateway(loading, authority)
        try:
            yield gateway
        finally:
            gateway.stop_intake()
