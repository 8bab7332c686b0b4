"""The recorder itself, without a server: everything wired together, opened and closed in one place.

    settings ─▶ open_recorder ─▶ store ◀─ maintenance ◀─ scheduler
                                   ▲
        publish ─▶ ingest ─▶ sequencer ─▶ hub ─▶ subscribers

Each part is entered on one `AsyncExitStack` and left in reverse order: the ingest refuses first, then the jobs stop,
then every subscription ends, and last the store records what is queued, takes a last snapshot and lets the file go.

A `Recorder` is built loaded: it has no part that comes later. Taking and checking the file comes first and fails fast;
loading it may take seconds. What exists meanwhile is a `Loading`, so that a server can listen and say how far it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from loguru import logger

import recorder.core.logging  # noqa: F401 - a library is silent until its log is configured
from recorder.auth.signing import known_keys, note_sealed, open_key, sealed_epochs
from recorder.config.settings import Settings
from recorder.core.chain import GENESIS
from recorder.core.clock import Clock, SystemClock
from recorder.core.errors import NotRecording
from recorder.core.metrics import Metrics
from recorder.core.position import new_epoch
from recorder.core.redaction import Redactor
from recorder.core.timestamps import parse_ms
from recorder.engine.answers import Accepted
from recorder.engine.hub import Hub
from recorder.engine.idempotency import RecentIds
from recorder.engine.ingest import Ingest
from recorder.engine.local_subscription import Subscription as EmbeddedSubscription
from recorder.engine.loop_guard import LoopGuard, one_loop
from recorder.engine.periodic import periodically
from recorder.engine.prepare import PublishLimits
from recorder.engine.sequencer import Sequencer
from recorder.engine.session_states import CurrentStates
from recorder.engine.uncommitted import Uncommitted
from recorder.jobs.clock_watch import ClockWatch
from recorder.jobs.erasure import Eraser
from recorder.jobs.memory_guard import MemoryGuard, available_memory
from recorder.jobs.retention import Maintenance, Retention
from recorder.jobs.scheduler import Scheduler
from recorder.jobs.watchdog import LOOK_SECONDS, Watchdog
from recorder.store.contract import Store
from recorder.store.sqlite.config import StoreConfig
from recorder.store.sqlite.receipts import Sign, signer
from recorder.store.sqlite.store import SqliteStore
from recorder.wire.subscribe import Subscription, check_sessions, check_types, names_of, parse_since

READY_HELP = "1 when ready to serve"


@dataclass(frozen=True, slots=True)
class Recording:
    """The parts of a recorder that exist only while recording is on.

    Args:
        store: Where it records.
        maintenance: Takes snapshots and prunes.
        eraser: Erases.
        watchdog: Notices what should happen and does not.
    """

    store: Store
    maintenance: Maintenance
    eraser: Eraser
    watchdog: Watchdog


class Recorder:
    """A recorder in this process, loaded. Made by `open_recorder`.

    Args:
        settings: Its settings.
        hub: Has the subscriptions.
        ingest: Takes what is published.
        clock_watch: Watches the wall clock.
        memory_guard: Watches how much memory the recording takes.
        recording: What records; None where recording is off.
        clock, metrics: As everywhere.
    """

    def __init__(
        self,
        settings: Settings,
        hub: Hub,
        ingest: Ingest,
        clock_watch: ClockWatch,
        memory_guard: MemoryGuard,
        recording: Recording | None,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.hub = hub
        self.ingest = ingest
        self.clock_watch = clock_watch
        self.memory_guard = memory_guard
        self.clock = clock
        self.metrics = metrics
        self.stopping = False  # nothing is taken any more
        self._recording = recording
        self._guard = LoopGuard("recorder")  # whose parts are used in one thread
        _offer_gauges(self)

    @property
    def is_recording(self) -> bool:
        """Return whether published deltas are recorded."""
        return self._recording is not None

    @property
    def store(self) -> Store | None:
        """The store; None where recording is off."""
        return None if self._recording is None else self._recording.store

    @property
    def recording(self) -> Store:
        """The store. Raises `NotRecording` where recording is off."""
        return self.parts.store

    @property
    def maintenance(self) -> Maintenance:
        """The maintenance that takes snapshots and prunes. Raises `NotRecording` if recording is off."""
        return self.parts.maintenance

    @property
    def eraser(self) -> Eraser:
        """The eraser of content. Raises `NotRecording` if recording is off."""
        return self.parts.eraser

    @property
    def parts(self) -> Recording:
        """All that records.

        Raises:
            NotRecording: Recording is off.
            WrongEventLoop: It is asked for in another thread than the recorder's.
        """
        self._guard.check_thread()
        if self._recording is None:
            raise NotRecording("recording is off", hint="PERSIST=1 switches it on")
        return self._recording

    @property
    def loss_window_ms(self) -> int:
        """About how much acked time a crash can cost, in milliseconds, while /readyz is green."""
        return loss_window_ms(self.settings)

    def not_ready(self) -> str | None:
        """Return why it is not ready to serve, in words, or None where it is."""
        if self.stopping:
            return "stopping"
        store = self.store
        if store is not None and store.fatal_error is not None:
            return f"recording failed: {store.fatal_error}"
        if store is not None and store.disk_error is not None:
            return f"nothing can be put on disk: {store.disk_error}"
        if (rejection := self.memory_guard.rejection()) is not None:
            return f"the memory limit is reached: {rejection.message}"
        return None if self._recording is None else _not_kept_up(self._recording)

    def stop_ingest(self) -> None:
        """Take nothing more; what was accepted is still recorded."""
        self.stopping = True
        self.ingest.close()

    async def publish(self, text: bytes, *, lines: bool = False) -> Accepted:
        """Record and broadcast the deltas of a JSON text, all or none.

        Args:
            text: One delta or an array of deltas; NDJSON with `lines`.
            lines: Whether it is NDJSON.

        Returns:
            Their places, once they are recorded.

        Raises:
            RecorderError: Nothing of it was taken.
            WrongEventLoop: It is called on another event loop than that on which the recorder was opened.
        """
        ingest = self.ingest
        await ingest.until_capacity()
        accepted = await ingest.take(await ingest.prepare(text, lines=lines))
        await ingest.until_recorded(accepted.highest_seq)
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


class Loading:
    """A recorder that holds its file and is not loaded yet. Made by `prepare_recorder`; `load` makes the recorder.

    Args:
        settings: Its settings.
        store: Where it will record, open; None where recording is off.
        clock, metrics: As everywhere.
        stack: Closes what `load` opens, before the store is closed.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store | None,
        clock: Clock,
        metrics: Metrics,
        stack: AsyncExitStack,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.metrics = metrics
        self.progress = "loading"  # how far it is, in words
        self._store = store
        self._stack = stack
        metrics.gauge("recorder_ready", READY_HELP, lambda: 0.0)

    @property
    def is_recording(self) -> bool:
        """Return whether published deltas will be recorded."""
        return self._store is not None

    def not_ready(self) -> str:
        """Return why it is not ready to serve."""
        return self.progress

    async def load(self) -> Recorder:
        """Load the recording and begin.

        Raises:
            StoreUnreadable: The file cannot be used; it is left as it is.
        """
        oldest = None if self._store is None else partial(getattr, self._store, "oldest")
        states, ids = CurrentStates(), RecentIds(self.settings.dedupe_ids, oldest)
        sequencer, facts = await self._load_store(states, ids)
        # Where an ack means "on disk", nothing is seen before it is there.
        is_held = self._store is not None and self.settings.durability == "commit"
        held = Uncommitted(sequencer, states) if is_held else None
        hub = await self._open_hub(held or sequencer, held.states if held is not None else states)
        watch = await self._watch_clock(sequencer, facts)
        guard = await self._stack.enter_async_context(
            MemoryGuard.watch(self._store or states, self._memory_limit, prunes=self._prunes_memory)
        )
        ingest = self._ingest(sequencer, ids, hub, guard, held)
        recording = None
        if self._store is not None:
            recording = await self._start_recording(self._store, hub, ingest, watch, guard, facts)
        recorder = Recorder(self.settings, hub, ingest, watch, guard, recording, self.clock, self.metrics)
        self._stack.callback(recorder.stop_ingest)
        return recorder

    async def _open_hub(self, order: Sequencer | Uncommitted, states: CurrentStates) -> Hub:
        settings, store = self.settings, self._store
        return await self._stack.enter_async_context(
            Hub.run(
                order,
                states,
                store,
                lambda: 0 if store is None else store.durable,
                catchups=settings.max_concurrent_catchups,
                heartbeat_seconds=settings.heartbeat_interval / 1000,
                signed_head=_no_head if store is None else store.head,
                head_seconds=settings.head_interval / 1000,
                durability=settings.durability,
                loss_window_ms=0 if store is None else loss_window_ms(settings),
                clock=self.clock,
                metrics=self.metrics,
            )
        )

    async def _watch_clock(self, sequencer: Sequencer, facts: dict[str, str]) -> ClockWatch:
        watch = ClockWatch(
            self.clock,
            self.metrics,
            lambda: sequencer.recorded_at,
            doubted_since=facts.get("clock_doubt", ""),
            is_trusted=self.settings.trust_clock,
        )
        watch.look()
        await self._stack.enter_async_context(periodically("jobs-clock", watch.look, LOOK_SECONDS))
        return watch

    def _ingest(
        self, sequencer: Sequencer, ids: RecentIds, hub: Hub, guard: MemoryGuard, held: Uncommitted | None
    ) -> Ingest:
        return Ingest(
            sequencer,
            ids,
            hub,
            self._store,
            self.clock,
            self.metrics,
            limits=publish_limits(self.settings),
            redactor=redactor_of(self.settings),
            refusal=guard.rejection,
            held=held,
        )

    async def _start_recording(
        self,
        store: Store,
        hub: Hub,
        ingest: Ingest,
        watch: ClockWatch,
        guard: MemoryGuard,
        facts: dict[str, str],
    ) -> Recording:
        settings, enter = self.settings, self._stack.enter_async_context
        store.on_rolled_back(ingest.roll_back)
        for callback in (lambda: hub.recorded(store.recorded), ingest.on_progress, guard.on_progress):
            store.on_progress(callback)
        maintenance = Maintenance(
            store,
            Retention(settings.retention_days, settings.max_deltas, self._max_bytes),
            self.clock,
            self.metrics,
            facts.get("last_prune_at"),
            on_pruned=guard.look,
            clock_watch=watch,
        )
        scheduler = await enter(Scheduler.run(maintenance, settings.snapshot_interval))
        store.on_progress(scheduler.on_progress)
        watch.on_step = scheduler.on_clock_step
        tasks = [*scheduler.tasks, *guard.tasks]
        watchdog = await enter(
            Watchdog.run(store, maintenance, self.clock, settings.snapshot_interval, tasks)
        )
        eraser = await enter(Eraser.run(store, ingest, hub, self.clock))
        return Recording(store, maintenance, eraser, watchdog)

    @property
    def _prunes_memory(self) -> bool:
        """Return whether memory full evicts the oldest deltas instead of rejecting publishers."""
        return self._store is not None and self.settings.memory_full_policy == "prune"

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

    async def _load_store(self, states: CurrentStates, ids: RecentIds) -> tuple[Sequencer, dict[str, str]]:
        """Fill states and ids; return the sequencer to continue with, and the database's metadata."""
        chained = self.settings.hash_chain
        if self._store is None:
            hash_ = GENESIS if chained else None
            return Sequencer(new_epoch(self.clock.now_ms()), 0, hash_, "", states), {}
        store, begin = self._store, self.clock.monotonic()
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
        hash_ = loaded.last_hash if chained else None
        return Sequencer(loaded.epoch, loaded.head, hash_, loaded.last_recorded_at, states), loaded.meta

    def _on_loading(self, left: int, total: int) -> None:
        done = 100 * (total - left) // max(total, 1)
        self.progress = f"loading ({done} %)"
        logger.bind(percent=done).info("loading")


