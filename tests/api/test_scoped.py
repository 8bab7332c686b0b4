"""A token for some sessions: what it gets is what a recorder would say that had recorded these alone."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.core.clock import FakeClock
from tests.support.app import App, delta, running_app, some
from tests.support.http import bare, client, get, refused, request, walk
from tests.support.tokens import LISTED, SUBSCRIBER, bearer, key_file, signed

NAMES = ["mine", "team/a", "team/b", "yours", "Team/a", "tea%", "team", "te_m/x", "minee", "ü/1"]
SCOPE = {"sessions": ["mine"], "sessionPrefixes": ["team/", "ü"]}
OURS = {"mine", "team/a", "team/b", "ü/1"}


def scoped(app: App, **claims: Any) -> httpx.AsyncClient:
    http = client(app)
    http.headers.update(bearer(signed(["subscribe", "publish"], **(claims or SCOPE))))
    return http


async def test_lists_history_exports_and_counts_hold_its_sessions_alone(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path), **LISTED) as app, scoped(app) as http:
        await app.publish(*[delta(name, n) for n in range(3) for name in NAMES])
        for order in ("asc", "desc"):
            for limit in (1, 2, 100):
                pages = [page async for page in walk(http, "/api/deltas", "deltas", limit=limit, order=order)]
                items = [item["delta"]["sessionId"] for page in pages for item in page]
                assert (len(items), set(items)) == (3 * len(OURS), OURS)
        listed = [row async for page in walk(http, "/api/sessions", "sessions", limit=1) for row in page]
        assert sorted(row["sessionId"] for row in listed) == sorted(OURS)
        for form in ("ndjson", "json", "csv"):
            text = (await http.get("/api/export", params={"format": form})).text
            assert [name in text for name in ('"yours"', "yours,", "tea%", "Team", "minee")] == [False] * 5
            assert text.count("team/a") == 3
        stats = await get(http, "/api/stats")
        assert (stats["sessionCount"], stats["deltaCount"]) == (len(OURS), 3 * len(OURS))
        assert (
            stats.keys() & {"dbPath", "fileSize", "pid", "subscribers", "publishers", "lineageBreaks"}
            == set()
        )


async def test_a_foreign_session_is_answered_as_one_that_does_not_exist(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path), **LISTED) as app, scoped(app) as http:
        await app.publish(*some(3, "yours"), delta("mine"), delta("a/diff"))
        for path in (
            "/api/deltas/{}",
            "/api/deltas?session={}",
            "/api/deltas?session=mine&session={}",
            "/api/sessions/{}",
            "/api/sessions/{}?at=1",
            "/api/sessions/{}/diff?from=1",
            "/api/sessions/{}/blame?path=/n",
            "/api/sessions/{}%2Fdiff",
            "/api/export?session={}",
            "/api/stream?session={}",
        ):
            answers = [await http.get(path.format(name)) for name in ("yours", "never")]
            for answer, name in zip(answers, ("yours", "never"), strict=True):
                await refused(answer, 403, "not_allowed")
                assert "seq" not in answer.text.replace(name, "")
            assert answers[0].text.replace("yours", "X") == answers[1].text.replace("never", "X")
        await refused(await http.get("/api/sessions/a%2Fdiff"), 403, "not_allowed")
        await refused(
            await http.post("/api/deltas", json=[delta("mine"), delta("yours")]), 403, "not_allowed"
        )
        lines = b"".join(orjson.dumps(delta(name)) + b"\n" for name in ("mine", "yours"))
        answer = await http.post(
            "/api/deltas", content=lines, headers={"content-type": "application/x-ndjson"}
        )
        assert "line 2" in (await refused(answer, 403, "not_allowed"))["detail"]
        assert app.head == 5


async def test_hashes_are_left_out_everywhere_since_they_cover_foreign_deltas(tmp_path: Path) -> None:
    hash_like = {"seq": 1, "recordedAt": "x", "hash": "0" * 64}
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path), **LISTED) as app, scoped(app) as http:
        await app.publish(delta("mine"), delta("yours"), delta("mine", after=hash_like))
        headers = list(bearer(signed("subscribe", **SCOPE)).items())
        texts = [
            (await http.get(path)).text for path in ("/api/deltas", "/api/export", "/api/export?format=csv")
        ]
        async with http.stream("GET", "/api/stream?since=earliest") as events:
            lines = aiter(events.aiter_lines())
            texts.append("".join([await anext(lines) for _ in range(12)]))
        for target in ("/ws?since=earliest", "/ws?since=earliest&session=mine"):
            async with (
                app.connect(target, headers) as wire,
                app.connect("/ws?session=mine", list(bearer(SUBSCRIBER).items())) as whole,
            ):
                events = await wire.until("live")
                await whole.until("live")
                await app.publish(delta("mine", after=hash_like))
                texts.append(str([*events, await wire.event()]))
                assert "hash" in await whole.event()
        answer = await http.get("/api/deltas", headers=bearer(SUBSCRIBER))
        hashes = [row["hash"] for row in answer.json()["deltas"]]
        assert len(hashes) == 5
        assert [text for text in texts if any(link in text for link in hashes)] == []
        # What a publisher wrote is no hash of ours.
        assert all("0" * 64 in text for text in texts)
        # Nor can a guess be tried out as a place to resume from.
        for guess in (hashes[-2], "0" * 64):
            async with app.connect(f"/ws?since={app.at(2)}:{guess}", headers) as wire:
                assert "reset" not in [event["event"] for event in await wire.until("live")]


async def test_a_cursor_carries_no_rights(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path), **LISTED) as app, scoped(app) as http:
        await app.publish(*some(5, "yours"), *some(5, "mine"))
        whole = bearer(SUBSCRIBER)
        for path, name in (("/api/deltas", "deltas"), ("/api/sessions", "sessions")):
            cursor = (await http.get(path, params={"limit": 1}, headers=whole)).json()["next"]
            page = await get(http, path, cursor=cursor)
            assert "yours" not in str(page[name])
        foreign = (await http.get("/api/deltas?session=yours&limit=1", headers=whole)).json()["next"]
        await refused(await http.get("/api/deltas", params={"cursor": foreign}), 403, "not_allowed")
        own = (await get(http, "/api/deltas", session="mine", limit=1))["next"]
        forged = base64.urlsafe_b64decode(own + "==").replace(b'"mine"', b'"yours"')
        text = base64.urlsafe_b64encode(forged).decode().rstrip("=")
        await refused(await http.get("/api/deltas", params={"cursor": text}), 403, "not_allowed")


async def test_an_answer_under_way_ends_with_its_token(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        running_app(tmp_path, clock=clock, jwt_key_file=key_file(tmp_path)) as app,
        bare(app, receive_buffer=4096) as wire,
    ):
        await app.publish(*some(600, size=20_000))
        token = signed(exp=clock.now_ms() // 1000 + 5)
        await wire.send(request(app, "GET /api/export", list(bearer(token).items())))
        assert (await wire.head())[0] == 200
        clock.advance(10)
        assert not (await wire.rest()).endswith(b"0\r\n\r\n")
        assert app.gateway.metrics.failed_requests == 0


TEXTS = st.text(st.sampled_from("ab%_*é/\\'\""), min_size=1, max_size=3)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(TEXTS, min_size=1, max_size=12),
    exact=st.lists(TEXTS, max_size=3),
    prefixes=st.lists(TEXTS, max_size=3),
)
def test_any_scope_is_the_same_in_every_place(
    names: list[str], exact: list[str], prefixes: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(_same_everywhere(names, exact, prefixes, tmp_path_factory.mktemp("scope")))


async def _same_everywhere(names: list[str], exact: list[str], prefixes: list[str], folder: Path) -> None:
    claims = {"sessions": exact, "sessionPrefixes": prefixes}
    expected = [name for name in names if name in exact or name.startswith(tuple(prefixes))]
    async with running_app(folder, jwt_key_file=key_file(folder)) as app, scoped(app, **claims) as http:
        await app.publish(*[delta(name, n) for n, name in enumerate(names)])
        page = await get(http, "/api/deltas", order="asc")
        assert [item["delta"]["sessionId"] for item in page["deltas"]] == expected
        listed = await get(http, "/api/sessions")
        assert {row["sessionId"] for row in listed["sessions"]} == set(expected)
        shown = list(http.headers.items())
        headers = [(name, value) for name, value in shown if name == "authorization"]
        async with app.connect("/ws?since=state", headers) as wire:
            states = [event["sessionId"] for event in await wire.until("live") if event["event"] == "state"]
            assert sorted(states) == sorted(set(expected))
            await app.publish(*[delta(name, -n) for n, name in enumerate(names)], delta("end"))
            live = [(await wire.event())["delta"]["sessionId"] for _ in expected]
            assert live == expected
