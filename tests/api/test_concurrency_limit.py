"""Costly questions have so many places, whatever the method, and what finds no place is told so at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.app import running_app, some, turn_until
from tests.support.http import client, refused
from tests.support.tokens import LISTED, SUBSCRIBER, bearer
from tests.support.trouble import recording_held_up

QUESTIONS = (
    "/api/deltas",
    "/api/deltas/s",
    "/api/sessions",
    "/api/sessions/s",
    "/api/sessions/s/diff",
    "/api/sessions/s/blame",
    "/api/stats",
    "/api/head",
    "/api/receipts",
    "/api/jobs",
    "/api/export",
)


async def test_more_questions_at_once_than_allowed_are_told_to_come_back(tmp_path: Path) -> None:
    async with running_app(tmp_path, max_concurrent_queries=2, max_exports=1) as app, client(app) as http:
        await app.publish(*some(3))
        async with recording_held_up(app):
            held = [asyncio.create_task(http.get("/api/deltas"), name=f"query-{n}") for n in range(2)]
            held.append(asyncio.create_task(http.get("/api/export"), name="export"))
            await turn_until(lambda: len(app.server.server_state.tasks) == 3)
            for path in QUESTIONS:
                answer = await http.get(path)
                await refused(answer, 429, "too_many")
                assert answer.headers["retry-after"] == "1"
                assert (await http.head(path)).status_code == 429, path
            assert (await http.get("/healthz")).status_code == 200
        assert [(await task).status_code for task in held] == [200, 200, 200]
        questions = 2 * (len(QUESTIONS) - 1)
        assert app.recorder.metrics.refused_queries == {"queries": questions, "exports": 2}
        assert (await http.get("/api/deltas")).status_code == 200


@pytest.mark.parametrize("path", ["/api/deltas", "/api/sessions/s", "/api/%64eltas"])
async def test_a_head_request_takes_the_place_of_a_question(path: str, tmp_path: Path) -> None:
    async with running_app(tmp_path, max_concurrent_queries=1) as app, client(app) as http:
        await app.publish(*some(3))
        async with recording_held_up(app):
            held = asyncio.create_task(http.head(path), name="question")
            await turn_until(lambda: len(app.server.server_state.tasks) == 1)
            await refused(await http.get("/api/sessions"), 429, "too_many")
        assert (await held).status_code == 200
        assert (await http.get("/api/sessions")).status_code == 200


async def test_whoever_may_not_ask_takes_no_place_and_is_told_that_first(tmp_path: Path) -> None:
    async with running_app(tmp_path, max_concurrent_queries=1, **LISTED) as app, client(app) as http:
        await app.publish(*some(3))
        async with recording_held_up(app):
            held = asyncio.create_task(http.get("/api/deltas", headers=bearer(SUBSCRIBER)), name="question")
            await turn_until(lambda: len(app.server.server_state.tasks) == 1)
            await refused(await http.get("/api/deltas"), 401, "not_authenticated")
        assert (await held).status_code == 200
