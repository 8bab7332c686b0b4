"""Publishing over HTTP: every form of body, every refusal, and back-pressure that slows and drops nothing."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from recorder.core.errors import StoreError
from tests.support.app import App, delta, running_app, some
from tests.support.http import NDJSON, bare, client, get, refused, request, seqs
from tests.support.trouble import break_recording, recording_held_up

GOOD = orjson.dumps(delta())


@asynccontextmanager
async def running(folder: Path, **flags: Any) -> AsyncIterator[tuple[App, httpx.AsyncClient]]:
    async with running_app(folder, **flags) as app, client(app) as http:
        yield app, http


async def post(http: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    """POST a body with exactly these headers; underscores stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/api/deltas", content=body, headers=named)


# What is taken


async def test_an_object_an_array_and_lines_are_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        two = orjson.dumps(some(2))
        lines = b"\r\n" + GOOD + b"\r\n\n \t\n" + GOOD
        for number, (body, kind) in enumerate(
            (
                (GOOD, "application/json"),
                (b" \n" + GOOD + b"\n", "Application/JSON; charset=UTF-8"),
                (two, "application/json"),
                (lines, "application/x-ndjson"),
                (lines + b"\n", "application/x-ndjson; charset=utf-8"),
                (lines, "application/ndjson"),
                (lines, "application/jsonl"),
            )
        ):
            before, count = app.head, 1 if number < 2 else 2
            response = await post(http, body, content_type=kind)
            assert response.status_code == 201, response.text
            assert response.json() == {
                "epoch": app.epoch,
                "firstSeq": before + 1,
                "seq": before + count,
                "count": count,
                "durable": False,
            }
        assert await seqs(http) == list(range(12, 0, -1))


async def test_without_a_content_type_it_is_json(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        asked = http.build_request("POST", "/api/deltas", content=GOOD)
        assert "content-type" not in asked.headers
        assert (await http.send(asked)).status_code == 201
        assert app.head == 1


async def test_a_body_in_chunks_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):

        async def chunks() -> AsyncIterator[bytes]:
            for byte in GOOD:
                yield bytes([byte])

        response = await http.post("/api/deltas", content=chunks())
        assert response.request.headers["transfer-encoding"] == "chunked"
        assert response.status_code == 201
        assert app.head == 1


async def test_what_is_posted_is_recorded_though_nobody_watches(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        assert app.recorder.hub.subscribers == 0
        await post(http, orjson.dumps(some(5)))
        assert await seqs(http) == [5, 4, 3, 2, 1]


async def test_what_is_posted_reaches_subscribers_and_is_recorded_when_it_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http), app.connect() as wire:
        await wire.until("live")
        answer = (await post(http, orjson.dumps(some(300)))).json()
        assert app.recorder.recording.recorded == answer["seq"] == 300
        assert await wire.deltas(300) == list(range(1, 301))


