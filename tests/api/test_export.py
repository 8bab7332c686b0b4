"""Exports: whole, in bounded memory, at the reader's pace, byte for byte, and never with a silent hole."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from recorder.bridges.imports.records import SourceDelta
from recorder.bridges.imports.registry import open_source
from recorder.core.clock import FakeClock
from recorder.core.timestamps import format_ms
from recorder.store.contract import Query
from recorder.wire.export import row_of_item
from tests.support.app import App, delta, running_app, some
from tests.support.http import bare, client, get, refused, request, seqs
from tests.support.leaks import held, until_released

MiB = 1 << 20
MUCH_ROWS = 600
STATES = [
    b"0", b'""', b"false", b"{}", b"[]", b'{\n  "n": 1e2\n}', b'[1,\r\n\t2]', b"123456789012345678901234567890",
    b'"\\u2028 \\ud83d \xe2\x80\xa8, \\"quoted\\""', b'{"dup":1,"dup":2}', b'"a;b,c"', b' {"spaces" : 1 } ',
]  # fmt: skip


async def publish_states(http: httpx.AsyncClient) -> None:
    """A session for each of `STATES`, twice: once created, once updated to it."""
    for number, state in enumerate(STATES):
        name = b'"sessionId":"s%d ,\\"","after":' % number + state + b"}"
        body = b'[{"type":"created",' + name + b',{"type":"updated","before":[1\n],' + name + b"]"
        response = await http.post("/api/deltas", content=body)
        assert response.status_code == 201, response.text


async def publish_much(app: App) -> None:
    """More than the kernel's buffers hold: 12 MB with `before` filled in, after a row that promises small ones."""
    await app.publish(*some(1))
    assert await seqs_of(app) == 1
    await app.publish(*some(MUCH_ROWS - 1, size=10_000))


async def seqs_of(app: App) -> int:
    """How many entries a slice from the beginning has."""
    return len((await app.recorder.recording.read(Query(), 1000)).items)


async def settled(app: App) -> None:
    """Until no request is under way."""
    await asyncio.gather(*app.server.server_state.tasks)


