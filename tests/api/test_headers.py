"""What a browser is told with every answer, and which pages elsewhere may ask and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.app import delta, running_app
from tests.support.http import bare, client, refused, request
from tests.support.tokens import LISTED, PUBLISHER, SUBSCRIBER, bearer

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
