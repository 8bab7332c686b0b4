"""The states on SQLite: what the contract leaves open."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.store.sqlite import states as module
from tests.support.store import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


async def test_those_that_live_come_in_pages_with_their_states(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOAD_ROWS", 3)
    async with opened(path) as it:
        for n in range(10):
            it.put(f"s{n}", f'"{n}"')
        it.put("s4", None)
        await it.store.snapshot()
        await it.store.prune(6, "count")
        found: list[tuple[str, int, str]] = []
        while rows := await it.store.states.living(found[-1][0] if found else ""):
            assert len(rows) <= 3
            found += rows
    assert found == [(f"s{n}", n + 1, f'"{n}"') for n in range(10) if n != 4]


async def test_a_session_is_known_while_anything_of_it_is_kept(path: Path) -> None:
    async with opened(path) as it:
        states = it.store.states
        it.put("lives")
        it.put("gone", "1")
        it.put("gone", None)
        await it.store.snapshot()
        assert (await states.known("gone"), await states.known("nobody"), await states.count()) == (
            True,
            False,
            2,
        )
        await it.store.prune(2, "count")
        assert await states.known("gone")
        await it.store.prune(3, "count")
        assert (await states.known("gone"), await states.known("lives"), await states.count()) == (
            False,
            True,
            1,
        )


async def test_a_cache_that_lags_behind_is_told_and_mended(path: Path) -> None:
    async with opened(path) as it:
        await it.record(3)
        await it.store._memory.run(lambda conn: conn.execute("UPDATE session_states SET seq = 2"))
        health = await it.store.states.health_check()
        assert (health.ok, health.reason) == (False, "the states end at 2, the log at 3")
        assert await it.store.states.rebuild() == 1
        assert (await it.store.states.health_check()).ok


async def test_a_database_that_is_broken_is_not_healthy(path: Path) -> None:
    async with opened(path) as it:
        await it.record(3)
        for table in ("session_states", "session_deltas"):
            await it.store._memory.run(
                lambda conn, t=table: conn.execute(f"ALTER TABLE {t} RENAME TO aside_{t}")
            )
        for health in (await it.store.states.health_check(), await it.store.health_check()):
            assert not health.ok
            assert "no such table" in health.reason
        for table in ("session_states", "session_deltas"):
            await it.store._memory.run(
                lambda conn, t=table: conn.execute(f"ALTER TABLE aside_{t} RENAME TO {t}")
            )
