"""Tests of publishing over real sockets: order, refusals, cuts, bounds, closing."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection

from recorder.client import Ack, Client, ClientOptions, NewDelta, OutcomeUnknown, PublishRefused, RawJson
from recorder.core.errors import ClientError, Closed
from recorder.core.position import Position
from tests.client.fake_recorder import Cut, FakeRecorder, Script
from tests.client.fake_time import FakeTime
from tests.client.proxy import CuttingProxy

AT_ONCE: dict[str, Any] = {"backoff_base_s": 0.0, "backoff_cap_s": 0.0}
NOW = ClientOptions(**AT_ONCE)
WITHOUT_IDS = ClientOptions(**AT_ONCE, idempotent=False)


def created(number: int, **more: Any) -> NewDelta:
    return NewDelta("created", f"s{number}", after={"n": number}, **more)


async def until_received(server: FakeRecorder, count: int) -> None:
    async with server.more:
        await server.more.wait_for(lambda: len(server.received) >= count)


async def test_an_ack_tells_where_it_was_recorded() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        assert await client.publish(created(1)) == Ack("EPOCH1", 1, 1, 1, False)
        ack = await client.publish([created(2), {"type": "created", "sessionId": "x", "after": 0}])
        assert ack == Ack("EPOCH1", 2, 3, 2, False)
        assert ack.position == Position("EPOCH1", 3)
        assert [delta.session_id for delta in server.deltas] == ["s1", "s2", "x"]
        assert all(delta.id for delta in server.deltas)
        assert len(server.connections) == 1


async def test_raw_states_and_raw_frames_arrive_byte_for_byte() -> None:
    text = '{"n" : 123456789012345678901234567890, "s":"\\ud83d"}'
    frame = b'[ {"type":"created", "sessionId":"b", "after": 1e2} ]'
    async with FakeRecorder() as server, Client(server.url, options=WITHOUT_IDS) as client:
        await client.publish(NewDelta("created", "a", after=RawJson(text)))
        await client.publish_raw(frame)
        assert server.deltas[0].after == text
        assert server.received[1] == frame


async def test_a_token_is_sent_as_a_header_and_nowhere_else() -> None:
    async with FakeRecorder() as server, Client(server.url, "s3cret", options=NOW) as client:
        await client.publish(created(1))
        await anext(client.subscribe())
        assert [headers["Authorization"] for headers in server.headers] == ["Bearer s3cret"] * 2
        assert not any("s3cret" in path for path in server.connections)


async def test_many_are_under_way_at_once_and_keep_the_order_of_the_calls() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        acks = await asyncio.gather(*(client.publish(created(number)) for number in range(500)))
        assert [ack.seq for ack in acks] == list(range(1, 501))
        assert [delta.session_id for delta in server.deltas] == [f"s{number}" for number in range(500)]


async def test_a_refusal_is_raised_and_the_others_go_on() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        results = await asyncio.gather(
            client.publish(created(1)),
            client.publish([created(2), NewDelta("updated", "x")]),
            client.publish(created(3)),
            return_exceptions=True,
        )
        refused = results[1]
        assert isinstance(refused, PublishRefused)
        assert (refused.code, refused.index) == ("invalid_delta", 1)
        assert refused.message.startswith("[1].after: required")
        assert [ack.seq for ack in results if isinstance(ack, Ack)] == [1, 2]


@pytest.mark.parametrize("answers", range(6))
async def test_after_a_cut_what_was_not_answered_is_sent_again_and_recorded_once(answers: int) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        # It is recorded, and the connection goes before the ack does.
        server.cut_answers_after.extend([answers, answers])
        acks = await asyncio.gather(*(client.publish([created(n), created(n)]) for n in range(8)))
        assert [(ack.first_seq, ack.seq) for ack in acks] == [(n, n + 1) for n in range(1, 17, 2)]
        assert len(server.deltas) == 16
        assert len(server.connections) == (3 if answers < 4 else 2)


async def test_cuts_at_any_byte_record_everything_once_and_in_order() -> None:
    left = iter(range(160, 1200, 40))
    async with (
        FakeRecorder() as server,
        CuttingProxy(server.port, lambda: next(left, None)) as proxy,
        Client(proxy.url, options=NOW) as client,
    ):
        acks = await asyncio.gather(*(client.publish(created(number)) for number in range(300)))
        assert [ack.seq for ack in acks] == list(range(1, 301))
        assert [delta.session_id for delta in server.deltas] == [f"s{number}" for number in range(300)]
        assert proxy.cuts > 20


async def test_without_an_id_a_frame_that_was_sent_is_uncertain_after_a_cut() -> None:
    async with FakeRecorder() as server, Client(server.url, options=WITHOUT_IDS) as client:
        server.cut_answers_after.append(0)
        with pytest.raises(OutcomeUnknown, match="may be recorded or not"):
            await client.publish(created(1))
        assert (await client.publish(created(2))).seq == 2
        assert len(server.received) == 2
        server.drop_all()
        # An id of the caller's own is as good.
        server.cut_answers_after.append(0)
        assert (await client.publish(created(3, id="mine"))).seq == 3
        assert len(server.received) == 4


async def test_raw_text_with_ids_is_sent_again_too() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        server.cut_answers_after.extend([0, 0])
        with pytest.raises(OutcomeUnknown):
            await client.publish_raw('{"type":"created","sessionId":"a","after":1}')
        assert (await client.publish_raw('{"type":"created","sessionId":"a","after":1,"id":"i"}')).seq == 2
        assert len(server.connections) == 3


async def test_an_idle_connection_that_is_lost_is_made_again_when_it_is_needed() -> None:
    async with FakeRecorder() as server, Client(server.url, options=WITHOUT_IDS) as client:
        await client.publish(created(1))
        server.restart("EPOCH2")
        await asyncio.sleep(0)
        assert len(server.connections) == 1
        async with asyncio.timeout(5):
            # The first frame may meet the old connection's end: then nobody can know what became of it.
            try:
                ack = await client.publish(created(2))
            except OutcomeUnknown:
                ack = await client.publish(created(2))
        assert ack.epoch == "EPOCH2"


async def test_while_there_is_no_server_it_waits() -> None:
    async with FakeRecorder() as server, Client(server.url, options=WITHOUT_IDS) as client:
        server.refusals.extend([503, 502])
        assert (await client.publish(created(1))).seq == 1


async def test_after_so_many_tries_in_a_row_it_gives_up_if_told_to() -> None:
    async with FakeRecorder() as server:
        url = server.url
    async with Client(url, options=ClientOptions(**AT_ONCE, max_tries=2)) as client:
        with pytest.raises(ClientError, match="gave up after 2 tries"):
            await client.publish(created(1))


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refused_connection_is_final_for_all_that_wait(status: int) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        server.refusals.append(status)
        results = await asyncio.gather(
            client.publish(created(1)), client.publish(created(2)), return_exceptions=True
        )
        assert all(isinstance(result, ClientError) for result in results)
        with pytest.raises(ClientError, match=str(status)):
            await client.publish(created(3))
        assert server.received == []


async def test_a_final_close_code_tells_what_may_have_been_recorded() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def refuses(connection: ServerConnection) -> None:
            await connection.send(server.event("error", code="not_allowed", message="the role is subscribe"))
            await connection.close(4403)

        async def revokes(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await connection.recv()
            await connection.close(4401, "expired")

        server.on_publisher.extend([revokes])
        with pytest.raises(OutcomeUnknown, match="4401: expired"):
            await client.publish(created(1))
        async with Client(server.url, options=NOW) as another:
            server.on_publisher.append(refuses)
            with pytest.raises(ClientError, match="the role is subscribe"):
                await another.publish(created(1))


@pytest.mark.parametrize(
    "answer",
    [
        b'{"event":"ack","epoch":"E","firstSeq":1,"seq":2,"count":2}',
        b"nonsense",
        b'{"event":"ack"}',
    ],
)
async def test_a_server_that_breaks_the_protocol_is_given_up_in_the_end(answer: bytes) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def babbles(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await connection.recv()
            await connection.send(answer, text=True)
            await connection.wait_closed()

        server.on_publisher.extend([babbles] * 3)
        with pytest.raises(OutcomeUnknown, match="keeps breaking"):
            await client.publish(created(1))


async def test_an_answer_to_nothing_is_survived() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def volunteers(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await connection.recv()
            for _ in range(2):
                await connection.send(
                    b'{"event":"ack","epoch":"E","firstSeq":1,"seq":1,"count":1}', text=True
                )
            await connection.wait_closed()

        async def greets_wrongly(connection: ServerConnection) -> None:
            await connection.send(b'{"event":"live","seq":1}', text=True)
            await connection.wait_closed()

        server.on_publisher.extend([volunteers, greets_wrongly])
        assert (await client.publish(created(1))).epoch == "E"
        assert (await client.publish(created(2))).epoch == "EPOCH1"


async def test_another_version_of_the_protocol_is_final() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def newer(connection: ServerConnection) -> None:
            await connection.send(b'{"event":"news"}', text=True)
            await connection.send(server.hello(protocol=2), text=True)
            await connection.wait_closed()

        server.on_publisher.append(newer)
        with pytest.raises(ClientError, match="protocol 2"):
            await client.publish(created(1))


async def test_a_frame_longer_than_the_server_takes_is_found_and_refused_alone() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        long = NewDelta("created", "long", after="x" * (1 << 20))
        results = await asyncio.gather(
            client.publish(created(1)),
            client.publish(long),
            client.publish(created(2)),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [Ack, PublishRefused, Ack]
        assert isinstance(results[1], PublishRefused)
        assert results[1].code == "message_too_large"
        assert [delta.session_id for delta in server.deltas] == ["s1", "s2"]


async def test_a_frame_longer_than_is_allowed_here_is_not_sent() -> None:
    async with (
        FakeRecorder() as server,
        Client(server.url, options=ClientOptions(max_frame_bytes=100)) as client,
    ):
        with pytest.raises(PublishRefused, match="at most 100"):
            await client.publish(NewDelta("created", "s", after="x" * 100))
        assert server.connections == []


# Bounds


async def test_beyond_the_bound_publishing_waits_for_its_turn() -> None:
    gate = asyncio.Event()
    async with FakeRecorder() as server:

        async def slow(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await gate.wait()
            await server._publisher(connection)

        server.on_publisher.append(slow)
        async with Client(server.url, options=ClientOptions(**AT_ONCE, max_frames=3)) as client:
            tasks = [asyncio.ensure_future(client.publish(created(number))) for number in range(10)]
            await server.until_connected(1)
            assert len(client._publisher._in_flight) == 3
            tasks[1].cancel()
            tasks[7].cancel()
            gate.set()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one) for one in done].count(Ack) == 8
        names = [delta.session_id for delta in server.deltas]
        assert [name for name in names if name != "s1"] == [f"s{n}" for n in (0, 2, 3, 4, 5, 6, 8, 9)]


async def test_a_call_that_is_cancelled_leaves_the_answers_matched() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def holds_back(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            frames = [await connection.recv(decode=False) for _ in range(2)]
            cancelled.cancel()
            await asyncio.sleep(0)
            for frame in frames:
                await connection.send(await server._accept(frame), text=True)
            await connection.wait_closed()

        server.on_publisher.append(holds_back)
        cancelled = asyncio.ensure_future(client.publish(created(1)))
        kept = asyncio.ensure_future(client.publish(created(2)))
        assert (await kept).seq == 2
        assert cancelled.cancelled()


# Closing


async def test_closing_waits_for_the_answers_that_are_due() -> None:
    async with FakeRecorder() as server:
        async with Client(server.url, options=NOW) as client:
            tasks = [asyncio.ensure_future(client.publish(created(number))) for number in range(50)]
            await asyncio.sleep(0)
        assert [(await task).seq for task in tasks] == list(range(1, 51))


async def test_closing_has_a_deadline_and_says_what_became_of_the_rest() -> None:
    async with FakeRecorder() as server:

        async def never_answers(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            server.received.append(await connection.recv(decode=False))
            async with server.more:
                server.more.notify_all()
            await connection.wait_closed()

        server.on_publisher.append(never_answers)
        client = Client(server.url, options=ClientOptions(drain_timeout_s=0, max_frames=1))
        sent = asyncio.ensure_future(client.publish(created(1)))
        waiting = asyncio.ensure_future(client.publish(created(2)))
        await until_received(server, 1)
        await client.aclose()
        await client.aclose()
        with pytest.raises(OutcomeUnknown, match="closed"):
            await sent
        with pytest.raises(Closed):
            await waiting
        with pytest.raises(Closed):
            await client.publish(created(3))


async def test_closing_without_a_server_gives_back_what_was_never_sent() -> None:
    time = FakeTime()
    async with FakeRecorder() as server:
        server.refusals.append(503)
        options = ClientOptions(sleep=time.sleep, drain_timeout_s=0)
        client = Client(server.url, options=options)
        task = asyncio.ensure_future(client.publish(created(1)))
        await time.until_asked(1)
        await client.aclose()
        with pytest.raises(Closed):
            await task


async def test_a_mistake_of_ours_reaches_the_caller() -> None:
    def broken() -> float:
        raise ZeroDivisionError

    async with FakeRecorder() as server, Client(server.url, options=ClientOptions(random=broken)) as client:
        server.refusals.append(503)
        with pytest.raises(ClientError, match="ZeroDivisionError"):
            await client.publish(created(1))


async def test_what_is_lost_on_the_way_there_is_not_recorded_twice() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def drops_the_first(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await connection.recv()
            raise Cut

        server.on_publisher.append(drops_the_first)
        ack = await client.publish(created(1))
        assert (ack.seq, len(server.deltas)) == (1, 1)
        assert orjson.loads(server.received[0])["id"] == server.deltas[0].id


def not_now(server: FakeRecorder, code: str, *, take: int = 0) -> Script:
    """A server that takes some frames, and then answers that it takes nothing, as one that is stopping does."""

    async def script(connection: ServerConnection) -> None:
        await connection.send(server.hello(), text=True)
        for _ in range(take):
            await connection.send(await server._accept(await connection.recv(decode=False)), text=True)
        async for _ in connection:
            await connection.send(server.event("error", code=code, message="not now"), text=True)

    return script


@pytest.mark.parametrize("options", [NOW, WITHOUT_IDS])
@pytest.mark.parametrize("code", ["closed", "unavailable", "not_ready", "rate_limited"])
async def test_what_the_server_does_not_take_for_now_is_sent_again(code: str, options: ClientOptions) -> None:
    async with FakeRecorder() as server, Client(server.url, options=options) as client:
        server.on_publisher.extend([not_now(server, code), not_now(server, code)])
        assert (await client.publish(created(1))).seq == 1
        assert [delta.session_id for delta in server.deltas] == ["s1"]
        assert len(server.connections) == 3


@pytest.mark.parametrize("take", range(4))
async def test_what_follows_a_frame_that_was_not_taken_does_not_overtake_it(take: int) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        server.on_publisher.append(not_now(server, "closed", take=take))
        acks = await asyncio.gather(*(client.publish(created(number)) for number in range(6)))
        assert [ack.seq for ack in acks] == list(range(1, 7))
        assert [delta.session_id for delta in server.deltas] == [f"s{number}" for number in range(6)]


async def test_a_publish_that_was_not_taken_and_is_cancelled_is_not_sent_again() -> None:
    time = FakeTime()
    options = ClientOptions(clock=time.clock, sleep=time.sleep, random=lambda: 0.5)
    async with FakeRecorder() as server, Client(server.url, options=options) as client:
        server.on_publisher.append(not_now(server, "closed"))
        first = asyncio.ensure_future(client.publish(created(1)))
        await time.until_asked(1)
        first.cancel()
        second = asyncio.ensure_future(client.publish(created(2)))
        await asyncio.wait({first})
        time.advance(60)
        assert (await second).seq == 1
        assert [delta.session_id for delta in server.deltas] == ["s2"]


async def test_that_the_server_takes_nothing_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        server.on_publisher.extend([not_now(server, "unavailable")] * 5)
        await client.publish(created(1))
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert "cannot publish at" in said[0]
    assert "the server rejects publishes for now: not now" in said[0]


@pytest.mark.parametrize("code", ["conflict", "storage_full", "store_error", "a_code_of_the_future"])
async def test_other_refusals_are_raised(code: str) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        server.on_publisher.append(not_now(server, code))
        with pytest.raises(PublishRefused) as caught:
            await client.publish(created(1))
        assert caught.value.code == code
