"""The gate and the boundary: who is let through to any route, and where failures end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from loguru import logger

from recorder.api.app import ROUTES
from tests.support.app import delta, running_app, some
from tests.support.http import bare, client, refused, request
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


async def test_mistake_33_a_foreign_host_or_origin_is_refused_on_every_route(tmp_path: Path) -> None:
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
        assert app.recorder.metrics.failed_requests == 1
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
        assert app.recorder.metrics.failed_requests == 1
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