@pytest.mark.parametrize("count", [0, 1, 101, 2500])
async def test_an_export_is_whole_in_every_format(count: int, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        if count:
            await app.publish(*some(count))
        expected = list(range(1, count + 1))
        lines = (await http.get("/api/export")).content
        assert lines.endswith(b"\n") == bool(count)
        assert [orjson.loads(line)["seq"] for line in lines.splitlines()] == expected
        array = await get(http, "/api/export", format="json")
        assert [item["seq"] for item in array] == expected
        table = (await http.get("/api/export", params={"format": "csv"})).text
        rows = list(csv.DictReader(io.StringIO(table, newline="")))
        assert [int(row["seq"]) for row in rows] == expected
        # What history returns, item for item.
        assert array == [orjson.loads(line) for line in lines.splitlines()]
        if count:
            page = await get(http, "/api/deltas", order="asc", limit=1000)
            assert page["deltas"] == array[:1000]


async def test_states_survive_every_format_byte_for_byte(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await publish_states(http)
        assert len(STATES) * 2 == app.head
        # White space around a value belongs to nobody.
        expected = [state.strip().decode() for state in STATES for _ in ("created", "updated")]
        assert [row.after for row in rows_of(await http.get("/api/export?format=json"))] == expected
        lines = (await http.get("/api/export")).content.splitlines()
        # The standard library's decoder takes every JSON there is, lone surrogates too.
        assert [json.loads(line)["delta"]["after"] for line in lines] == [json.loads(s) for s in expected]
        table = csv.DictReader(io.StringIO((await http.get("/api/export?format=csv")).text, newline=""))
        assert [row["after"] for row in table] == expected


async def test_an_export_that_is_imported_gives_the_same_deltas_and_states(tmp_path: Path) -> None:
    file = tmp_path / "export.ndjson"
    async with running_app(tmp_path / "one") as app, client(app) as http:
        await publish_states(http)
        await app.publish(delta("t", timestamp="2026-01-01T00:00:00.123Z", id="once"))
        await app.publish({"type": "deleted", "sessionId": "t"})
        exported = await http.get("/api/export?format=json")
        file.write_bytes((await http.get("/api/export")).content)
        sessions = [item["sessionId"] for item in (await get(http, "/api/sessions"))["sessions"]]
        states = {name: (await http.get(f"/api/sessions/{name}")).content for name in sessions}
    async with running_app(tmp_path / "two") as app, client(app) as http:
        for item in open_source("ndjson", str(file)):
            assert isinstance(item, SourceDelta), item
            assert (await http.post("/api/deltas", content=item.text)).status_code == 201
        again = await http.get("/api/export?format=json")
        assert {name: (await http.get(f"/api/sessions/{name}")).content for name in sessions} == states
    # What the recorder knows of its own is known anew: there, each `before` was sent.
    own = {"recorded_at": "", "hash": None, "before_filled": 0}
    assert any(row.before_filled for row in rows_of(exported))
    for before, after in zip(rows_of(exported), rows_of(again), strict=True):
        assert before._replace(**own) == after._replace(**own)


def rows_of(response: httpx.Response) -> list[Any]:
    body = response.content.removeprefix(b"[\n").removesuffix(b"\n]\n")
    starts = body.split(b',\n{"seq":')
    return [row_of_item(starts[0]), *(row_of_item(b'{"seq":' + text) for text in starts[1:])]


async def test_an_export_takes_the_filters_of_history(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        for _ in range(3):
            await app.publish(delta("a", type="created"), delta("b"), delta("a", before=5, after=6))
            clock.advance(1)
        for asked in (
            {"session": ["a", "x"]},
            {"session": "a", "type": "created"},
            {"type": ["created", "updated"], "after": 2, "before": 8},
            {"since": format_ms(clock.now_ms() - 2000), "until": format_ms(clock.now_ms() - 2000)},
            {"lineage": "broken"},
            {"happenedSince": format_ms(clock.now_ms() - 1000)},
            {"session": "nobody"},
        ):
            lines = (await http.get("/api/export", params=asked)).content.splitlines()
            assert [orjson.loads(line)["seq"] for line in lines] == await seqs(http, order="asc", **asked)


async def test_what_an_export_does_not_take_is_refused(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        for query in ("format=xml", "format=", "format=csv&format=csv", "limit=5", "order=asc", "cursor=x"):
            await refused(await http.get(f"/api/export?{query}"), 400, "invalid_query")
        assert app.gateway.metrics.failed_requests == 0


async def test_an_export_has_all_that_was_broadcast_before_it_and_ends_while_more_comes(
    tmp_path: Path,
) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*some(2000, size=500))
        app.publish_nowait(*some(500, size=500))
        goes_on = True

        async def keep_publishing() -> None:
            while goes_on:
                await app.publish(*some(50, "more", size=500))

        publishing = asyncio.create_task(keep_publishing(), name="publishing")
        try:
            async with http.stream("GET", "/api/export") as response:
                found = [orjson.loads(line)["seq"] async for line in response.aiter_lines()]
        finally:
            goes_on = False
            await publishing
        assert found == list(range(1, len(found) + 1))
        assert 2500 <= len(found) < app.head


async def test_an_export_goes_at_the_pace_of_its_reader_in_bounded_memory(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await publish_much(app)
        async with bare(app, receive_buffer=4096) as slow:
            await slow.send(request(app, "GET /api/export"))
            assert (await slow.head())[0] == 200
            (connection,) = app.server.server_state.connections
            # Others are served meanwhile, and more is recorded.
            for _ in range(5):
                await app.publish(*some(10))
                assert (await get(http, "/api/deltas", limit=1))["deltas"][0]["seq"] == app.head
            waiting = [c.transport.get_write_buffer_size() for c in app.server.server_state.connections]
            assert connection.transport.get_write_buffer_size() > 0
            assert max(waiting) < 4 * MiB
            # The rest comes when it is asked for, to its end.
            size, tail = 0, b""
            while not tail.endswith(b"\r\n0\r\n\r\n"):
                data = await slow.reader.read(MiB)
                size, tail = size + len(data), (tail + data)[-16:]
            assert size > MUCH_ROWS * 20_000


async def test_a_reader_who_leaves_amid_an_export_leaks_nothing(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await publish_much(app)
        before, tasks = held(), asyncio.all_tasks()
        for _ in range(5):
            async with bare(app, receive_buffer=4096) as slow:
                await slow.send(request(app, "GET /api/export?format=csv"))
                assert (await slow.head())[0] == 200
                slow.reset()
        await settled(app)
        assert app.server.server_state.connections == set()
        assert asyncio.all_tasks() == tasks
        await until_released(before)
        # Whoever leaves is no failure of ours.
        assert app.gateway.metrics.failed_requests == 0
        async with client(app) as http:
            assert (await http.get("/api/export")).text.count("\n") == MUCH_ROWS


async def test_an_export_that_pruning_overtakes_is_broken_off(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await publish_much(app)
        async with http.stream("GET", "/api/export") as response:
            parts = response.aiter_raw()
            await anext(parts)
            assert (await app.recorder.maintenance.prune("9999-01-01T00:00:00.000Z")) == MUCH_ROWS
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in parts:
                    pass
        assert app.gateway.metrics.failed_requests == 1


async def test_what_was_pruned_before_an_export_is_not_missed_by_it(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        await app.publish(*some(1500))
        clock.advance(1)
        await app.publish(*some(1500))
        assert await app.recorder.maintenance.prune(format_ms(clock.now_ms())) == 1500
        lines = (await http.get("/api/export")).content.splitlines()
        assert [orjson.loads(line)["seq"] for line in lines] == list(range(1501, 3001))


async def test_the_head_of_an_export_costs_no_reading(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*some(3000))
        before = app.gateway.metrics.render()
        response = await http.head("/api/export?format=csv")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert response.headers["content-disposition"] == 'attachment; filename="deltas.csv"'
        reads = [line for line in before.splitlines() if b"history_seconds_count" in line]
        assert all(line in app.gateway.metrics.render() for line in reads)
        await refused(await http.get("/api/export?format=xml"), 400, "invalid_query")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("", "deltas"),
        ("?session=s", "s"),
        ("?session=a%2Fb%22%3B%20c", "a_b_c"),
        ("?session=..", "deltas"),
        ("?session=.ssh%2Fid", "ssh_id"),
        (f"?session={'x' * 256}", "x" * 80),
        ("?session=a&session=b", "deltas"),
    ],
)
async def test_the_file_of_one_session_is_called_after_it(tmp_path: Path, asked: str, name: str) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        response = await http.head(f"/api/export{asked}")
        assert response.headers["content-disposition"] == f'attachment; filename="{name}.ndjson"'


async def test_a_file_name_beyond_ascii_is_told_as_rfc_6266_has_it(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        for asked, plain, full in (
            ("日本", "_", "%E6%97%A5%E6%9C%AC"),
            ("a/ü b", "a_b", "a_%C3%BC_b"),
        ):
            answer = await http.head("/api/export", params={"session": asked, "format": "csv"})
            named = f"attachment; filename=\"{plain}.csv\"; filename*=UTF-8''{full}.csv"
            assert answer.headers["content-disposition"] == named


async def test_an_export_in_csv_escapes_formulas_unless_that_is_switched_off(tmp_path: Path) -> None:
    for escapes, shown in (("on", "'=1+1"), ("off", "=1+1")):
        async with running_app(tmp_path, csv_escape_formulas=escapes) as app, client(app) as http:
            await app.publish({"type": "updated", "sessionId": "=1+1", "after": 1})
            table = csv.DictReader(io.StringIO((await http.get("/api/export?format=csv")).text, newline=""))
            assert {row["sessionId"] for row in table} == {shown}
