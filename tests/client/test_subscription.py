"""Tests of subscriptions over real sockets: cuts, resets, silence, slow callers, closing."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection

from recorder.client import (
    Client,
    ClientOptions,
    Delta,
    Disconnected,
    Event,
    Heartbeat,
    Hello,
    Live,
    Reset,
    State,
    Subscription,
)
from recorder.core.errors import ClientError
from recorder.core.position import Position
from tests.client.fake_recorder import Cut, FakeRecorder
from tests.client.fake_time import FakeTime
from tests.client.proxy import CuttingProxy

AT_ONCE: dict[str, Any] = {"backoff_base_s": 0.0, "backoff_cap_s": 0.0}
NOW = ClientOptions(**AT_ONCE)


async def take(events: Subscription, count: int) -> list[Event]:
    return [await anext(events) for _ in range(count)]


async def until_live(events: Subscription) -> list[Event]:
    taken: list[Event] = []
    async for event in events:
        taken.append(event)
        if isinstance(event, Live):
            break
    return taken


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events if isinstance(event, Delta)]


def since_of(path: str) -> str:
    return parse_qs(urlsplit(path).query)["since"][0]


async def test_what_is_published_after_entering_is_seen() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        await server.publish("before")
        async with client.subscribe() as events:
            await server.publish("after", "created", '{"n": 1e2}')
            live, delta = await take(events, 2)
            assert live == Live(1, "EPOCH1")
            assert isinstance(delta, Delta)
            assert (delta.seq, delta.session_id, delta.after_raw) == (2, "after", b'{"n": 1e2}')
            assert delta.raw == server.delta(2)
            assert events.position == Position("EPOCH1", 2, f"{2:064x}")


async def test_filters_and_since_reach_the_server() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        for name in ("a", "b", "c"):
            await server.publish(name, "created")
        await server.publish("a", "updated")
        async with client.subscribe(["a", "c"], "created", since="earliest") as events:
            assert seqs(await until_live(events)) == [1, 3]
        async with client.subscribe(since=Position("EPOCH1", 3)) as events:
            assert seqs(await until_live(events)) == [4]
        async with client.subscribe("a", since=2) as events:
            assert seqs(await until_live(events)) == [4]


@pytest.mark.parametrize("messages", range(1, 12))
async def test_a_cut_after_any_message_loses_nothing_and_repeats_nothing(messages: int) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        for _ in range(8):
            await server.publish()
        server.cut_after.extend([messages, messages, messages])
        async with client.subscribe(since="earliest") as events:
            history = await until_live(events)
            assert seqs(history) == list(range(1, 9))
            await server.publish()
            assert seqs(await take(events, 1)) == [9]
            assert events.violations == events.duplicates == 0


async def test_latest_that_is_cut_before_the_first_delta_resumes_from_hello() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        await server.publish()

        async def hello_only(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await server.publish()
            raise Cut

        server.on_subscriber.append(hello_only)
        async with client.subscribe() as events:
            assert seqs(await until_live(events)) == [2]
        assert since_of(server.connections[1]) == "EPOCH1:1"


async def test_a_hundred_cuts_at_any_byte_lose_nothing_and_repeat_nothing() -> None:
    chance = random.Random(8765)
    async with FakeRecorder() as server:
        cuts = iter([chance.randrange(150, 1500) for _ in range(100)])
        async with (
            CuttingProxy(server.port, lambda: next(cuts, None)) as proxy,
            Client(proxy.url, options=NOW) as client,
        ):
            seen: list[int] = []
            async with client.subscribe(since="earliest") as events:
                async for event in events:
                    if isinstance(event, Delta):
                        seen.append(event.seq)
                    # Under load: there is always more to come until every cut was made.
                    if proxy.cuts < 100:
                        await server.publish("s", "updated", '"' + "x" * chance.randrange(300) + '"')
                    elif seen and seen[-1] == len(server.deltas):
                        break
                assert events.violations == events.duplicates == 0
    assert seen == list(range(1, len(server.deltas) + 1))


async def test_another_epoch_is_told_as_a_reset_with_the_states_as_of_now() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        for name in ("a", "b", "c"):
            await server.publish(name, "created", f'"{name}"')
        async with client.subscribe(since="earliest") as events:
            await until_live(events)
            server.restart("EPOCH2", deltas=2)
            reset, first, second = await take(events, 3)
            assert reset == Reset("epoch_changed", "EPOCH2", 1, 2)
            assert events.position is None
            assert isinstance(first, State)
            assert isinstance(second, State)
            assert {first.session_id: first.state, second.session_id: second.state} == {"a": "a", "b": "b"}
            assert await take(events, 1) == [Live(2, "EPOCH2")]
            assert str(events.position) == "EPOCH2:2"


async def test_a_list_of_states_that_is_cut_begins_again_and_says_so() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        for name in ("a", "b", "c"):
            await server.publish(name, "created")
        server.cut_after.append(3)
        async with client.subscribe(since="state") as events:
            taken = await until_live(events)
        kinds = [type(event) for event in taken]
        assert kinds == [State, State, Reset, State, State, State, Live]
        assert taken[2] == Reset("cut", "EPOCH1", None, 3)
        assert [since_of(path) for path in server.connections] == ["state", "state"]


async def test_duplicates_are_dropped_and_a_gap_is_mended_by_resuming() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        for _ in range(4):
            await server.publish()

        async def stutters_then_skips(connection: ServerConnection) -> None:
            for message in (
                server.hello(),
                server.delta(1),
                server.delta(1),
                server.delta(2),
                server.delta(4),
            ):
                await connection.send(message, text=True)
            await connection.wait_closed()
            assert connection.close_code == 1002

        server.on_subscriber.append(stutters_then_skips)
        async with client.subscribe(since=0) as events:
            assert seqs(await until_live(events)) == [1, 2, 3, 4]
            assert (events.duplicates, events.violations, events.reconnects) == (1, 1, 1)
        assert since_of(server.connections[1]) == f"EPOCH1:2:{2:064x}"


async def test_a_server_that_keeps_breaking_the_protocol_is_given_up() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def babbles(connection: ServerConnection) -> None:
            await connection.send("babble")
            await connection.wait_closed()

        server.on_subscriber.extend([babbles] * 3)
        with pytest.raises(ClientError, match="keeps breaking"):
            await anext(client.subscribe())
        assert len(server.connections) == 3


@pytest.mark.parametrize("code", [1001, 1011, 1012, 4408, 4429])
async def test_after_most_close_codes_it_comes_back_where_it_was(code: int) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        await server.publish()

        async def leaves(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await connection.send(server.delta(1), text=True)
            await connection.close(code, "EPOCH1:77")

        server.on_subscriber.append(leaves)
        async with client.subscribe(since="earliest") as events:
            assert seqs(await until_live(events)) == [1]
        # Its own position, not the server's: between them may lie what was sent and never arrived.
        assert since_of(server.connections[1]) == f"EPOCH1:1:{1:064x}"


@pytest.mark.parametrize("code", [4400, 4401, 4403])
async def test_some_close_codes_are_final_and_say_why(code: int) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def leaves(connection: ServerConnection) -> None:
            await connection.close(code, "not you")

        server.on_subscriber.append(leaves)
        events = client.subscribe()
        for _ in range(2):
            with pytest.raises(ClientError, match=f"{code}: not you"):
                await anext(events)
        assert len(server.connections) == 1
        assert events.freshness.kind == "stale"


async def test_a_refused_subscription_is_final_when_entering_too() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def refuses(connection: ServerConnection) -> None:
            await connection.send(server.event("error", code="bad_subscription", message="no such thing"))
            await connection.close(4400)

        server.on_subscriber.append(refuses)
        with pytest.raises(ClientError, match="no such thing"):
            async with client.subscribe():
                pass


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_before_the_upgrade_is_final_and_says_why(status: int) -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        server.refusals.append(status)
        with pytest.raises(ClientError, match=f"answered {status}: refused, and here is why"):
            await anext(client.subscribe())


async def test_a_server_that_is_not_ready_yet_is_asked_again() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        server.refusals.extend([503, 502, 429])
        assert await anext(client.subscribe()) == Live(0, "EPOCH1")


async def test_after_so_many_tries_in_a_row_it_gives_up_if_told_to() -> None:
    async with FakeRecorder() as server:
        url = server.url
    async with Client(url, options=ClientOptions(**AT_ONCE, max_tries=3)) as client:
        events = client.subscribe()
        with pytest.raises(ClientError, match="gave up after 3 tries"):
            await anext(events)
        assert events.reconnects == 3


async def test_a_subscription_too_long_for_a_url_goes_as_a_message() -> None:
    names = [f"{number:0250}" for number in range(200)]
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        for name in (names[7], "other", names[150]):
            await server.publish(name)
        server.cut_after.append(4)
        async with client.subscribe(names, since="earliest") as events:
            assert seqs(await until_live(events)) == [1, 3]
            await server.publish("other")
            await server.publish(names[0])
            assert seqs(await take(events, 1)) == [5]
        assert all(len(path) < 200 for path in server.connections)
        assert len(server.connections) == 2


async def test_a_message_that_the_server_refuses_is_final() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def refuses(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await connection.send(server.event("heartbeat", epoch="EPOCH1", head=0), text=True)
            await connection.send(server.event("live", seq=0), text=True)
            await connection.recv()
            await connection.send(server.event("error", code="bad_subscription", message="too many"))
            await connection.wait_closed()

        server.on_subscriber.append(refuses)
        with pytest.raises(ClientError, match="too many"):
            await anext(client.subscribe([f"{number:0250}" for number in range(200)]))


async def test_notices_tell_of_connections_and_heartbeats() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def beats(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await connection.send(server.event("live", seq=0), text=True)
            await connection.send(server.event("heartbeat", epoch="EPOCH1", head=0, durable=0, at="now"))
            raise Cut

        server.on_subscriber.append(beats)
        async with client.subscribe(notices=True) as events:
            hello, live, heartbeat, lost, again = await take(events, 5)
            assert isinstance(hello, Hello)
            assert live == Live(0, "EPOCH1")
            assert heartbeat == Heartbeat("EPOCH1", 0, 0, "now")
            assert isinstance(lost, Disconnected)
            assert "1006" in lost.why
            assert again == hello == events.hello


# Time


async def test_delays_grow_and_a_connection_that_held_starts_them_afresh() -> None:
    time = FakeTime()
    options = ClientOptions(
        clock=time.clock, sleep=time.sleep, random=lambda: 1.0, backoff_base_s=1.0, backoff_cap_s=3.0
    )
    async with FakeRecorder() as server, Client(server.url, options=options) as client:
        server.refusals.extend([503] * 3)
        async with asyncio.TaskGroup() as group:
            events = client.subscribe()
            start = group.create_task(events.start())
            for times, delay in enumerate([1.0, 2.0, 3.0], 1):
                await time.until_asked(times)
                assert time.slept[-1] == delay
                time.advance(delay)
            await start
        await time.until_asked(4)  # the watch over the connection
        time.advance(10)
        server.drop_all()
        await time.until_asked(5)
        assert time.slept[-1] == 1.0


async def test_a_connection_on_which_nothing_is_heard_is_cut_and_made_anew() -> None:
    time = FakeTime()
    options = ClientOptions(clock=time.clock, sleep=time.sleep, **AT_ONCE, heartbeat_s=10)
    async with FakeRecorder() as server, Client(server.url, options=options) as client:
        more = asyncio.Event()

        async def falls_silent(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await connection.send(server.event("live", seq=0), text=True)
            await more.wait()
            await server.publish()
            await connection.send(server.delta(1), text=True)
            assert await connection.recv() == '{"op":"ping"}'
            await connection.wait_closed()

        server.on_subscriber.append(falls_silent)
        async with client.subscribe(notices=True) as events:
            assert len(await take(events, 2)) == 2
            await time.until_asked(1)
            time.advance(15)
            more.set()
            assert seqs(await take(events, 1)) == [1]  # heard: it may be silent for another 25 s
            time.advance(5)
            await time.until_asked(2)
            time.advance(14.9)
            assert str(events.freshness) == "live"
            time.advance(0.2)
            assert str(events.freshness) == "stale 20 s"
            await time.until_asked(3)
            assert time.slept == [20, 15, 5]
            time.advance(5)
            (lost,) = await take(events, 1)
            assert isinstance(lost, Disconnected)
            assert "nothing was heard" in lost.why
            await time.until_asked(4)
            time.advance(0)
            assert [type(event) for event in await take(events, 2)] == [Hello, Live]
            assert since_of(server.connections[1]) == f"EPOCH1:1:{1:064x}"


async def test_a_server_whose_heartbeat_is_slower_than_thought_is_asked_and_not_cut() -> None:
    time = FakeTime()
    options = ClientOptions(clock=time.clock, sleep=time.sleep, **AT_ONCE, heartbeat_s=10)
    async with (
        FakeRecorder() as server,
        Client(server.url, options=options) as client,
        client.subscribe() as events,
    ):
        await take(events, 1)
        for times in range(1, 11, 2):
            await time.until_asked(times)
            time.advance(20)
            await time.until_asked(times + 1)
            while events.freshness.stale_s > 0:  # noqa: ASYNC110 - an answer that is no event
                await asyncio.sleep(0)
            time.advance(5)
        assert str(events.freshness) == "live"
        assert len(server.connections) == 1


async def test_freshness_follows_what_is_known_and_what_was_taken() -> None:
    time = FakeTime()
    options = ClientOptions(clock=time.clock, sleep=time.sleep, heartbeat_s=10)
    async with FakeRecorder() as server, Client(server.url, options=options) as client:
        for _ in range(3):
            await server.publish()
        assert client.freshness is None
        events = client.subscribe(since="earliest")
        time.advance(7)
        assert str(client.freshness) == "stale 7 s"
        async with events:
            assert str(events.freshness).startswith("behind")
            await take(events, 3)
            assert await take(events, 1) == [Live(3, "EPOCH1", f"{3:064x}")]
            assert str(events.freshness) == str(client.freshness) == "live"
            time.advance(20)
            assert str(events.freshness) == "live"
            time.advance(1)
            assert str(events.freshness) == "stale 21 s"
        assert client.freshness is None


async def test_a_heartbeat_that_knows_of_more_makes_it_behind() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        for _ in range(5):
            await server.publish()

        async def lags(connection: ServerConnection) -> None:
            await connection.send(server.hello(head=2), text=True)
            await connection.send(server.event("live", seq=2), text=True)
            await connection.send(server.event("heartbeat", epoch="EPOCH1", head=5), text=True)
            await connection.recv()

        server.on_subscriber.append(lags)
        async with client.subscribe(notices=True) as events:
            await take(events, 3)
            assert str(events.freshness) == "behind 3"
        server.on_subscriber.append(lags)
        async with client.subscribe("a", notices=True) as events:
            await take(events, 3)
            # With a filter the three need not be its own.
            assert str(events.freshness) == "live"


# Callers


async def test_a_caller_who_takes_nothing_is_waited_for_and_misses_nothing() -> None:
    time = FakeTime()
    options = ClientOptions(clock=time.clock, sleep=time.sleep, max_waiting_events=4, heartbeat_s=10)
    async with FakeRecorder() as server, Client(server.url, options=options) as client:
        for _ in range(300):
            await server.publish()
        async with client.subscribe(since="earliest") as events:
            await time.until_asked(1)
            time.advance(1000)  # the silence is ours: nothing is cut
            await time.until_asked(2)
            assert events.freshness.kind == "behind"
            assert seqs(await until_live(events)) == list(range(1, 301))
        assert len(server.connections) == 1


async def test_cancelling_an_iteration_loses_nothing() -> None:
    async with (
        FakeRecorder() as server,
        Client(server.url, options=NOW) as client,
        client.subscribe() as events,
    ):
        assert await take(events, 1) == [Live(0, "EPOCH1")]
        seen: list[int] = []
        for number in range(1, 30):
            task = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            if number % 3 == 0:
                await server.publish()
            task.cancel()
            try:
                seen += seqs([await task])
            except asyncio.CancelledError:
                continue
        while len(seen) < len(server.deltas):
            seen += seqs(await take(events, 1))
        assert seen == list(range(1, len(server.deltas) + 1))


async def test_closing_ends_whoever_waits_and_every_later_iteration() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:
        events = client.subscribe()
        await events.start()
        await take(events, 1)

        async def follow() -> list[Event]:
            return [event async for event in events]

        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(follow()) for _ in range(2)]
            await asyncio.sleep(0)
            await events.aclose()
        assert [task.result() for task in waiting] == [[], []]
        await events.aclose()
        assert [event async for event in events] == []


async def test_closing_does_not_wait_for_a_server_that_pours() -> None:
    options = replace(NOW, close_timeout_s=3600)
    async with FakeRecorder() as server, Client(server.url, options=options) as client:
        for _ in range(2000):
            await server.publish("s", "updated", '"' + "x" * 1000 + '"')
        async with asyncio.timeout(60), client.subscribe(since="earliest") as events:
            await take(events, 1)


async def test_closing_while_it_waits_for_the_next_try_is_at_once() -> None:
    time = FakeTime()
    options = ClientOptions(clock=time.clock, sleep=time.sleep, backoff_base_s=1000, random=lambda: 0.9)
    async with FakeRecorder() as server, Client(server.url, options=options) as client:
        server.refusals.append(503)
        events = client.subscribe()
        waiting = asyncio.ensure_future(anext(events, None))
        await time.until_asked(1)
        await events.aclose()
        assert await waiting is None


async def test_a_mistake_of_ours_reaches_the_caller() -> None:
    def broken() -> float:
        raise ZeroDivisionError

    async with FakeRecorder() as server, Client(server.url, options=ClientOptions(random=broken)) as client:
        server.refusals.append(503)
        with pytest.raises(ZeroDivisionError):
            await anext(client.subscribe())


async def test_a_heartbeat_moves_the_position_only_behind_what_was_taken() -> None:
    async with FakeRecorder() as server, Client(server.url, options=NOW) as client:

        async def quiet(connection: ServerConnection) -> None:
            await connection.send(server.hello(), text=True)
            await server.publish("a")
            for message in (
                server.event("live", seq=0),
                server.delta(1),
                server.event("heartbeat", epoch=server.epoch, head=7, through=7),
            ):
                await connection.send(message, text=True)
            await connection.wait_closed()

        server.on_subscriber.append(quiet)
        async with client.subscribe("a") as events:
            live = await anext(events)
            assert isinstance(live, Live)
            assert events.position == live.position
            # The heartbeat came behind the delta, which waits: only with it is everything up to there taken.
            while (passed := events._passed) is None:  # noqa: ASYNC110 - what is only read is no event
                await asyncio.sleep(0)
            assert passed == Position("EPOCH1", 7)
            assert events.position == live.position
            assert seqs(await take(events, 1)) == [1]
            assert events.position == Position("EPOCH1", 7)
