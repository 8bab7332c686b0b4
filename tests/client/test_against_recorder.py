"""The client against a real recorder, in a process of its own: what the fake cannot vouch for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from recorder.client import (
    Client,
    ClientOptions,
    Delta,
    Event,
    Live,
    NewDelta,
    Proof,
    PublishRefused,
    RawJson,
    Reset,
    State,
    Subscription,
    TokenRefused,
)
from recorder.core.clock import FakeClock
from tests.support.app import delta, running_app
from tests.support.proxy import Proxy
from tests.support.server import ServerProcess
from tests.support.tokens import key_file, signed
from tests.support.wire import PATIENCE

NOW = ClientOptions(backoff_base_s=0.0, backoff_cap_s=0.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A recorder that records."""
    with ServerProcess(tmp_path, "--persist") as running:
        yield running


async def until_live(events: Subscription) -> list[Event]:
    taken: list[Event] = []
    async for event in events:
        taken.append(event)
        if isinstance(event, Live):
            break
    return taken


async def deltas_until(events: Subscription, last: int) -> list[Delta]:
    taken: list[Delta] = []
    async for event in events:
        assert not isinstance(event, Reset)
        if isinstance(event, Delta):
            taken.append(event)
            if event.seq == last:
                break
    return taken


@asynccontextmanager
async def publishing(client: Client, sessions: int) -> AsyncIterator[list[int]]:
    """Publishes without a pause until the body is done; the count so far."""
    count = [0]
    stop = asyncio.Event()

    async def publish() -> None:
        while not stop.is_set():
            batch = [
                NewDelta("updated", f"s{number % sessions}", after={"n": number, "pad": "x" * (number % 700)})
                for number in range(count[0], count[0] + 20)
            ]
            await client.publish(batch)
            count[0] += 20

    async with asyncio.TaskGroup() as group:
        group.create_task(publish())
        yield count
        stop.set()


async def test_a_hundred_cuts_at_any_byte_under_load_lose_and_repeat_nothing(server: ServerProcess) -> None:
    chance = random.Random(2026)
    cuts = iter([chance.randrange(100, 60_000) for _ in range(100)])
    async with (
        Proxy(server.url, lambda: next(cuts, None)) as proxy,
        Client(server.url) as straight,
        Client(proxy.url, options=NOW) as cut,
        straight.subscribe() as every,
        straight.subscribe(["s1", "s3"]) as some,
        cut.subscribe(since="earliest") as bumpy,
    ):
        async with asyncio.timeout(50), publishing(straight, 5) as published:
            seen: list[Delta] = []
            while proxy.cuts < 100:
                event = await anext(bumpy)
                if isinstance(event, Delta):
                    seen.append(event)
            uncut = await deltas_until(every, seen[-1].seq)
        seen += await deltas_until(bumpy, published[0]) if seen[-1].seq < published[0] else []
        uncut += await deltas_until(every, published[0]) if uncut[-1].seq < published[0] else []
        assert [delta.seq for delta in seen] == list(range(1, published[0] + 1))
        # Cut or not, from history or live: the same bytes.
        assert [delta.raw for delta in seen] == [delta.raw for delta in uncut]
        wanted = [delta.raw for delta in uncut if delta.session_id in ("s1", "s3")]
        assert [delta.raw for delta in await deltas_until(some, published[0] - 1)] == wanted
        assert bumpy.violations == bumpy.duplicates == 0
        # The last publish may have been broken off between its recording and its ack: then one more is on its way.
        # Read late, it may have been closed as slow: then it is on its way back.
        async with asyncio.timeout(PATIENCE):
            while str(every.freshness) not in ("live", "behind 1"):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)


async def test_publishing_through_cuts_records_everything_once_and_in_order(server: ServerProcess) -> None:
    chance = random.Random(2027)
    cuts = iter([chance.randrange(150, 3000) for _ in range(40)])
    async with Proxy(server.url, lambda: next(cuts, None)) as proxy, Client(proxy.url, options=NOW) as client:
        acks = await asyncio.gather(
            *(client.publish(NewDelta("created", f"s{number}", after=number)) for number in range(500))
        )
        assert [ack.seq for ack in acks] == list(range(1, 501))
        assert proxy.cuts > 10
    async with Client(server.url) as client, client.subscribe(since="earliest") as events:
        recorded = [event for event in await until_live(events) if isinstance(event, Delta)]
        assert [delta.after for delta in recorded] == list(range(500))


