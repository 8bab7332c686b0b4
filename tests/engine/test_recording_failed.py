"""When recording fails for good, nobody is left waiting: not publishers, not callers, and nothing more is taken."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from recorder.app import open_recorder
from recorder.config.settings import Settings, load_settings
from recorder.core.errors import RecorderError, StoreError, Unavailable


async def break_and_publish(settings: Settings) -> None:
    """Record, break the recording, and see what waits and what comes refused."""
    async with open_recorder(settings) as recorder:
        await recorder.publish(b'{"type":"created","sessionId":"a","after":1}')

        def break_it(conn: sqlite3.Connection) -> None:
            conn.execute("DROP TABLE session_states")

        await recorder.recording._memory.run(break_it)
        with pytest.raises(RecorderError):
            await recorder.publish(b'{"type":"updated","sessionId":"a","after":2}')
        with pytest.raises(Unavailable, match="nothing can be recorded"):
            await recorder.publish(b'{"type":"updated","sessionId":"a","after":3}')
        assert "recording failed" in (recorder.not_ready() or "")


async def test_a_recording_that_fails_refuses_what_waits_and_what_comes(tmp_path: Path) -> None:
    settings = load_settings(persist=True, db_path=tmp_path / "data" / "x.sqlite")
    # Its last snapshot cannot be whole either, and it says so.
    with pytest.raises(StoreError, match="nothing can be recorded"):
        await break_and_publish(settings)
    # The file is whole up to the last snapshot, and was not marked as cleanly closed.
    conn = sqlite3.connect(tmp_path / "data" / "x.sqlite")
    try:
        assert conn.execute("SELECT value FROM meta WHERE key = 'clean'").fetchone() == ("0",)
    finally:
        conn.close()
