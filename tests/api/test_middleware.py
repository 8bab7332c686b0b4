"""The middleware: who is let through to any route, safe headers, places for costly questions, where failures end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from loguru import logger

from recorder.api.app import ROUTES
from tests.support.app import delta, running_app, some, turn_until
from tests.support.http import bare, client, refused, request
from tests.support.tokens import LISTED, PUBLISHER, SUBSCRIBER, bearer
from tests.support.trouble import recording_held_up
from tests.support.wire import Refused

TARGETS = [
    (
        method,
        route.path.replace("{session_id:path}", "s")
        .replace("{file}", "main.js")
        .replace("{part}", "resume.js"),
    )
    for route in ROUTES
    for method in sorted(route.methods or ())
]


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What the recorder logs, as `level message`."""
    lines: list[str] = []
    logger.enable("recorder")
    sink = logger.add(
        lambda message: lines.append(f"{message.record['level'].name} {message.record['message']}")
    )
    yield lines
    logger.remove(sink)
    logger.disable("recorder")


async def test_a_foreign_host_or_origin_is_refused_on_every_route(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta())
        own = app.url.removeprefix("http://")
        for method, path in [*TARGETS, ("GET", "/nowhere"), ("PUT", "/api/deltas")]:
            for name, value in (
                ("host", "evil.example"),
                ("host", f"evil.example:{own.partition(':')[2]}"),
                ("host", f"{own}.evil.example"),
                ("origin", "https://evil.example"),
                ("origin", "null"),
                ("origin", "http://127.0.0.1"),
                ("origin", f"http://{own}.evil.example"),
            ):
                response = await http.request(method, path, headers={name: value})
                assert response.status_code == 403, (method, path, name, value)
                if method != "HEAD":
                    await refused(response, 403, "not_allowed")
        assert app.head == 1
        assert (await http.get("/api/jobs")).json() == {"jobs": []}


