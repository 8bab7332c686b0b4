"""Costly questions take turns, and what finds no place is told so at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.app import running_app, some, turn_until
from tests.support.http import client, refused
from tests.support.trouble import recording_held_up


async def test_more_questions_at_once_than_allowed_are_told_to_come_back(tmp_path: Path) -> None:
    async with running_app(tmp_path, max_queries=2, max_exports=1) as app, client(app) as http:
        await app.publish(*some(3))
        async with recording_held_up(app):
            held = [asyncio.create_task(http.get("/api/deltas"), name=f"query-{n}") for n in range(2)]
            held.append(asyncio.create_task(http.get("/api/export"), name="export"))
            await turn_until(lambda: len(app.server.server_state.tasks) == 3)
            for path in ("/api/deltas/s", "/api/sessions", "/api/export"):
                answer = await http.get(path)
                await refused(answer, 429, "too_many")
                assert answer.headers["retry-after"] == "1"
            assert (await http.get("/healthz")).status_code == 200
        assert [(await task).status_code for task in held] == [200, 200, 200]
        assert app.recorder.metrics.refused_queries == {"queries": 2, "exports": 1}
        assert (await http.get("/api/deltas")).status_code == 200
