"""Server-Sent Events from a real recorder: the promises of `/ws`, over HTTP."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder.core.clock import FakeClock
from recorder.wire.events import Heartbeat, event_frame
from tests.support.app import App, delta, running_app, some, turn, turn_until
from tests.support.http import Bare, bare, client, refused, request
from tests.support.tokens import LISTED, bearer, key_file, signed


class Reader:
    """Reads the messages of one stream.

    Args:
        connection: After the head of the answer.
    """

    def __init__(self, connection: Bare) -> None:
        self.connection = connection
        self.last: str | None = None  # the last id
        self._rest = b""  # of chunks, not messages yet

    async def event(self) -> dict[str, Any]:
        """The next event, its id beside it."""
        while b"\n\n" not in self._rest:
            size = int(await self.connection.reader.readuntil(b"\r\n"), 16)
            if size == 0:
                raise EOFError
            self._rest += await self.connection.reader.readexactly(size)
            await self.connection.reader.readexactly(2)
        message, _, self._rest = self._rest.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in message.decode().split("\n"))
        if "data" not in fields:
            return await self.event()
        self.last = fields.get("id", self.last)
        return {**json.loads(fields["data"]), "id": fields.get("id")}

    async def rest(self) -> list[dict[str, Any]]:
        """Events up to the end."""
        events = []
        with contextlib.suppress(EOFError):
            while True:
                events.append(await self.event())
        return events

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Events up to and with the first of a kind."""
        events = [await self.event()]
        while events[-1]["event"] != kind:
            events.append(await self.event())
        return events


