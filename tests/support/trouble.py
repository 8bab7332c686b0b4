"""Trouble for a store, on purpose: recording that is held up or fails, a file that refuses to be written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.app import App


@asynccontextmanager
async def recording_held_up(app: App) -> AsyncIterator[None]:
    """Nothing is recorded or read within the block."""
    go_on = threading.Event()
    held = asyncio.create_task(app.recorder.recording._memory.run(lambda conn: go_on.wait()), name="held-up")
    try:
        yield
    finally:
        go_on.set()
        await held


async def break_recording(app: App) -> None:
    """Have the next delta not be recorded, for good. Whoever closes the recorder gets `StoreError`."""
    change = "ALTER TABLE session_states RENAME COLUMN count TO number"
    await app.recorder.recording._memory.run(lambda conn: conn.execute(change))


async def refuse_writing(app: App, *, yes: bool = True) -> None:
    """Have the database file refuse to be written, as a full disk would; or take it back."""
    await app.recorder.recording._file.run(lambda conn: conn.execute(f"PRAGMA query_only = {int(yes)}"))
