"""Every route: its methods, HEAD, what is not there, and that each answer leaves at once."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from recorder.api.app import ROUTES
from recorder.api.openapi import description
from tests.support.app import delta, running_app
from tests.support.http import client, refused

PATHS = [
    route.path.replace("{session_id:path}", "s")
    .replace("{file}", "main.js")
    .replace("{part}", "resume.js")
    .replace("{name}", "wire")
    for route in ROUTES
]
STATUS = {"/ws": 426, "/publish": 426, "/docs": 308}
"""What a route answers to a plain request where that is not 200."""
METHODS = dict(zip(PATHS, [route.methods or set() for route in ROUTES], strict=True))


async def test_every_route_answers_its_methods_and_tells_them_to_others(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta())
        for path, allowed in METHODS.items():
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
                if (method, path) == ("GET", "/api/stream"):
                    continue  # it has no end; tests/api/test_stream.py reads it
                response = await http.request(method, path, content=b"[]" if method == "POST" else None)
                if method in allowed:
                    as_expected = response.status_code == STATUS.get(path, response.status_code)
                    assert as_expected, (method, path)
                    assert response.status_code < 300 or path in STATUS or "POST" in (method, *allowed)
                    assert response.status_code < 500
                elif method == "HEAD":
                    assert response.status_code == 405
                else:
                    problem = await refused(response, 405, "method_not_allowed")
                    assert method in problem["detail"]
                    assert set(response.headers["allow"].split(", ")) == allowed


async def test_head_says_what_get_says_without_the_body(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta())
        for path in (path for path, methods in METHODS.items() if "GET" in methods and path != "/api/stream"):
            whole, head = await http.get(path), await http.head(path)
            assert (head.status_code, head.content) == (STATUS.get(path, 200), b"")
            assert head.headers.get("content-type") == whole.headers.get("content-type")
            if path not in ("/metrics", "/api/export"):
                assert head.headers["content-length"] == whole.headers["content-length"]
        # Errors too.
        for target, status in (("/api/deltas?limit=0", 400), ("/api/deltas/x", 404), ("/nowhere", 404)):
            head = await http.head(target)
            assert (head.status_code, head.content) == (status, b"")
            assert head.headers["content-type"] == "application/problem+json"
        # The connection is in step all the while.
        assert (await http.get("/healthz")).text == "ok\n"


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/api", "/api/", "/api/stats/", "/healthz/", "/API/deltas", "/ws/", "/%00"],
)
async def test_what_is_not_there_is_a_problem_that_names_it(path: str) -> None:
    async with running_app(None) as app, client(app) as http:
        problem = await refused(await http.get(path), 404, "not_found")
        assert "openapi.json" in problem["hint"]
        await refused(await http.post(path), 404, "not_found")


async def test_no_answer_waits_for_the_acknowledgement_of_another(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await http.get("/healthz")
        (connection,) = app.server.server_state.connections
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_the_description_is_served(tmp_path: Path) -> None:
    async with running_app(tmp_path, load=False) as app, client(app) as http:
        assert (await http.get("/api/openapi.json")).json() == description()
