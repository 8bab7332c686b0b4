"""What every route starts from: a recording that lags behind nothing a client may have seen."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.app import delta, running_app
from tests.support.http import client, get
from tests.support.trouble import recording_held_up


async def test_mistake_1_an_answer_waits_for_what_was_broadcast_before_it(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http, app.connect() as wire:
        await wire.until("live")
        async with recording_held_up(app):
            app.publish_nowait(delta(n=7))
            assert await wire.deltas(1) == [1]
            asked = [
                asyncio.create_task(get(http, path), name=path)
                for path in (
                    "/api/deltas",
                    "/api/deltas/s",
                    "/api/sessions",
                    "/api/sessions/s",
                    "/api/sessions/s?at=1",
                )
            ]
            while len(app.recorder.intake._recorded_waiters) < len(asked):
                assert (await http.get("/healthz")).status_code == 200
            assert app.recorder.recording.recorded == 0
        page, of_session, sessions, now, then = await asyncio.gather(*asked)
    assert page["deltas"] == of_session["deltas"]
    assert [page["deltas"][0]["seq"], sessions["sessions"][0]["seq"], now["seq"], then["seq"]] == [1, 1, 1, 1]
