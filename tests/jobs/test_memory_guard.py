"""The guard over memory: what happens at the limit, that publishers are told, and that it ends again."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.config.settings import load_settings
from recorder.core.errors import StorageFull
from recorder.jobs import memory_guard as module
from recorder.jobs.memory_guard import MemoryGuard, available_memory
from tests.support.app import App, delta, running_app, some, turn_until
from tests.support.http import client, refused
from tests.support.trouble import refuse_writing

LIMIT = 1 << 20


class Store:
    """Something whose size the test decides."""

    def __init__(self) -> None:
        self.recorded_bytes = 0
        self.used = 0
        self.looks = 0

    async def used_bytes(self) -> int:
        self.looks += 1
        return self.used


async def test_without_a_limit_it_never_looks() -> None:
    store = Store()
    async with MemoryGuard.watch(store, None, prunes=True) as guard:
        store.recorded_bytes = 1 << 60
        guard.on_progress()
        assert (guard.is_full, guard.rejection(), store.looks) == (False, None, 0)


@pytest.mark.parametrize(("prunes", "most"), [(False, 1000), (True, 1150)])
async def test_it_is_full_beyond_the_limit_and_a_margin_where_pruning_works(prunes: bool, most: int) -> None:
    store = Store()
    store.used = 900
    async with MemoryGuard.watch(store, 1000, prunes=prunes) as guard:
        assert (guard.used, guard.is_full) == (900, False)
        store.recorded_bytes = most - 900
        assert not guard.is_full
        store.recorded_bytes += 1
        assert guard.is_full
        rejection = guard.rejection()
        assert rejection is not None
        assert f"takes {most + 1} bytes of memory, and 1000 are allowed" in str(rejection)


async def test_it_looks_a_hundred_times_on_the_way_and_again_and_again_while_it_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN_SECONDS", 0)
    store = Store()
    async with MemoryGuard.watch(store, 10_000, prunes=False) as guard:
        for size in range(0, 1000):
            store.used = store.recorded_bytes = size
            guard.on_progress()
            await turn_until(lambda: not guard._due.is_set())
        assert 8 <= store.looks <= 12
        store.recorded_bytes = store.used = 20_000
        guard.on_progress()
        await turn_until(lambda: guard._was_full)
        store.used = 5000
        await turn_until(lambda: not guard.is_full)


async def fill(app: App) -> int:
    """Publish until there is no room; how many deltas were taken."""
    for n in range(1000):
        try:
            await app.publish(*some(50, f"s{n}", size=500))
        except StorageFull:
            return n * 50
    raise AssertionError("there was always room")


async def test_with_reject_publishers_are_told_nothing_is_pruned_and_reading_goes_on(tmp_path: Path) -> None:
    limits = {"max_memory": LIMIT, "memory_full_policy": "reject", "retention_days": 0}
    async with running_app(tmp_path, **limits) as app, client(app) as http:
        count = await fill(app)
        assert app.recorder.recording.count == count
        assert await app.recorder.recording.used_bytes() < LIMIT * 1.1
        await refused(await http.post("/api/deltas", json=delta()), 507, "storage_full")
        assert (
            "the memory limit is reached"
            in (await refused(await http.get("/readyz"), 503, "not_ready"))["detail"]
        )
        assert len((await http.get("/api/deltas", params={"limit": 10})).json()["deltas"]) == 10
        async with app.connect("/publish") as wire:
            await wire.event()
            await wire.text(delta())
            assert (await wire.event())["code"] == "storage_full"
        # Pruning by hand makes room.
        await app.recorder.recording.snapshot()
        assert await app.recorder.recording.prune(count - 100, "test")
        await app.recorder.memory_guard.look()
        assert await app.publish(delta()) == count + 1
        assert (await http.get("/readyz")).status_code == 200


async def test_with_prune_the_oldest_give_way_and_nobody_is_refused(tmp_path: Path) -> None:
    async with running_app(tmp_path, max_memory=LIMIT, retention_days=0) as app:
        recording = app.recorder.recording
        for n in range(80):
            await app.publish(*some(50, f"s{n % 3}", size=500))
            await turn_until(lambda: app.recorder.memory_guard.used <= LIMIT * 1.06)
        assert app.head == 4000
        assert recording.oldest > 1000
        assert "storage_full" not in app.gateway.metrics.refused


async def test_where_pruning_cannot_work_publishers_are_refused_before_memory_is_gone(tmp_path: Path) -> None:
    async with running_app(tmp_path, max_memory=LIMIT, retention_days=0) as app:
        await refuse_writing(app)
        count = await fill(app)
        assert app.recorder.recording.count == count
        assert await app.recorder.recording.used_bytes() < LIMIT * 1.3
        await refuse_writing(app, yes=False)


async def test_where_nothing_is_recorded_the_states_are_what_is_bounded() -> None:
    async with running_app(None, max_memory=LIMIT) as app, client(app) as http:
        # The same session again and again takes no more room.
        for _ in range(2000):
            app.publish_nowait(delta(after={"pad": "x" * 1000}))
        app.publish_nowait(*[delta(f"s{n}", after={"pad": "x" * 1000}) for n in range(700)])
        with pytest.raises(StorageFull):
            app.publish_nowait(delta())
        await refused(await http.get("/readyz"), 503, "not_ready")


def test_the_default_leaves_half_of_what_there_is() -> None:
    assert load_settings().max_memory is None
    assert load_settings(max_memory="auto").max_memory is None
    assert load_settings(max_memory="65536").max_memory == 65_536


def test_the_least_of_what_machine_and_container_give_counts(tmp_path: Path) -> None:
    machine = available_memory([])
    assert machine is not None
    assert machine > 1 << 20
    (tmp_path / "v2").write_text("max\n")
    (tmp_path / "v1").write_text("9223372036854771712\n")
    (tmp_path / "odd").write_bytes(b"\xff\n")
    files = [tmp_path / name for name in ("v2", "v1", "odd", "none")]
    assert available_memory(files) == machine
    (tmp_path / "v2").write_text("1048576\n")
    assert available_memory(files) == 1_048_576
