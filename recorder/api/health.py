"""The figures of `GET /api/stats`, read from the recorder's parts when somebody asks."""

from __future__ import annotations

import os
from typing import Any

import orjson

from recorder.api.context import Gateway
from recorder.core.session_filter import Sessions

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


async def stats(gateway: Gateway, among: Sessions = None) -> dict[str, Any]:
    """Return the answer of `GET /api/stats`.

    Args:
        gateway: Around the recorder.
        among: Only what concerns these sessions; None for all.
    """
    figures = await _all_stats(gateway)
    recorder = gateway.recorder
    if among is None:
        return figures
    found = {name: figures[name] for name in OF_NO_SESSION if name in figures}
    if recorder.is_recording:
        found["sessionCount"], found["deltaCount"] = await recorder.recording.states.counts(among)
    return found


async def _all_stats(gateway: Gateway) -> dict[str, Any]:
    recorder = gateway.recorder
    hub = recorder.hub
    common: dict[str, Any] = {
        "epoch": hub.epoch,
        "head": hub.head,
        "subscribers": hub.subscribers,
        "publishers": gateway.connections.publishers,
        "clockBehindMs": recorder.clock_watch.behind_ms,
    }
    if not recorder.is_recording:
        return {"enabled": False, "recording": False, **common}
    store, maintenance = recorder.recording, recorder.maintenance
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
        "lastSnapshotError": maintenance.snapshot_error,
        "lastPruneAt": maintenance.last_prune_at,
        "pruneWithheld": maintenance.withheld,
        "lastLoss": None if store.last_loss is None else orjson.loads(store.last_loss),
        "lineageBreaks": recorder.metrics.lineage_breaks,
        "pid": os.getpid(),
    }