async def test_states_go_there_and_back_byte_for_byte(server: ServerProcess) -> None:
    texts = [
        '{"n" : 123456789012345678901234567890, "f":1.00, "e":1e2}',
        '"lone \\ud83d and \\u00e9 and é"',
        "[\n 1,\t2 ]",
        "false",
        '""',
    ]
    async with Client(server.url) as client, client.subscribe() as live:
        for number, text in enumerate(texts):
            await client.publish(NewDelta("created", f"s{number}", after=RawJson(text)))
        from_live = [one.after_raw for one in await deltas_until(live, len(texts))]
        async with client.subscribe(since=0) as history:
            from_history = [one.after_raw for one in await deltas_until(history, len(texts))]
        async with client.subscribe(since="state") as states:
            listed = {
                one.session_id: one.state_raw for one in await until_live(states) if isinstance(one, State)
            }
    sent = [text.encode() for text in texts]
    assert from_live == from_history == [listed[f"s{number}"] for number in range(len(texts))] == sent


async def test_refusals_duplicates_and_filled_in_states(server: ServerProcess) -> None:
    async with Client(server.url) as client, client.subscribe() as events:
        first = await client.publish(NewDelta("created", "a", after={"v": 1}, id="once"))
        assert await client.publish(NewDelta("created", "a", after={"v": 1}, id="once")) == first
        with pytest.raises(PublishRefused) as caught:
            await client.publish(NewDelta("created", "a", after={"v": 2}, id="once"))
        assert caught.value.code == "conflict"
        with pytest.raises(PublishRefused) as caught:
            await client.publish_raw('[{"type":"created","sessionId":"b","after":1},{"type":"x"}]')
        assert caught.value.index == 1
        await client.publish(NewDelta("updated", "a", after={"v": 3}))
        deltas = await deltas_until(events, 2)
        assert deltas[1].before == {"v": 1}
        assert deltas[1].hash is not None


async def test_a_thousand_sessions_can_be_named(server: ServerProcess) -> None:
    names = [f"{number:0256}" for number in range(1000)]
    async with Client(server.url) as client, client.subscribe(names, since="earliest") as events:
        epoch = (await client.publish(NewDelta("created", "x", after=1))).epoch
        assert await anext(events) == Live(0, epoch, "0" * 64)
        await client.publish(NewDelta("created", names[999], after=1))
        event = await anext(events)
        assert isinstance(event, Delta)
        assert event.seq == 2


async def has_closed_a_slow_reader(server: ServerProcess) -> bool:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        return "\nrecorder_slow_readers_closed_total 1" in (await http.get("/metrics")).text


async def test_a_reader_that_was_closed_for_being_slow_misses_nothing(tmp_path: Path) -> None:
    flags = ("--slow-soft-bytes", "65536", "--slow-soft-ms", "50", "--slow-hard-bytes", "200000")
    with ServerProcess(tmp_path, "--persist", "--slow-linger-ms", "100", *flags) as server:
        async with Client(server.url, options=NOW) as client, client.subscribe() as events:
            for _ in range(150):
                batch = [
                    NewDelta("updated", "s", after={"n": number, "pad": "x" * 1000}) for number in range(100)
                ]
                await client.publish(batch)
            # It reads nothing meanwhile, so it is closed in the end, however much the system took for it.
            async with asyncio.timeout(PATIENCE):
                while not await has_closed_a_slow_reader(server):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            seqs = [delta.seq for delta in await deltas_until(events, 15_000)]
            assert seqs == list(range(1, 15_001))
            assert events.reconnects > 0