async def _no_head() -> None:
    """Return the signed head of a recorder that records nothing: none."""


def loss_window_ms(settings: Settings) -> int:
    """Return about how much acked time a crash can cost, in milliseconds, while snapshots succeed."""
    return 0 if settings.durability == "commit" else settings.snapshot_interval


def _not_kept_up(recording: Recording) -> str | None:
    """Return why what is recorded is not kept up on disk, or None where it is."""
    maintenance = recording.maintenance
    if maintenance.snapshot_error is not None:
        failures = maintenance.snapshot_failures
        return f"snapshots fail ({failures} in a row): {maintenance.snapshot_error}"
    return recording.watchdog.overdue()


def _offer_gauges(recorder: Recorder) -> None:
    """Register the gauges of the recorder's parts with the metrics."""
    gauge, hub, guard, watch = (
        recorder.metrics.gauge,
        recorder.hub,
        recorder.memory_guard,
        recorder.clock_watch,
    )
    gauge("recorder_ready", READY_HELP, lambda: float(recorder.not_ready() is None))
    gauge("recorder_recording", "1 when what is published is recorded", lambda: float(recorder.is_recording))
    gauge("recorder_head", "Highest seq given", lambda: hub.head)
    gauge("recorder_tasks", "Tasks of the event loop", lambda: len(asyncio.all_tasks()))
    if guard.limit is not None:
        gauge("recorder_memory_bytes", "Memory that the database takes", lambda: guard.used)
        gauge("recorder_memory_limit_bytes", "Memory that it may take", lambda: guard.limit)
    gauge("recorder_subscribers", "Connections that subscribe", lambda: hub.subscribers)
    gauge("recorder_catching_up", "Subscribers being sent history or states", lambda: hub.catching_up)
    gauge("recorder_outbox_bytes", "Bytes written to subscribers and not yet taken", lambda: hub.outbox_bytes)
    gauge("recorder_slowest_lag_bytes", "The same, of the slowest subscriber", lambda: hub.lag_bytes)
    gauge(
        "recorder_slowest_lag_deltas",
        "Distance of the slowest catching up to the head",
        lambda: hub.lag_deltas,
    )
    gauge(
        "recorder_clock_behind_seconds",
        "How far the clock is behind the newest record",
        lambda: watch.behind_ms / 1000,
    )
    if recorder.is_recording:
        _offer_recording_gauges(recorder.parts, recorder.metrics, recorder.clock)