async def test_a_repeated_post_is_answered_with_the_first_seq_and_recorded_once(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (app, http):
        body = orjson.dumps([delta(n=1, id="x"), delta(n=2, id="y")])
        first = (await post(http, body)).json()
        await app.publish(delta())
        again = (await post(http, body)).json()
        assert again == {**first, "duplicates": 2}
        assert await seqs(http) == [3, 2, 1]


async def test_durable_says_whether_it_is_on_disk(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, http):
        assert (await post(http, orjson.dumps(delta(id="x")))).json()["durable"] is False
        assert (await http.post("/api/admin/snapshot")).json()["durable"] == 1
        assert (await post(http, orjson.dumps(delta(id="x")))).json()["durable"] is True


async def test_deltas_are_taken_where_nothing_is_recorded() -> None:
    async with running_app(None) as app, client(app) as http, app.connect() as wire:
        await wire.until("live")
        assert (await post(http, orjson.dumps(some(3)))).json()["seq"] == 3
        assert await wire.deltas(3) == [1, 2, 3]


# What is refused


@pytest.mark.parametrize(
    ("body", "kind", "status", "code", "index", "place"),
    [
        (b"", "application/json", 400, "invalid_json", None, None),
        (b" \n", "application/json", 400, "invalid_json", None, None),
        (b"{", "application/json", 400, "invalid_json", None, None),
        (GOOD + GOOD, "application/json", 400, "invalid_json", None, None),
        (GOOD + b"\n" + GOOD, "application/json", 400, "invalid_json", None, None),
        (b'"\xff"', "application/json", 400, "invalid_json", None, None),
        (GOOD.decode().encode("utf-16"), "application/json; charset=utf-16", 400, "invalid_json", None, None),
        (b"[]", "application/json", 422, "invalid_delta", None, None),
        (b"7", "application/json", 422, "invalid_delta", None, None),
        (b"[7]", "application/json", 422, "invalid_delta", 0, None),
        (b'{"type":"updated","sessionId":"a"}', "application/json", 422, "invalid_delta", None, "after"),
        (b'[%s,{"type":"created","sessionId":""}]' % GOOD, "application/json", 422, "invalid_delta", 1, "[1].sessionId"),
        (b"", "application/x-ndjson", 422, "invalid_delta", None, None),
        (b"\n \n", "application/x-ndjson", 422, "invalid_delta", None, None),
        (GOOD + b"\n\n{", "application/x-ndjson", 400, "invalid_json", 1, "line 3"),
        (b"\n" + GOOD + b'\n{"type":"x"}\n', "application/x-ndjson", 422, "invalid_delta", 1, "line 3"),
        (b"[%s]" % GOOD, "application/x-ndjson", 422, "invalid_delta", 0, "line 1"),
    ],
)  # fmt: skip
async def test_a_body_that_breaks_a_rule_is_refused_whole_with_its_place(
    body: bytes, kind: str, status: int, code: str, index: int | None, place: str | None, tmp_path: Path
) -> None:
    async with running(tmp_path) as (app, http):
        problem = await refused(await post(http, body, content_type=kind), status, code)
        assert (problem.get("index"), problem.get("place")) == (index, place)
        assert problem["detail"]
        assert app.head == 0
        assert app.gateway.metrics.refused == {code: 1}


async def test_an_id_with_other_content_is_a_conflict_and_nothing_of_the_body_is_taken(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (app, http):
        await post(http, orjson.dumps(delta(n=1, id="x")))
        problem = await refused(
            await post(http, orjson.dumps([delta(n=5), delta(n=2, id="x")])), 409, "conflict"
        )
        assert problem["index"] == 1
        await refused(await post(http, orjson.dumps(delta(n=2, id="x"))), 409, "conflict")
        assert app.head == 1


async def test_a_kind_of_body_that_is_not_taken_is_refused_with_those_that_are(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "json"):
            problem = await refused(await post(http, GOOD, content_type=kind), 415, "unsupported_media")
            assert "application/json or application/x-ndjson" in problem["hint"]
        packed = gzip.compress(GOOD)
        await refused(await post(http, packed, content_encoding="gzip"), 415, "unsupported_media")
        assert (await post(http, GOOD, content_encoding="identity")).status_code == 201
        problem = await refused(await http.post("/api/deltas?ack=none", content=GOOD), 400, "invalid_query")
        assert problem["hint"] == "this route takes none"
        assert app.head == 1


async def test_a_delta_that_is_too_large_is_refused_by_its_place(tmp_path: Path) -> None:
    async with running(tmp_path, max_delta_bytes=200) as (app, http):
        large = delta(after="x" * 200)
        problem = await refused(await post(http, orjson.dumps([delta(), large])), 413, "delta_too_large")
        assert problem["index"] == 1
        await refused(await post(http, orjson.dumps(large)), 413, "delta_too_large")
        lines = GOOD + b"\n" + orjson.dumps(large)
        assert (await refused(await post(http, lines, **NDJSON), 413, "delta_too_large"))["index"] == 1
        assert app.head == 0


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with running(tmp_path, max_message_bytes=10_000) as (app, _), bare(app) as wire:
        said = [("Content-Length", "10001"), ("Expect", "100-continue")]
        await wire.send(request(app, "POST /api/deltas", said))
        status, headers, problem = await wire.answer()
        assert (status, problem["code"], headers["connection"]) == (413, "message_too_large", "close")
        assert await wire.rest() == b""


async def test_a_body_that_turns_out_too_large_is_refused_and_the_rest_not_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, max_message_bytes=10_000) as (app, http), bare(app) as wire:
        await wire.send(request(app, "POST /api/deltas", [("Transfer-Encoding", "chunked")]))
        await wire.send(b"2000\r\n" + b" " * 0x2000 + b"\r\n" + b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        status, headers, problem = await wire.answer()
        assert (status, problem["code"], headers["connection"]) == (413, "message_too_large", "close")
        assert await wire.rest() == b""
        exactly = GOOD + b" " * (10_000 - len(GOOD))
        assert (await post(http, exactly)).status_code == 201
        await refused(await post(http, exactly + b" "), 413, "message_too_large")


async def test_it_is_refused_while_loading_and_while_stopping(tmp_path: Path) -> None:
    async with running(tmp_path, load=False) as (app, http):
        response = await post(http, GOOD)
        await refused(response, 503, "unavailable")
        assert response.headers["retry-after"] == "1"
        await app.gateway.load()
        assert (await post(http, GOOD)).status_code == 201
        app.gateway.stop_ingest()
        await refused(await post(http, GOOD), 503, "closed")
        # What was taken can still be read.
        assert await seqs(http) == [1]


# Back-pressure and disconnects


async def test_publishers_are_slowed_by_a_full_queue_and_nothing_is_dropped(tmp_path: Path) -> None:
    async with running(tmp_path, queue_max_deltas=10) as (_, http):
        answers = await asyncio.gather(
            *[post(http, orjson.dumps(some(25, f"s{number}"))) for number in range(30)]
        )
        assert {answer.status_code for answer in answers} == {201}
        assert sorted(answer.json()["seq"] for answer in answers) == list(range(25, 751, 25))
        assert await seqs(http, order="asc", limit=1000) == list(range(1, 751))
        for number in range(30):
            found = (await get(http, f"/api/deltas/s{number}", order="asc"))["deltas"]
            assert [item["delta"]["after"]["n"] for item in found] == list(range(25))


async def test_while_the_queue_is_full_no_body_is_read(tmp_path: Path) -> None:
    async with running(tmp_path, queue_max_deltas=5) as (app, http), bare(app) as wire:
        async with recording_held_up(app):
            app.publish_nowait(*some(5))
            assert app.recorder.ingest.is_full
            head = [("Content-Length", str(len(GOOD))), ("Expect", "100-continue")]
            await wire.send(request(app, "POST /api/deltas", head))
            while not app.recorder.ingest._capacity_waiters:
                # An answer of another route, so that a while passes.
                assert (await http.get("/healthz")).status_code == 200
            assert wire.reader.at_eof() is False
            assert not wire.reader._buffer  # type: ignore[attr-defined]
            assert app.head == 5
        assert (await wire.head())[0] == 100
        await wire.send(GOOD)
        assert (await wire.answer())[2]["seq"] == 6


async def test_recording_that_fails_leaves_no_publisher_waiting(tmp_path: Path) -> None:
    async def fail() -> None:
        async with running(tmp_path, queue_max_deltas=5) as (app, http):
            await break_recording(app)
            async with recording_held_up(app):
                app.publish_nowait(*some(9))
                waiting = asyncio.create_task(post(http, GOOD), name="waiting")
                while not app.recorder.ingest._capacity_waiters:
                    assert (await http.get("/healthz")).status_code == 200
            await refused(await waiting, 503, "unavailable")
            await refused(await post(http, GOOD), 503, "unavailable")

    with pytest.raises(StoreError, match="nothing can be recorded"):
        await fail()


async def test_a_publisher_who_leaves_amid_its_body_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as (app, http):
        async with bare(app) as wire:
            await wire.send(request(app, "POST /api/deltas", [("Content-Length", "500")], GOOD))
            while not app.server.server_state.tasks:
                await http.get("/healthz")
            tasks = list(app.server.server_state.tasks)
            wire.reset()
        await asyncio.gather(*tasks)
        assert (app.head, app.gateway.metrics.failed_requests) == (0, 0)
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_a_publisher_who_leaves_before_the_answer_has_published_all_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        async with recording_held_up(app), bare(app) as wire:
            body = orjson.dumps(some(3))
            await wire.send(request(app, "POST /api/deltas", [("Content-Length", str(len(body)))], body))
            while app.head < 3:
                await http.get("/healthz")
            wire.reset()
        assert await seqs(http) == [3, 2, 1]
