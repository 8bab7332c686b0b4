"""The whole of a store: what the recorder uses of one is in the contract, and every store keeps to it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import recorder
from recorder.core.errors import Closed, StoreError
from recorder.store.contract import EventStore, JobLog, JobRun, StateStore, Store
from tests.contract.conftest import Factory

PACKAGE = Path(recorder.__file__).parent
OPENS_ONE = {
    "recorder.store.sqlite.config",
    "recorder.store.sqlite.store",
    "recorder.store.sqlite.receipts",
}
"""What the app imports to open a store, and to have it sign."""


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize(
    "folder", ["api", "auth", "bridges", "core", "engine", "jobs", "net", "server", "wire"]
)
def test_nothing_but_the_app_knows_of_what_kind_the_store_is(folder: str) -> None:
    found = {
        str(path.relative_to(PACKAGE)): kinds
        for path in (PACKAGE / folder).rglob("*.py")
        if (kinds := {name for name in imports(path) if name.startswith("recorder.store.sqlite")})
    }
    assert found == {}


def test_the_app_knows_it_only_to_open_it() -> None:
    found = {name for name in imports(PACKAGE / "app.py") if name.startswith("recorder.store.sqlite")}
    assert found <= OPENS_ONE


def test_the_contract_knows_no_store() -> None:
    assert not [name for name in imports(PACKAGE / "store" / "contract.py") if ".sqlite" in name]


async def test_a_store_has_every_part_of_the_contract(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        store = stores.store
        assert isinstance(store, Store)
        assert isinstance(store, EventStore)
        assert isinstance(store.states, StateStore)
        assert isinstance(store.runs, JobLog)


async def test_what_does_not_follow_is_taken_neither_whole_nor_in_part(
    open_stores: Factory, tmp_path: Path
) -> None:
    with pytest.raises(StoreError):  # noqa: PT012 - closing says it, too
        async with open_stores(tmp_path) as stores:
            store = stores.store
            told: list[str | None] = []
            store.on_progress(lambda: told.append(store.fatal_error))
            stores.put()
            await store.flush()
            first, missing, third = (stores.feeder.entry() for _ in range(3))
            with pytest.raises(StoreError):
                store.extend([first, third])
            assert store.recorded == 1
            assert store.fatal_error is not None
            assert told[-1] == store.fatal_error
            with pytest.raises(StoreError):
                store.extend([first, missing, third])


async def test_small_facts_and_runs_are_there_again(open_stores: Factory, tmp_path: Path) -> None:
    run = JobRun("prune", "2026-11-20T12:00:00.000000Z", 5, "ok", {"deleted": 3})
    async with open_stores(tmp_path) as stores:
        await stores.store.set_metadata(last_prune_at="then")
        assert stores.store.is_dirty
        await stores.store.runs.add(run)
        await stores.store.runs.add(JobRun("snapshot", run.started_at, 1, "failed", {}, "no"))
    async with open_stores(tmp_path) as stores:
        latest = await stores.store.runs.latest(5)
        assert [(each.name, each.outcome, each.error) for each in latest] == [
            ("snapshot", "failed", "no"),
            ("prune", "ok", None),
        ]
        assert [each.counts for each in await stores.store.runs.latest(1, "prune")] == [{"deleted": 3}]
        assert stores.loaded.meta["last_prune_at"] == "then"


async def test_ids_come_in_order_and_each_once(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        for n in range(5):
            stores.put("s", str(n), delta_id=f"i{n}")
            stores.put("s", str(n))
        await stores.store.flush()
        found = await stores.store.ids(0)
        assert [(name, seq) for name, seq, _ in found] == [(f"i{n}", 2 * n + 1) for n in range(5)]
        assert all(len(content) == 32 for _, _, content in found)
        assert await stores.store.ids(found[2][1]) == found[3:]
        assert await stores.store.ids(found[-1][1]) == []


async def test_a_snapshot_says_how_many_entries_it_brought_to_disk(
    open_stores: Factory, tmp_path: Path
) -> None:
    async with open_stores(tmp_path) as stores:
        for _ in range(7):
            stores.put()
        result = await stores.store.snapshot()
        assert (result.rows, result.head) == (7, 7)
        assert (stores.store.on_file, stores.store.durable, stores.store.is_dirty) == (7, 7, False)
        assert (await stores.store.snapshot()).rows == 0


async def test_what_is_asked_of_a_closed_store_is_told_so(open_stores: Factory, tmp_path: Path) -> None:
    async with open_stores(tmp_path) as stores:
        await stores.store.close()
        with pytest.raises(Closed):
            stores.store.extend([stores.feeder.entry()])
        with pytest.raises(Closed):
            await stores.store.ids(0)
        with pytest.raises(Closed):
            await stores.store.receipts()
        assert not (await stores.store.health_check()).ok
