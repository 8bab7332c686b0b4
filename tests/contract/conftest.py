"""The stores that have to pass the suite: each is a factory here, and one line in `FACTORIES`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.core.delta import Entry
from recorder.store.contract import EventStore, Loaded, StateStore, Store
from tests.support.store import Feeder, opened


@dataclass(frozen=True)
class Stores:
    """What a factory opens on a folder.

    Args:
        store: The store under test.
    loaded: Where its recording went on.
        feeder: Makes the entries that follow what they hold.
        make_durable: Returns when everything recorded survives a crash.
        clock: Tells the feeder the time of recording.
    """

    store: Store
    loaded: Loaded
    feeder: Feeder
    make_durable: Callable[[], Awaitable[object]]
    clock: FakeClock

    @property
    def events(self) -> EventStore:
        """Its log."""
        return self.store

    @property
    def states(self) -> StateStore:
        """Its states."""
        return self.store.states

    def put(self, *args: Any, **fields: Any) -> Entry:
        """Append the next entry; arguments as of `Feeder.entry`."""
        entry = self.feeder.entry(*args, **fields)
        self.events.extend([entry])
        return entry


Factory = Callable[[Path], AbstractAsyncContextManager[Stores]]


@asynccontextmanager
async def sqlite(folder: Path) -> Any:
    clock = FakeClock()
    async with opened(folder / "sessions.sqlite", clock) as it:
        yield Stores(it.store, it.loaded, it.feeder, it.store.snapshot, clock)


FACTORIES = {"sqlite": sqlite}


@pytest.fixture(params=sorted(FACTORIES))
def open_stores(request: pytest.FixtureRequest) -> Factory:
    """Opens the stores in a folder; again in the same folder: what was there is there."""
    factory: Factory = FACTORIES[request.param]
    return factory