async def test_the_recorders_own_names_and_origin_are_let_through(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        port = app.url.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LocalHost", f"[::1]:{port}", "localhost:1"):
            for headers in ({"host": host}, {"host": host, "origin": f"http://{host}"}):
                response = await http.get("/api/stats", headers=headers)
                assert response.status_code == 200, headers


async def test_the_settings_let_others_through(tmp_path: Path) -> None:
    flags = {"allowed_hosts": "recorder.example", "allowed_origins": "https://app.example"}
    async with running_app(tmp_path, **flags) as app, client(app) as http:
        for headers, status in (
            ({"host": "recorder.example"}, 200),
            ({"host": "recorder.example:443", "origin": "https://recorder.example:443"}, 200),
            ({"origin": "https://app.example"}, 200),
            ({"host": "recorder.example", "origin": "https://app.example"}, 200),
            ({"origin": "http://app.example"}, 403),
            ({"host": "app.example"}, 403),
        ):
            assert (await http.get("/api/stats", headers=headers)).status_code == status, headers


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "127.0.0.1"), ("Host", "evil.example")],
        [("Host", "evil.example"), ("Host", "127.0.0.1")],
        [("Host", "127.0.0.1"), ("Origin", "http://127.0.0.1"), ("Origin", "http://evil.example")],
        [("Host", "")],
        [("Host", "evil.example@127.0.0.1")],
        [("Host", "127.0.0.1"), ("Origin", "")],
    ],
)
async def test_headers_that_could_be_read_in_two_ways_are_refused(
    headers: list[tuple[str, str]], tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app, bare(app) as wire:
        await wire.send(request(app, "GET /api/stats", headers))
        status, _, problem = await wire.answer()
        assert (status, problem["code"]) == (403, "not_allowed")


async def test_a_request_without_a_host_is_refused(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, bare(app) as wire:
        await wire.send(b"GET /api/stats HTTP/1.0\r\n\r\n")
        assert (await wire.answer())[0] == 403


async def test_the_gate_of_http_is_that_of_websockets(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        for headers in ([("host", "evil.example")], [("origin", "https://evil.example")]):
            with pytest.raises(Refused) as caught:
                async with app.connect(headers=headers):
                    pass
            assert caught.value.status == 403


async def test_a_failure_is_told_without_details_and_logged_once_with_all(
    tmp_path: Path, log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta())
        memory = app.recorder.recording._memory
        await memory.run(lambda conn: conn.execute("ALTER TABLE job_runs RENAME TO secret_name"))
        problem = await refused(await http.get("/api/jobs"), 500, "internal_error")
        assert "job_runs" not in str(problem)
        # Other requests, on the same connection too, do not notice.
        assert (await http.get("/api/stats")).status_code == 200
        assert app.gateway.metrics.failed_requests == 1
        await memory.run(lambda conn: conn.execute("ALTER TABLE secret_name RENAME TO job_runs"))
    assert [line for line in log if line.startswith("ERROR")] == ["ERROR a request failed"]
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_a_failure_amid_an_answer_leaves_it_without_its_end(tmp_path: Path, log: list[str]) -> None:
    async with running_app(tmp_path) as app, bare(app, receive_buffer=4096) as wire:
        await app.publish(*some(600, size=10_000))
        await wire.send(request(app, "GET /api/export"))
        assert (await wire.head())[0] == 200
        memory = app.recorder.recording._memory
        await memory.run(
            lambda conn: conn.execute("ALTER TABLE session_deltas RENAME COLUMN before_state TO b")
        )
        assert not (await wire.rest()).endswith(b"0\r\n\r\n")
        await memory.run(
            lambda conn: conn.execute("ALTER TABLE session_deltas RENAME COLUMN b TO before_state")
        )
        assert app.gateway.metrics.failed_requests == 1
    assert [line for line in log if line.startswith("ERROR")] == ["ERROR a request failed"]


async def test_what_cannot_be_parsed_as_http_ends_its_connection_alone(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        for nonsense in (b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n"):
            async with bare(app) as wire:
                await wire.send(nonsense)
                status, headers, problem = await wire.answer()
                assert (status, problem["status"], problem["code"]) == (400, 400, "invalid_request")
                assert headers["content-type"] == "application/problem+json"
                assert await wire.rest() == b""
        assert (await http.get("/healthz")).status_code == 200


async def test_a_question_may_have_64_kib(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, bare(app) as wire:
        for count, status in ((5000, 200), (5100, 400)):
            await wire.send(request(app, f"GET /api/deltas?{'&'.join(['type=created'] * count)}"))
            found, _, body = await wire.answer()
            assert found == status
        assert body["detail"] == "the target of the request is longer than 65535 bytes"


async def test_a_head_without_an_end_is_refused(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, bare(app) as wire:
        await wire.send(request(app, "GET /api/deltas")[:-2])
        with suppress(ConnectionError):
            for _ in range(40):
                await wire.send(b"X: %s\r\n" % (b"x" * 50_000))
        status, _, problem = await wire.answer()
        assert (status, problem["code"]) == (400, "invalid_request")
        assert "longer than 131072 bytes" in problem["detail"]


BOARD = "https://board.example"


async def test_every_answer_has_the_safe_headers_whatever_it_is(tmp_path: Path) -> None:
    async with running_app(tmp_path, **LISTED) as app, client(app) as http:
        for path, status in (("/api/stats", 401), ("/nowhere", 404), ("/healthz", 200), ("/", 200)):
            answer = await http.get(path)
            assert answer.status_code == status
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["x-frame-options"] == "DENY"
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert len(answer.headers.get_list("cache-control")) == 1
        data = await http.get("/api/deltas", headers=bearer(SUBSCRIBER))
        assert data.headers["cache-control"] == "no-store"
        assert (await http.get("/", headers={"host": "evil.example"})).headers["x-frame-options"] == "DENY"


async def test_pages_of_allowed_origins_may_read_and_publish(tmp_path: Path) -> None:
    async with running_app(tmp_path, allowed_origins=BOARD, **LISTED) as app, client(app) as http:
        asked = {
            "origin": BOARD,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, content-type",
        }
        before = await http.options("/api/deltas", headers=asked)
        assert (before.status_code, before.content) == (204, b"")
        assert before.headers["access-control-allow-origin"] == BOARD
        assert "Authorization" in before.headers["access-control-allow-headers"]
        assert "POST" in before.headers["access-control-allow-methods"]
        # No cookies are used: a browser must not send any.
        assert "access-control-allow-credentials" not in before.headers
        answer = await http.post("/api/deltas", json=delta(), headers={"origin": BOARD, **bearer(PUBLISHER)})
        assert answer.status_code == 201
        assert answer.headers["access-control-allow-origin"] == BOARD
        assert answer.headers["vary"] == "Origin"
        # An error must be readable, too.
        error = await http.get("/api/stats", headers={"origin": BOARD})
        assert (error.status_code, error.headers["access-control-allow-origin"]) == (401, BOARD)
        assert (await http.get("/api/stats")).headers["vary"] == "Origin"


async def test_no_other_page_is_answered_or_told_that_it_may_ask(tmp_path: Path) -> None:
    async with running_app(tmp_path, allowed_origins=BOARD, **LISTED) as app, client(app) as http:
        for origin in ("https://evil.example", "null", f"{BOARD}.evil.example", f"{BOARD}:444"):
            asked = {"origin": origin, "access-control-request-method": "GET"}
            for method in ("OPTIONS", "GET"):
                answer = await http.request(method, "/api/stats", headers={**asked, **bearer(SUBSCRIBER)})
                await refused(answer, 403, "not_allowed")
                assert "access-control-allow-origin" not in answer.headers
        plain = await http.options("/api/deltas")
        assert (plain.status_code, "access-control-allow-methods" in plain.headers) == (405, False)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_what_a_page_elsewhere_includes_is_refused_though_it_has_no_origin(
    site: str, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        image = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
        await refused(await http.get("/api/export", headers=image), 403, "not_allowed")
        # A link that is followed, and what the page itself asks for.
        for mode, where in (("navigate", site), ("cors", "same-origin"), ("navigate", "none")):
            headers = {"sec-fetch-site": where, "sec-fetch-mode": mode}
            assert (await http.get("/", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"],
)
async def test_what_changes_something_must_be_json(kind: str, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        for path in ("/api/deltas", "/api/admin/prune", "/api/admin/snapshot"):
            for origin in ({}, {"origin": app.url}):
                headers = {"content-type": kind, **origin}
                await refused(await http.post(path, content=b"{}", headers=headers), 415, "unsupported_media")
        assert app.head == 0


async def test_a_browser_must_name_the_kind_even_of_nothing(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        for headers in ({"origin": app.url}, {"sec-fetch-site": "same-origin"}):
            answer = await http.post("/api/admin/snapshot", headers=headers)
            await refused(answer, 415, "unsupported_media")
            assert (await http.post("/api/admin/snapshot", json={}, headers=headers)).status_code == 200
        assert (await http.post("/api/admin/snapshot")).status_code == 200


async def test_a_page_elsewhere_cannot_publish_by_any_trick(tmp_path: Path) -> None:
    body = b'{"type":"created","sessionId":"s","after":1}'
    async with running_app(tmp_path) as app:
        for headers in (
            [("Origin", "https://evil.example"), ("Content-Type", "application/json")],
            [("Origin", "null"), ("Content-Type", "application/json")],
            [("Origin", app.url), ("Origin", "https://evil.example"), ("Content-Type", "application/json")],
            [("Origin", app.url), ("Content-Type", "text/plain"), ("Content-Type", "application/json")],
            [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Content-Type", "text/plain")],
        ):
            async with bare(app) as wire:
                lengthy = [*headers, ("Content-Length", str(len(body)))]
                await wire.send(request(app, "POST /api/deltas", lengthy, body))
                assert (await wire.answer())[0] in (403, 415)
        assert app.head == 0


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
        assert app.gateway.metrics.refused_queries == {"queries": questions, "exports": 2}
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