def _offer_recording_gauges(recording: Recording, metrics: Metrics, clock: Clock) -> None:
    gauge, store, maintenance = metrics.gauge, recording.store, recording.maintenance
    gauge("recorder_recorded_head", "Highest seq recorded in memory", lambda: store.recorded)
    gauge("recorder_durable_head", "Highest seq on disk", lambda: store.durable)
    gauge("recorder_oldest", "First seq kept", lambda: store.oldest)
    gauge("recorder_deltas", "Deltas kept", lambda: store.count)
    gauge("recorder_queue_deltas", "Deltas accepted and not yet recorded", lambda: store.waiting)
    gauge("recorder_snapshot_size_bytes", "Size of the database file", store.file_size)
    gauge(
        "recorder_snapshot_age_seconds",
        "Time since the last snapshot",
        lambda: _snapshot_age(recording, clock),
    )
    gauge(
        "recorder_snapshot_lag_seconds",
        "How long the file is behind",
        lambda: recording.watchdog.lag_seconds,
    )
    gauge(
        "recorder_prune_withheld",
        "1 while pruning by age waits because the clock is in doubt",
        lambda: float(maintenance.withheld is not None),
    )


def _snapshot_age(recording: Recording, clock: Clock) -> float | None:
    """Return seconds since the last snapshot; None before the first."""
    if recording.maintenance.saved_at is not None:
        return clock.monotonic() - recording.maintenance.saved_at
    last = recording.store.last_snapshot_at
    return None if last is None else max(0.0, (clock.now_ms() - parse_ms(last)) / 1000)


