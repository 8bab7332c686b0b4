"""The recorder itself, without a server: everything wired together, opened and closed in one place.

    settings ─▶ open_recorder ─▶ store ◀─ maintenance ◀─ scheduler
                                   ▲
        publish ─▶ intake ─▶ sequencer ─▶ hub ─▶ subscribers

Each part is entered on one `AsyncExitStack` and left in reverse order: the intake refuses first, then the jobs stop,
then every connection is closed, and last the store records what is queued, takes a last snapshot and lets the file go.

The file is taken and checked when the recorder is opened, and loaded by `load`, so that a server can listen meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from loguru import logger

import recorder.core.logging  # noqa: F401 - a library is silent until its log is configured
from recorder.api import health
from recorder.auth.origin import Access
from recorder.auth.proxies import Proxies
from recorder.auth.request_guard import RequestGuard
from recorder.auth.signing import known_keys, open_key
from recorder.auth.tokens import Authority, authority_of
from recorder.config.settings import Settings
from recorder.core.chain import GENESIS
from recorder.core.clock import Clock, SystemClock
from recorder.core.errors import Closed, NotRecording, Unavailable
from recorder.core.metrics import Metrics
from recorder.core.position import new_epoch
from recorder.core.redaction import Redactor
from recorder.core.sampled_log import SampledLog
from recorder.core.statements import Head, Signed
from recorder.engine.hub import Hub
from recorder.engine.idempotency import RecentIds
from recorder.engine.ingest import Accepted, Intake
from recorder.engine.limits import PublishLimits
from recorder.engine.local_subscription import Subscription as EmbeddedSubscription
from recorder.engine.rate_limit import PublishRate
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.engine.uncommitted import Held
from recorder.jobs.clock_watch import ClockWatch
from recorder.jobs.erasure import Eraser
from recorder.jobs.memory_guard import Room
from recorder.jobs.retention import Maintenance, Retention
from recorder.jobs.scheduler import Scheduler
from recorder.jobs.watchdog import Watchdog, looking
from recorder.net.connection_limits import AdmissionLimits
from recorder.net.limits import SocketLimits
from recorder.net.upgrade import RecorderDoor
from recorder.server.memory import available_memory
from recorder.store.sqlite.receipts import Sign, signer
from recorder.store.sqlite.store import SqliteStore, StoreConfig
from recorder.wire.subscribe import Subscription, check_sessions, check_types, names_of, parse_since


class Recorder:
    """A recorder in this process. Made by `open_recorder`.

    Args:
        settings: Its settings.
        store: Where it records; None where recording is off.
        authority: Knows what tokens grant.
        clock, metrics: As everywhere.
        stack: Where what `load` opens is closed.
    """

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore | None,
        authority: Authority,
        clock: Clock,
        metrics: Metrics,
        stack: AsyncExitStack,
    ) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self.metrics = metrics
        self.sampled_log = SampledLog(clock)  # of what strangers do
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
            clock,
            metrics,
        )
        self._stack = stack
        self._parts: tuple[Hub, Intake] | None = None  # from `load` on
        self.maintenance: Maintenance | None = None  # from `load` on, where recording is on
        self.room: Room | None = None  # from `load` on
        self._eraser: Eraser | None = None  # from `load` on, where recording is on
        self.loading = "loading"  # how far loading is, in words; "" when it is over
        self.stopping = False  # nothing is taken any more
        self.clock_watch: ClockWatch | None = None  # from `load` on
        self.watchdog: Watchdog | None = None  # from `load` on, where recording is on
        self._facts: dict[str, str] = {}  # small facts from the database

    @property
    def hub(self) -> Hub:
        """The hub. Raises `Unavailable` while loading."""
        return self._loaded()[0]

    @property
    def intake(self) -> Intake:
        """The intake. Raises `Unavailable` while loading."""
        return self._loaded()[1]

    @property
    def recording(self) -> SqliteStore:
        """The store. Raises `NotRecording` where there is none, `Unavailable` while loading."""
        self._loaded()
        if self.store is None:
            raise NotRecording("recording is off", hint="PERSIST=1 switches it on")
        return self.store

    @property
    def upkeep(self) -> Maintenance:
        """The jobs. Raises `NotRecording` where there are none, `Unavailable` while loading."""
        self._loaded()
        if self.maintenance is None:
            raise NotRecording("recording is off", hint="PERSIST=1 switches it on")
        return self.maintenance

    @property
    def commits(self) -> bool:
        """Whether an ack means that it is on disk."""
        return self.settings.durability == "commit"

    @property
    def loss_window_ms(self) -> int:
        """How much acked time a crash can cost."""
        return 0 if self.commits else self.settings.snapshot_interval

    @property
    def eraser(self) -> Eraser:
        """What erases. Raises `NotRecording` where there is nothing to erase, `Unavailable` while loading."""
        self._loaded()
        if self._eraser is None:
            raise NotRecording("recording is off", hint="PERSIST=1 switches it on")
        return self._eraser

    def not_ready(self) -> str | None:
        """Why it is not ready to serve, or None where it is."""
        return health.not_ready(self)

    async def load(self) -> None:
        """Load the recording and begin. Raises `StoreUnreadable`."""
        oldest = None if self.store is None else partial(getattr, self.store, "oldest")
        states, ids = CurrentStates(), RecentIds(self.settings.dedupe_ids, oldest)
        sequencer = await self._load_store(states, ids)
        # Where an ack means "on disk", nothing is seen before it is there.
        held = Held(sequencer, states) if self.store is not None and self.commits else None
        hub = await self._stack.enter_async_context(
            Hub.run(
                held or sequencer,
                held.states if held is not None else states,
                self.store,
                lambda: 0 if self.store is None else self.store.durable,
                limits=socket_limits(self.settings),
                heartbeat_seconds=self.settings.heartbeat_interval / 1000,
                signed_head=self._signed_head,
                head_seconds=self.settings.head_interval / 1000,
                durability=self.settings.durability,
                loss_window_ms=self.loss_window_ms if self.store is not None else 0,
                clock=self.clock,
                metrics=self.metrics,
            )
        )
        self.clock_watch = watch = ClockWatch(
            self.clock,
            self.metrics,
            lambda: sequencer.recorded_at,
            doubted_since=self._facts.get("clock_doubt", ""),
            is_trusted=self.settings.trust_clock,
        )
        watch.look()
        await self._stack.enter_async_context(looking("jobs-clock", watch.look))
        self.room = await self._stack.enter_async_context(
            Room.watch(self.store or states, self._memory_limit, prunes=self._prunes_memory)
        )
        intake = Intake(
            sequencer,
            ids,
            hub,
            self.store,
            self.clock,
            self.metrics,
            limits=publish_limits(self.settings),
            redactor=redactor_of(self.settings),
            refusal=self.room.refusal,
            held=held,
        )
        if self.store is not None:
            self.store.on_withdrawn(intake.withdraw)
            store = self.store
            store.on_progress(lambda: hub.recorded(store.recorded))
            store.on_progress(intake.on_progress)
            store.on_progress(self.room.on_progress)
            await self._start_jobs(self.store, watch)
            eraser = Eraser.run(self.store, intake, hub, self.clock)
            self._eraser = await self._stack.enter_async_context(eraser)
        self._stack.callback(self.stop_intake)
        self._parts = (hub, intake)
        health.offer_gauges(self, hub)
        self.loading = ""
        self.door.open(hub, intake)

    def stop_intake(self) -> None:
        """Take nothing more and admit nobody; what was accepted is still recorded."""
        self.stopping = True
        self.door.shut("stopping")
        if self._parts is not None:
            self._parts[1].close()

    def renew_tokens(self) -> int:
        """Read the files of tokens and of keys again. What was granted by one that is gone ends, with 4401.

        Returns:
            How many connections were closed for it. Answers under way end with their next piece.

        Raises:
            InvalidSetting: A file cannot be read or used; everything stays as it was.
        """
        authority = self.request_guard.authority
        authority.renew(authority_of(self.settings, self.clock.now_ms))
        closed = 0 if self._parts is None else self._parts[0].revoke(authority.holds)
        logger.bind(closed=closed).info("tokens and keys are read again")
        return closed

    def end_streams(self) -> None:
        """Let every `/api/stream` end behind what is queued for it."""
        if self._parts is not None:
            self._parts[0].end_streams()

    async def publish(self, text: bytes, *, lines: bool = False) -> Accepted:
        """Record and broadcast the deltas of a JSON text, all or none.

        Args:
            text: One delta or an array of deltas; NDJSON with `lines`.
            lines: Whether it is NDJSON.

        Returns:
            Their places, once they are recorded.

        Raises:
            RecorderError: Nothing of it was taken.
        """
        intake = self.intake
        await intake.room()
        accepted = intake.accept_lines(text) if lines else intake.accept(text)
        await intake.until_recorded(accepted.through)
        return accepted

    def subscribe(
        self,
        *,
        sessions: Iterable[str] | str | None = None,
        types: Iterable[str] | str | None = None,
        since: str | int | None = None,
    ) -> EmbeddedSubscription:
        """Subscribe in this process.

        Args:
            sessions: Only these, or only this one; None for all.
            types: Only these, or only this one; None for all.
            since: As on the wire: latest, earliest, state, `epoch:seq`, `epoch:seq:hash`, a seq, or a time.

        Returns:
            To be used in `async with`, and iterated for its events (dictionaries, as on the wire).

        Raises:
            BadSubscription: A value is not allowed.
        """
        wanted = Subscription(
            None if sessions is None else check_sessions(names_of("sessions", sessions)),
            None if types is None else check_types(names_of("types", types)),
            parse_since(since),
        )
        return EmbeddedSubscription(self.hub, wanted)

    async def _signed_head(self) -> Signed[Head] | None:
        return None if self.store is None else await self.store.head()

    @property
    def _prunes_memory(self) -> bool:
        """Whether the oldest give way at the limit of memory, and not the publishers."""
        return self.store is not None and self.settings.memory_full_policy == "prune"

    @property
    def _memory_limit(self) -> int | None:
        """Bytes the database in memory may take."""
        if self.settings.max_memory is not None:
            return self.settings.max_memory
        available = available_memory()
        # The other half is for the living sessions' states, for what is on its way, and for connections.
        return None if available is None else available // 2

    @property
    def _max_bytes(self) -> int | None:
        """The size at which the oldest go."""
        limits = [self.settings.max_db_bytes, self._memory_limit if self._prunes_memory else None]
        return min((limit for limit in limits if limit is not None), default=None)

    def _loaded(self) -> tuple[Hub, Intake]:
        if self.stopping and self._parts is None:
            raise Closed("the recorder is stopping")
        if self._parts is None:
            raise Unavailable(f"the recorder is {self.loading}", hint="try again in a moment")
        return self._parts

    async def _load_store(self, states: CurrentStates, ids: RecentIds) -> Sequencer:
        chained = self.settings.hash_chain
        if self.store is None:
            return Sequencer(new_epoch(self.clock.now_ms()), 0, GENESIS if chained else None, "", states)
        store, begin = self.store, self.clock.monotonic()
        loaded = await store.load(self._on_loading)
        after = ""
        while rows := await store.states.living(after):
            states.load(rows)
            after = rows[-1][0]
        used = 0
        while known := await store.ids(used):
            ids.load(known)
            used = known[-1][1]
        logger.bind(
            deltas=loaded.count,
            sessions=len(states),
            epoch=loaded.epoch,
            head=loaded.head,
            seconds=round(self.clock.monotonic() - begin, 3),
        ).info("recording loaded")
        self._facts = loaded.meta
        return Sequencer(
            loaded.epoch, loaded.head, loaded.last_hash if chained else None, loaded.last_recorded_at, states
        )

    def _on_loading(self, left: int, total: int) -> None:
        done = 100 * (total - left) // max(total, 1)
        self.loading = f"loading ({done} %)"
        logger.bind(percent=done).info("loading")

    async def _start_jobs(self, store: SqliteStore, watch: ClockWatch) -> None:
        settings = self.settings
        self.maintenance = Maintenance(
            store,
            Retention(settings.retention_days, settings.max_deltas, self._max_bytes),
            self.clock,
            self.metrics,
            self._facts.get("last_prune_at"),
            on_pruned=self.room.look if self.room is not None else None,
            clock_watch=watch,
        )
        scheduler = await self._stack.enter_async_context(
            Scheduler.run(self.maintenance, settings.snapshot_interval)
        )
        store.on_progress(scheduler.on_progress)
        watch.on_step = scheduler.on_clock_step
        self.watchdog = await self._stack.enter_async_context(
            Watchdog.run(store, self.maintenance, self.clock, settings.snapshot_interval, scheduler.tasks)
        )


def _signer(settings: Settings) -> Sign | None:
    """What signs heads and receipts. Raises `InvalidSetting` where there can be no key."""
    if settings.key_file is None:
        return None
    key = open_key(settings.key_file)
    return signer(key.key_id, key.sign, known_keys(settings.key_file))


def socket_limits(settings: Settings) -> SocketLimits:
    """What connections may do."""
    return SocketLimits(
        soft_bytes=settings.slow_soft_bytes,
        soft_seconds=settings.slow_soft_time / 1000,
        hard_bytes=settings.slow_hard_bytes,
        linger_seconds=settings.slow_close_grace / 1000,
        ping_interval=settings.ping_interval / 1000,
        ping_timeout=settings.ping_timeout / 1000,
        compression=settings.compression,
        sessions=settings.max_subscription_sessions,
        subscribes_per_minute=settings.max_subscribes_per_minute,
    )


def redactor_of(settings: Settings) -> Redactor | None:
    """What takes secrets out of states, where the settings ask for it. Raises `InvalidSetting` where there is no key."""
    if not settings.redact_keys and not settings.redact_patterns:
        return None
    # Ed25519 signs the same with the same: a salt that lasts as long as the key, is nowhere else, and needs no file.
    salt = (
        os.urandom(32)
        if settings.key_file is None
        else open_key(settings.key_file).sign(b"recorder/redact/1")
    )
    return Redactor(settings.redact_keys, settings.redact_patterns, salt)


def publish_limits(settings: Settings) -> PublishLimits:
    """What one publish may hold."""
    return PublishLimits(
        settings.max_delta_bytes,
        settings.max_message_bytes,
        settings.max_deltas_per_message,
        settings.max_json_depth,
    )


def publish_rate(settings: Settings) -> PublishRate:
    """How fast a publisher may go."""
    return PublishRate(settings.publish_rate, settings.publish_burst, settings.publish_max_delay / 1000)


@asynccontextmanager
async def prepare_recorder(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Recorder]:
    """A recorder that holds its file but has not loaded it; `load` begins.

    Args:
        settings: Its settings.
        clock: The machine's by default.

    Raises:
        InvalidSetting: A file with tokens or keys cannot be used.
        StoreLocked, StoreUnreadable: The file cannot be used; it is left as it is.
    """
    clock = clock or SystemClock()
    metrics = Metrics()
    authority = authority_of(settings, clock.now_ms)
    async with AsyncExitStack() as stack:
        store: SqliteStore | None = None
        if settings.persist:
            config = StoreConfig(
                settings.db_path,
                settings.snapshot_interval,
                settings.dedupe_ids,
                settings.queue_max_deltas,
                settings.queue_max_bytes,
                commit=settings.durability == "commit",
                accept_loss=settings.allow_data_loss,
                accept_gap=settings.accept_gap,
                new_epoch=settings.new_epoch,
                log_entries=settings.log_level in ("trace", "debug"),
                sign=_signer(settings),
            )
            store = await stack.enter_async_context(SqliteStore.open(config, clock, metrics))
        parts = await stack.enter_async_context(AsyncExitStack())  # closed before the store
        recorder = Recorder(settings, store, authority, clock, metrics, parts)
        yield recorder


@asynccontextmanager
async def open_recorder(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Recorder]:
    """A recorder in one's own program: `async with open_recorder(load_settings(persist="1")) as recorder:`.

    Args:
        settings: Its settings; HOST, PORT and what concerns connections have no effect.
        clock: The machine's by default.

    Raises:
        StoreLocked, StoreUnreadable: The file cannot be used; it is left as it is.
    """
    async with prepare_recorder(settings, clock=clock) as recorder:
        await recorder.load()
        yield recorder