@asynccontextmanager
async def streaming(
    app: App, query: str = "", *headers: tuple[str, str], receive_buffer: int | None = None
) -> AsyncIterator[Reader]:
    async with bare(app, receive_buffer=receive_buffer) as connection:
        await connection.send(request(app, f"GET /api/stream{query}", headers))
        status, given = await connection.head()
        assert (status, given["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert given["cache-control"] == "no-store"
        yield Reader(connection)


def seqs(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events if event["event"] == "delta"]


async def test_history_then_live_each_with_its_position(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(delta("a"), delta("b"), delta("a"))
        async with streaming(app, "?since=earliest&session=a") as reader:
            hello, *deltas, live = await reader.until("live")
            assert (hello["event"], hello["id"]) == ("hello", None)
            assert [(event["seq"], event["id"]) for event in deltas] == [(1, app.at(1)), (3, app.at(3))]
            assert (live["seq"], live["id"]) == (3, app.at(3))
            await app.publish(delta("b"), delta("a"))
            event = await reader.event()
            assert (event["seq"], event["id"], event["delta"]["sessionId"]) == (5, app.at(5), "a")
            assert app.recorder.hub.subscribers == 1
        await app.until_gone()


async def test_the_last_id_outranks_the_url(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*some(5))
        async with streaming(app, "?since=earliest", ("Last-Event-ID", app.at(3))) as reader:
            assert seqs(await reader.until("live")) == [4, 5]


async def test_a_position_that_cannot_be_honoured_is_a_reset_with_the_states(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(delta("a", 1), delta("b", 2))
        async with streaming(app, "", ("Last-Event-ID", "OLD:7")) as reader:
            _, reset, *states, live = await reader.until("live")
            assert (reset["reason"], reset["id"], reset["head"]) == ("epoch_changed", None, 2)
            assert [(state["sessionId"], state["state"], state["id"]) for state in states] == [
                ("a", {"n": 1}, None),
                ("b", {"n": 2}, None),
            ]
            assert live["id"] == app.at(2)


async def test_every_cut_and_resume_loses_and_repeats_nothing(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        found: list[int] = []
        last = app.at(0)
        for number in range(12):
            app.publish_nowait(*some(7))
            async with streaming(app, "", ("Last-Event-ID", last)) as reader:
                app.publish_nowait(*some(4))
                while len(found) < 11 * number + 5:
                    event = await reader.event()
                    if event["event"] == "delta":
                        found.append(event["seq"])
                assert reader.last is not None
                last = reader.last
        assert found == list(range(1, len(found) + 1))


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?since=yesterday", {}, "bad_subscription"),
        ("?type=moved", {}, "bad_subscription"),
        ("?since=1&since=2", {}, "invalid_query"),
        ("?sesion=a", {}, "invalid_query"),
        ("", {"Last-Event-ID": "7"}, "bad_subscription"),
        ("", {"Last-Event-ID": "x y"}, "bad_subscription"),
    ],
)
async def test_what_is_asked_wrongly_is_refused(query: str, headers: dict[str, str], code: str) -> None:
    async with running_app(None) as app, client(app) as http:
        await refused(await http.get(f"/api/stream{query}", headers=headers), 400, code)


async def test_without_a_recording_it_is_live_only() -> None:
    async with running_app(None) as app:
        async with streaming(app) as reader:
            await reader.until("live")
            app.publish_nowait(delta("a"))
            assert (await reader.event())["seq"] == 1
        async with streaming(app, "?since=earliest") as reader:
            assert (await reader.until("live"))[1]["reason"] == "not_recording"


async def test_a_heartbeat_is_a_place_to_resume_from_for_those_whom_nothing_concerned(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, streaming(app, "?session=quiet") as reader:
        await reader.until("live")
        await app.publish(*some(3))
        clock.advance(16)
        app.sweep()
        heartbeat = (await reader.until("heartbeat"))[-1]
        assert (heartbeat["head"], heartbeat["id"]) == (3, app.at(3))


async def test_a_reader_that_does_not_read_is_ended_and_resumes_and_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    async with (
        running_app(tmp_path, slow_soft_bytes=65_536, slow_hard_bytes=262_144) as app,
        streaming(app, receive_buffer=4096) as slow,
        streaming(app) as quick,
    ):
        await slow.until("live")
        await quick.until("live")
        published = 0
        while app.gateway.metrics.slow_closed == 0:
            published = app.publish_nowait(*some(10, size=20_000))
            while app.recorder.hub.outbox_bytes > 300_000 or quick.last != app.at(published):
                event = await quick.event()
                if event.get("seq") == published:
                    break
        # It gets what was written, an error that says so, and the end.
        events = await slow.rest()
        assert (events[-1]["event"], events[-1]["code"]) == ("error", "too_slow")
        got = seqs(events)
        assert got == list(range(1, len(got) + 1))
        assert len(got) < published
        async with streaming(app, "", ("Last-Event-ID", slow.last or app.at(0))) as again:
            assert seqs(await again.until("live")) == list(range(len(got) + 1, published + 1))
        app.publish_nowait(delta("a"))
        assert (await quick.event())["seq"] == published + 1


async def test_a_slow_reader_of_history_gets_it_at_its_own_pace_in_bounded_memory(tmp_path: Path) -> None:
    async with running_app(tmp_path, slow_soft_bytes=65_536, slow_hard_bytes=131_072) as app:
        await app.publish(*some(300, size=20_000))
        async with streaming(app, "?since=earliest", receive_buffer=4096) as reader:
            most = 0
            events: list[dict[str, Any]] = []
            while not events or events[-1]["event"] != "live":
                events.append(await reader.event())
                most = max(most, app.recorder.hub.outbox_bytes)
            assert seqs(events) == list(range(1, 301))
            assert most < 3 << 20
            assert app.gateway.metrics.slow_closed == 0


async def test_stopping_ends_streams_behind_what_they_are_owed(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, streaming(app) as reader:
        await reader.until("live")
        app.publish_nowait(*some(3))
        app.gateway.end_streams()
        assert seqs(await reader.rest()) == [1, 2, 3]
        await turn_until(lambda: app.recorder.hub.subscribers == 0)
        app.gateway.stop_ingest()
        async with client(app) as http:
            await refused(await http.get("/api/stream"), 503, "closed")


DAY_MS = 86_400_000
NARROW = {
    "slow_soft_bytes": 50_000, "slow_soft_time": 1000, "slow_hard_bytes": 400_000,
    "heartbeat_interval": DAY_MS, "head_interval": DAY_MS,
}  # fmt: skip


async def fall_behind(app: App, clock: FakeClock) -> None:
    """Publish until the reader of a stream is found too slow."""
    while not (app.gateway.metrics.conflations or app.gateway.metrics.slow_closed):
        app.publish_nowait(*some(20, size=1000))
        await turn()
        clock.advance(0.3)


async def test_slow_conflate_moves_a_slow_stream_on_instead_of_ending_it(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        running_app(tmp_path, clock=clock, **NARROW) as app,
        streaming(app, "?slow=conflate", receive_buffer=2048) as reader,
    ):
        await reader.until("live")
        await fall_behind(app, clock)
        app.publish_nowait(delta("gone", 1), {"type": "deleted", "sessionId": "gone"}, delta("s", 5))
        last = app.head
        events = await reader.until("conflated")
        told = events[-1]
        assert (told["from"], told["to"], told["id"]) == (seqs(events)[-1], last, None)
        assert seqs(events) == list(range(1, told["from"] + 1))
        *states, live = await reader.until("live")
        assert [(event["sessionId"], event["state"], event["id"]) for event in states] == [
            ("gone", None, None),
            ("s", {"n": 5}, None),
        ]
        # Only here is a place to resume from again.
        assert (live["seq"], live["id"]) == (last, app.at(last))
        await app.publish(delta("s", 6))
        assert (await reader.event())["seq"] == last + 1
        assert (app.gateway.metrics.conflations, app.gateway.metrics.slow_closed) == (1, 0)


async def test_a_heartbeat_amid_moving_on_is_no_place_to_resume_from(tmp_path: Path) -> None:
    """What was left out would be lost to a reader that is cut there and comes back by its last id."""
    clock = FakeClock()
    async with (
        running_app(tmp_path, clock=clock, **NARROW) as app,
        streaming(app, "?slow=conflate", receive_buffer=2048) as reader,
    ):
        await reader.until("live")
        await fall_behind(app, clock)
        (stream,) = app.gateway.connections._streams
        hub = app.recorder.hub
        # As if all had been read; what says so to its task comes after this step of ours.
        while stream._chunks:
            stream._take()
        assert stream.at_own_pace
        frame = event_frame("heartbeat", epoch=hub.epoch, head=hub.head, durable=0, at="")
        stream.send_heartbeat(Heartbeat(hub.head, b"", frame))
        events = await reader.until("live")
        (beat,) = [event for event in events if event["event"] == "heartbeat"]
        assert beat["id"] is None


async def test_a_stream_that_is_moved_on_leaves_nothing_when_it_goes(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, **NARROW) as app:
        async with streaming(app, "?slow=conflate", receive_buffer=2048) as reader:
            await reader.until("live")
            await fall_behind(app, clock)
        await app.until_gone()
        await turn_until(lambda: not app.recorder.hub._feeds)
        assert app.recorder.hub.fanout.receivers == 0


async def test_the_first_message_is_hello_and_carries_the_time_to_wait_before_coming_back() -> None:
    async with running_app(None) as app, bare(app) as connection:
        await connection.send(request(app, "GET /api/stream"))
        await connection.head()
        await connection.reader.readuntil(b"\r\n")
        block = await connection.reader.readuntil(b"\n\n")
        retry, data, *rest = block.decode().split("\n")
        assert 1000 <= int(retry.removeprefix("retry: ")) <= 4000
        assert json.loads(data.removeprefix("data: "))["event"] == "hello"
        assert rest == ["", ""]


async def test_a_last_id_in_the_query_is_as_good_as_the_header(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*some(5))
        query = f"?session=s&since=earliest&lastEventId={app.at(3)}"
        async with streaming(app, query) as reader:
            assert seqs(await reader.until("live")) == [4, 5]
        async with streaming(app, query, ("Last-Event-ID", app.at(4))) as reader:
            assert seqs(await reader.until("live")) == [5]
        async with streaming(app, "?since=earliest&lastEventId=") as reader:
            assert seqs(await reader.until("live")) == [1, 2, 3, 4, 5]
        async with client(app) as http:
            problem = await refused(await http.get("/api/stream?lastEventId=7"), 400, "bad_subscription")
            assert problem["detail"].startswith("lastEventId: ")


@pytest.mark.parametrize("query", ["", "?since=earliest"])
async def test_a_stream_says_that_its_token_has_ended_and_ends_at_that_moment(
    query: str, tmp_path: Path
) -> None:
    clock = FakeClock()
    token = signed("subscribe", exp=clock.now_ms() // 1000 + 60)
    keys = {"jwt_key_file": key_file(tmp_path)}
    async with (
        running_app(
            tmp_path, clock=clock, heartbeat_interval=3_600_000, head_interval=3_600_000, **keys, **LISTED
        ) as app,
        streaming(app, query, *bearer(token).items()) as reader,
    ):
        await reader.until("live")
        clock.advance(59)
        app.sweep()
        assert app.recorder.hub.subscribers == 1
        clock.advance(1)
        events = await reader.rest()
        assert [(event["event"], event["code"]) for event in events] == [("error", "not_authenticated")]
        await app.until_gone()


async def test_a_stream_whose_token_is_taken_away_is_told_so(tmp_path: Path) -> None:
    listed = tmp_path / "tokens"
    listed.write_text("a-token-of-sixteen-characters\n")
    async with (
        running_app(None, subscribe_tokens_file=listed) as app,
        streaming(app, "", *bearer("a-token-of-sixteen-characters").items()) as reader,
    ):
        await reader.until("live")
        listed.write_text("another-token-of-sixteen\n")
        assert app.gateway.renew_tokens() == 1
        assert [event["event"] for event in await reader.rest()] == ["error"]


async def test_streams_count_as_upgrades_do() -> None:
    async with running_app(None, max_upgrades_per_minute=2) as app, client(app) as http:
        for _ in range(2):
            async with streaming(app) as reader:
                await reader.until("live")
        assert (await http.head("/api/stream")).status_code == 200
        await refused(await http.get("/api/stream"), 429, "too_many")


@pytest.mark.parametrize("path", ["/api/stream", "/api/export", "/api/export?format=csv"])
async def test_a_head_request_claims_no_length_that_nobody_knows(path: str, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, bare(app) as connection:
        await connection.send(request(app, f"HEAD {path}") + request(app, "GET /healthz"))
        status, headers = await connection.head()
        assert status == 200
        assert not {"content-length", "transfer-encoding"} & set(headers)
        assert (await connection.head())[0] == 200
        assert await connection.reader.readexactly(3) == b"ok\n"


@pytest.mark.parametrize("path", ["/healthz", "/api/stats", "/api/deltas", "/api/deltas/s", "/", "/nothing"])
async def test_a_head_request_claims_the_length_that_get_sends(path: str, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*some(3))
        got, head = await http.get(path), await http.head(path)
        assert (head.status_code, head.headers["content-length"]) == (got.status_code, str(len(got.content)))