async def test_what_is_not_recorded_is_told_after_a_cut(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        cuts = iter([700])
        async with (
            Proxy(server.url, lambda: next(cuts, None)) as proxy,
            Client(server.url) as straight,
            Client(proxy.url, options=NOW) as client,
            client.subscribe() as events,
        ):
            assert isinstance(await anext(events), Live)
            async with asyncio.timeout(20):
                while True:
                    await straight.publish(NewDelta("created", "s", after="x" * 200))
                    event = await anext(events)
                    if isinstance(event, Reset):
                        break
            assert event.reason == "not_recording"


async def test_what_comes_is_verified_across_cuts_and_a_fork_is_told(server: ServerProcess) -> None:
    cuts = iter([3000, 4000, None])
    async with (
        Proxy(server.url, lambda: next(cuts, None)) as proxy,
        Client(server.url) as straight,
        Client(proxy.url, options=NOW) as client,
        client.subscribe(since="earliest", verify=True) as events,
        straight.subscribe(sessions="s1", since="earliest", verify=True) as some,
    ):
        for number in range(30):
            await straight.publish(NewDelta("updated", f"s{number % 2}", after={"n": number}))
        deltas = await deltas_until(events, 30)
        assert {delta.proof for delta in deltas} == {Proof.LINKED}
        assert events.reconnects > 0
        assert {delta.proof for delta in await deltas_until(some, 30)} <= {
            Proof.START,
            Proof.LINKED,
            Proof.FILTERED,
        }
        position = deltas[9].position
        async with straight.subscribe(since=position, verify=True) as again:
            assert [delta.proof for delta in await deltas_until(again, 30)] == [Proof.LINKED] * 20
        async with straight.subscribe(since=replace(position, hash="0" * 64)) as fork:
            event = await anext(fork)
            assert isinstance(event, Reset)
            assert event.reason == "fork"


async def test_a_token_for_some_sessions_leaves_no_gaps_that_are_not_there(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path)) as app:
        await app.publish(*[delta(name, n) for n in range(5) for name in ("mine", "theirs")])
        token = signed(sessions=["mine"])
        async with Client(app.url, token=token) as client, client.subscribe(since="earliest") as events:
            found = await deltas_until(events, 9)
            assert [event.seq for event in found] == [1, 3, 5, 7, 9]
            await app.publish(delta("theirs"), delta("mine", 5))
            assert [event.seq for event in await deltas_until(events, 12)] == [12]
            assert events.violations == 0


async def test_a_restart_of_the_server_costs_a_publisher_nothing_but_time(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--persist") as server:
        port = urlsplit(server.url).port
        options = ClientOptions(backoff_base_s=0.02, backoff_cap_s=0.05)
        async with Client(server.url, options=options) as client, publishing(client, 5) as published:
            for _ in range(2):
                count = published[0]
                while published[0] < count + 200:  # noqa: ASYNC110 - a publish is no event
                    await asyncio.sleep(0)
                assert await asyncio.to_thread(server.stop) == 0
                server.flags = ("--persist", "--port", str(port))
                await asyncio.to_thread(server.start)
        async with Client(server.url) as client, client.subscribe(since="earliest") as events:
            deltas = await deltas_until(events, published[0])
            assert [delta.after["n"] for delta in deltas] == list(range(published[0]))


async def test_a_token_that_expires_ends_no_client_that_can_get_another(tmp_path: Path) -> None:
    clock = FakeClock()
    asked: list[str] = []

    async def fresh() -> str:
        # Valid until the clock is moved: a slow machine must not let it expire on its way.
        asked.append(signed(["subscribe", "publish"], exp=clock.now_ms() / 1000 + 2))
        return asked[-1]

    async with running_app(tmp_path, clock=clock, jwt_key_file=key_file(tmp_path), jwt_leeway=0) as app:
        async with Client(app.url, token=fresh, options=NOW) as client, client.subscribe() as events:
            await anext(events)
            await client.publish(NewDelta("created", "s", after=0))
            for reconnects in (1, 2):
                clock.advance(3)
                async with asyncio.timeout(60):
                    while events.reconnects < reconnects:  # noqa: ASYNC110 - a connection that was lost is no event
                        await asyncio.sleep(0.01)
            ack = await client.publish(NewDelta("updated", "s", after=1))
            assert [delta.after for delta in await deltas_until(events, ack.seq)] == [0, 1]
        assert len(asked) >= 4
        async with Client(app.url, token=asked[0], options=NOW) as client:
            with pytest.raises(TokenRefused, match=r"expired.*give a function that gets one"):
                await anext(client.subscribe())
            with pytest.raises(TokenRefused, match=r"expired.*give a function that gets one"):
                await client.publish(NewDelta("updated", "s", after=2))


async def test_a_quiet_session_is_not_reset_by_a_prune_of_what_it_did_not_miss(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path, heartbeat_interval=100) as app,
        Proxy(app.url) as proxy,
        Client(proxy.url, options=NOW) as client,
    ):
        await app.publish(delta("quiet"))
        async with client.subscribe("quiet", since="earliest") as events:
            assert isinstance((await until_live(events))[-1], Live)
            await app.publish(*[delta("busy", n) for n in range(300)])
            async with asyncio.timeout(60):
                while str(events.position).partition(":")[2][:3] != "301":  # noqa: ASYNC110 - only a heartbeat moves it
                    await asyncio.sleep(0.01)
            await app.recorder.recording.snapshot()
            assert await app.recorder.recording.prune(300, "test") == 300
            proxy.cut()
            assert isinstance(await anext(events), Live)
            await app.publish(delta("quiet", 1))
            assert [one.seq for one in await deltas_until(events, 302)] == [302]
            assert events.reconnects == 1
