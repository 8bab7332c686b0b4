"""Bad input of every kind through every way in: each gets its answer, what was good stays, and the connection goes on.

One recorder for all of it, since that is the point: at the end it is as if nothing had been there.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest

from tests.support.app import App, delta, running_app, turn_until
from tests.support.http import JSON, bare, client, refused, request
from tests.support.wire import TEXT, Wire


def with_after(text: str) -> bytes:
    return f'{{"type":"updated","sessionId":"s","after":{text}}}'.encode()


def with_id(text: str) -> bytes:
    return f'{{"type":"updated","sessionId":{text},"after":1}}'.encode()


DEEP = "[" * 100_000 + "]" * 100_000
REFUSED = {
    "NaN": (with_after("NaN"), "invalid_json"),
    "Infinity": (with_after("-Infinity"), "invalid_json"),
    "a NUL outside of strings": (with_after("1\0"), "invalid_json"),
    "a raw control character": (with_after('"\x01"'), "invalid_json"),
    "100,000 levels": (with_after(DEEP), "invalid_delta"),
    "100,000 levels around it": (DEEP.encode(), "invalid_delta"),
    "a NUL in the session": (with_id(r'"a\u0000b"'), "invalid_delta"),
    "a lone surrogate in the session": (with_id(r'"\ud83d"'), "invalid_delta"),
    "a session that is no string": (with_id("1e999"), "invalid_delta"),
    "a session without end": (with_id(f'"{"x" * 257}"'), "invalid_delta"),
    "a name twice, the last of them wrong": (
        b'{"type":"updated","sessionId":"s","after":1,"type":"moved"}',
        "invalid_delta",
    ),
    "a byte order mark": (b"\xef\xbb\xbf" + with_after("1"), "invalid_json"),
    "nothing": (b"", "invalid_json"),
    "an array of nothing": (b"[]", "invalid_delta"),
}
TAKEN = {
    "1e999": "1e999",
    "a number of 10,000 digits": "9" * 10_000,
    "names twice inside a state": '{"a":1,"a":2}',
    "a lone surrogate inside a state": r'"\ud83d"',
    "an escaped NUL": r'"\u0000"',
    "500 levels": "[" * 500 + "]" * 500,
    "DEL and C1 as they are": '"\x7f\x9b31m"',
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_taken_is_refused_both_ways_and_both_go_on(name: str) -> None:
    text, code = REFUSED[name]
    async with running_app(None) as app, app.connect("/publish") as wire, client(app) as http:
        await wire.event()
        await wire.send(TEXT, text)
        error = await wire.event()
        assert (error["event"], error["code"]) == ("error", code)
        answer = await http.post("/api/deltas", content=text, headers=JSON)
        assert answer.json()["code"] == code
        await wire.send(TEXT, b"[" + with_after("1") + b"," + text + b"]")
        assert (await wire.event())["event"] == "error"
        assert app.head == 0
        await wire.text(delta())
        assert (await wire.event())["seq"] == 1
        assert (await http.post("/api/deltas", json=delta())).status_code == 201


@pytest.mark.parametrize("name", TAKEN)
async def test_what_is_json_however_odd_is_kept_byte_for_byte(name: str, tmp_path: Path) -> None:
    state = TAKEN[name]
    async with running_app(tmp_path) as app, app.connect("/publish") as wire, app.connect() as reader:
        await reader.until("live")
        await wire.event()
        await wire.send(TEXT, with_after(state))
        assert (await wire.event())["event"] == "ack"
        got = await reader.frame()
        assert got.payload.decode().partition('"after":')[2].startswith(f'{state},"timestamp"')
        async with client(app) as http:
            assert f'"after":{state},"timestamp"'.encode() in (await http.get("/api/deltas")).content
            assert (await http.get("/api/export")).content.count(b'"seq":1,') == 1


async def test_an_id_that_looks_like_another_is_another_and_wildcards_are_no_wildcards(
    tmp_path: Path,
) -> None:
    names = [
        "%",
        "_",
        "a%",
        "' OR 1=1 --",
        '";DROP TABLE session_deltas;',
        "abc",
        "cba\u202e",
        "*",
        "a\\",
        "..",
        "ab",
    ]
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*[delta(name, n) for n, name in enumerate(names)])
        for n, name in enumerate(names):
            found = (await http.get("/api/deltas", params={"session": name})).json()["deltas"]
            assert [item["delta"]["after"]["n"] for item in found] == [n]
            path = f"/api/sessions/{quote(name, safe='')}" if name != ".." else "/api/sessions/%2e%2e"
            assert (await raw_get(app, path))["sessionId"] == name


async def raw_get(app: App, path: str) -> Any:
    """As it stands: a client would tidy the path up."""
    async with bare(app) as wire:
        await wire.send(request(app, f"GET {path}"))
        status, _, body = await wire.answer()
        assert status == 200
        return body


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/client/....//x.js",
        "/assets/x%00.js",
        "//etc/passwd",
        "/client/%5c..%5cx.js",
    ],
)
async def test_no_path_leads_out_of_the_package(path: str) -> None:
    async with running_app(None) as app, bare(app) as wire:
        await wire.send(request(app, f"GET {path}"))
        status, headers, _ = await wire.answer()
        assert (status, headers["content-type"]) == (404, "application/problem+json")


async def test_a_range_of_ten_thousand_pieces_gets_the_whole_once(tmp_path: Path) -> None:
    pieces = "bytes=" + ",".join(f"{n}-{n}" for n in range(10_000))
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta())
        for path in ("/client.js", "/api/export", "/api/deltas"):
            whole = await http.get(path)
            answer = await http.get(path, headers={"Range": pieces})
            assert (answer.status_code, answer.content) == (200, whole.content)


CURSORS = [
    "",
    "0",
    "e30",
    "%00",
    base64.urlsafe_b64encode(b'{"v":1,"seq":-1}').decode(),
    base64.urlsafe_b64encode(orjson.dumps({"e": "x" * 5000})).decode(),
    base64.urlsafe_b64encode(os.urandom(99)).decode(),
    "é",
    "A" * 5000,
]


@pytest.mark.parametrize("cursor", CURSORS)
@pytest.mark.parametrize("path", ["/api/deltas", "/api/sessions"])
async def test_a_cursor_made_by_hand_is_no_cursor(cursor: str, path: str, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await refused(await http.get(path, params={"cursor": cursor}), 400, "invalid_cursor")


async def test_after_all_kinds_of_nonsense_nothing_is_left_of_it(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        files, head = len(os.listdir("/proc/self/fd")), app.head
        for n in range(60):
            await nonsense(app, n)
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)
        await app.until_gone()
        assert app.server.server_state.connections == set()
        assert (app.head, len(os.listdir("/proc/self/fd"))) == (head, files)


async def nonsense(app: App, n: int) -> None:
    """A connection that sends bytes without sense, before or after its handshake, and goes."""
    data = os.urandom(200 + n)
    if n % 3 == 0:
        async with bare(app) as raw:
            await raw.send(data)
    elif n % 3 == 1:
        async with app.connect(("/ws", "/publish")[n % 2]) as wire:
            await send_until_cut(wire, data)
    else:
        async with client(app) as http:
            try:
                await http.post("/api/deltas", content=data, headers={**JSON, "X-Odd": data[:20].hex()})
            except httpx.HTTPError:
                return


async def send_until_cut(wire: Wire, data: bytes) -> None:
    try:
        await wire.raw(data)
        await wire.raw(data)
    except ConnectionError:
        return
