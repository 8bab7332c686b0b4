"""How the recorder is: whether it is ready, what its figures are. Read from its parts when somebody asks."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from recorder.core.session_filter import Sessions
from recorder.engine.hub import Hub

if TYPE_CHECKING:
    from recorder.app import Recorder


def not_ready(recorder: Recorder) -> str | None:
    """Why a recorder is not ready to serve, or None where it is."""
    if recorder.stopping:
        return "stopping"
    if recorder.loading:
        return recorder.loading
    if recorder.store is not None and recorder.store.failure is not None:
        return f"recording failed: {recorder.store.failure}"
    if recorder.store is not None and recorder.store.trouble is not None:
        return f"nothing can be put on disk: {recorder.store.trouble}"
    if recorder.room is not None and (refusal := recorder.room.refusal()) is not None:
        return f"no room in memory: {refusal.message}"
    upkeep = recorder.maintenance
    if upkeep is not None and upkeep.snapshot_error is not None:
        return f"snapshots fail ({upkeep.snapshot_failures} in a row): {upkeep.snapshot_error}"
    return None if recorder.watchdog is None else recorder.watchdog.overdue()


OF_NO_SESSION = (
    "enabled",
    "recording",
    "epoch",
    "head",
    "recorded",
    "durable",
    "oldest",
    "durability",
    "lossWindowMs",
    "lastSnapshotAt",
    "lastPruneAt",
    "clockBehindMs",
)
"""The figures that whoever may see some sessions needs to know where it stands, and that tell of no other session."""


async def stats(recorder: Recorder, among: Sessions = None) -> dict[str, Any]:
    """The answer of `GET /api/stats`.

    Args:
        recorder: Which.
        among: Only what concerns these sessions; None for all.
    """
    figures = await _all_stats(recorder)
    if among is None:
        return figures
    found = {name: figures[name] for name in OF_NO_SESSION if name in figures}
    if recorder.store is not None:
        found["sessionCount"], found["deltaCount"] = await recorder.store.states.counts(among)
    return found


async def _all_stats(recorder: Recorder) -> dict[str, Any]:
    hub, store, upkeep = recorder.hub, recorder.store, recorder.maintenance
    common: dict[str, Any] = {
        "epoch": hub.epoch,
        "head": hub.head,
        "subscribers": hub.subscribers,
        "publishers": hub.publishers,
        "clockBehindMs": 0 if recorder.clock_watch is None else recorder.clock_watch.behind_ms,
    }
    if store is None or upkeep is None:
        return {"enabled": False, "recording": False, **common}
    return {
        "enabled": True,
        "recording": True,
        "dbPath": str(recorder.settings.db_path),
        "fileSize": store.file_size(),
        "deltaCount": store.count,
        "sessionCount": await store.states.count(),
        **common,
        "recorded": store.recorded,
        "durable": store.durable,
        "oldest": store.oldest,
        "durability": recorder.settings.durability,
        "lossWindowMs": recorder.loss_window_ms,
        "lastSnapshotAt": store.last_snapshot_at,
        "lastSnapshotError": upkeep.snapshot_error,
        "lastPruneAt": upkeep.last_prune_at,
        "pruneWithheld": upkeep.withheld,
        "lastLoss": None if store.last_loss is None else orjson.loads(store.last_loss),
        "lineageBreaks": recorder.metrics.lineage_breaks,
        "pid": os.getpid(),
    }


def offer_gauges(recorder: Recorder, hub: Hub) -> None:
    """Let the metrics read what the parts know."""
    gauge, store = recorder.metrics.gauge, recorder.store
    gauge("recorder_head", "Highest seq given", lambda: hub.head)
    gauge("recorder_tasks", "Tasks of the event loop", lambda: len(asyncio.all_tasks()))
    gauge("recorder_connections", "Connections open", lambda: recorder.door.admission.connections)
    unfinished = recorder.door.unfinished
    gauge(
        "recorder_partial_message_bytes", "Held of messages that are not whole yet", lambda: unfinished.total
    )
    room = recorder.room
    if room is not None and room.limit is not None:
        gauge("recorder_memory_bytes", "Memory that the database takes", lambda: room.used)
        gauge("recorder_memory_limit_bytes", "Memory that it may take", lambda: room.limit)
    gauge("recorder_subscribers", "Connections that subscribe", lambda: hub.subscribers)
    gauge("recorder_publishers", "Connections that publish", lambda: hub.publishers)
    gauge("recorder_outbox_bytes", "Bytes written to subscribers and not yet taken", lambda: hub.outbox_bytes)
    gauge("recorder_slowest_lag_bytes", "The same, of the slowest subscriber", lambda: hub.lag_bytes)
    gauge(
        "recorder_slowest_lag_deltas",
        "Distance of the slowest catching up to the head",
        lambda: hub.lag_deltas,
    )
    gauge("recorder_recording", "1 when what is published is recorded", lambda: float(store is not None))
    watch = recorder.clock_watch
    if watch is not None:
        gauge(
            "recorder_clock_behind_seconds",
            "How far the clock is behind the newest record",
            lambda: watch.behind_ms / 1000,
        )
    gauge("recorder_ready", "1 when ready to serve", lambda: float(recorder.not_ready() is None))
    if store is None:
        return
    gauge("recorder_recorded_head", "Highest seq recorded in memory", lambda: store.recorded)
    gauge("recorder_durable_head", "Highest seq on disk", lambda: store.durable)
    gauge("recorder_oldest", "First seq kept", lambda: store.oldest)
    gauge("recorder_deltas", "Deltas kept", lambda: store.count)
    gauge("recorder_queue_deltas", "Deltas accepted and not yet recorded", lambda: store.waiting)
    gauge("recorder_snapshot_size_bytes", "Size of the database file", store.file_size)
    gauge("recorder_snapshot_age_seconds", "Time since the last snapshot", lambda: _age(recorder))
    upkeep, watchdog = recorder.maintenance, recorder.watchdog
    if upkeep is not None and watchdog is not None:
        gauge("recorder_snapshot_lag_seconds", "How long the file is behind", lambda: watchdog.lag_seconds)
        gauge(
            "recorder_prune_withheld",
            "1 while pruning by age waits because the clock is in doubt",
            lambda: float(upkeep.withheld is not None),
        )


def _age(recorder: Recorder) -> float | None:
    if recorder.maintenance is not None and recorder.maintenance.saved_at is not None:
        return recorder.clock.monotonic() - recorder.maintenance.saved_at
    last = recorder.store.last_snapshot_at if recorder.store is not None else None
    if last is None:
        return None
    moment = datetime.fromisoformat(last).astimezone(UTC)
    return max(0.0, recorder.clock.now_ms() / 1000 - moment.timestamp())