def _signer(settings: Settings) -> Sign | None:
    """Return what signs heads and receipts. Raises `InvalidSetting` where there can be no key."""
    if settings.key_file is None:
        return None
    key = open_key(settings.key_file)
    path = settings.key_file
    return signer(key.key_id, key.sign, known_keys(path), sealed_epochs(path), partial(note_sealed, path))


def redactor_of(settings: Settings) -> Redactor | None:
    """Return what takes secrets out of states, where the settings ask for it.

    Raises:
        InvalidSetting: There is no key.
    """
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
    """Return what one publish may hold."""
    return PublishLimits(
        settings.max_delta_bytes,
        settings.max_message_bytes,
        settings.max_deltas_per_message,
        settings.max_json_depth,
    )


@one_loop("recorder")
@asynccontextmanager
async def prepare_recorder(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Loading]:
    """Open a recorder as far as it goes fast: its file is taken and checked, and not loaded.

    Args:
        settings: Its settings.
        clock: The machine's by default.

    Raises:
        InvalidSetting: The file with the key cannot be used.
        StoreLocked, StoreUnreadable: The file cannot be used; it is left as it is.
    """
    clock = clock or SystemClock()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        store: Store | None = None
        if settings.persist:
            config = StoreConfig(
                settings.db_path,
                settings.snapshot_interval,
                settings.dedupe_ids,
                settings.queue_max_deltas,
                settings.queue_max_bytes,
                commit=settings.durability == "commit",
                allow_data_loss=settings.allow_data_loss,
                accept_gap=settings.accept_gap,
                new_epoch=settings.new_epoch,
                log_entries=settings.log_level in ("trace", "debug"),
                sign=_signer(settings),
            )
            store = await stack.enter_async_context(SqliteStore.open(config, clock, metrics))
        parts = await stack.enter_async_context(AsyncExitStack())  # closed before the store
        yield Loading(settings, store, clock, metrics, parts)


@one_loop("recorder")
@asynccontextmanager
async def open_recorder(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Recorder]:
    """Open a recorder in one's own program: `async with open_recorder(load_settings(persist="1")) as recorder:`.

    It belongs to the event loop on which it is opened: what is called on another one, or in another thread, raises
    WrongEventLoop, and so does closing it there.

    Args:
        settings: Its settings; HOST, PORT and what concerns connections have no effect.
        clock: The machine's by default.

    Raises:
        StoreLocked, StoreUnreadable: The file cannot be used; it is left as it is.
    """
    async with prepare_recorder(settings, clock=clock) as loading:
        yield await loading.load()
