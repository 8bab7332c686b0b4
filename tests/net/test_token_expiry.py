"""Connections with tokens: what each may, what it sees, and when it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder.core.clock import FakeClock
from recorder.core.errors import InvalidSetting
from tests.support.app import App, delta, running_app, some, turn, turn_until
from tests.support.http import bare, request
from tests.support.tokens import ADMIN, LISTED, PUBLISHER, SUBSCRIBER, bearer, key_file, signed
from tests.support.wire import Ending, Refused

SOME = signed(["subscribe", "publish"], sessions=["mine"], sessionPrefixes=["team/"])


def shown(token: str) -> list[tuple[str, str]]:
    return list(bearer(token).items())


def offered(app: App, *names: str) -> list[tuple[str, str]]:
    """What a browser sends on a page of the recorder's own."""
    return [("origin", app.url), ("sec-websocket-protocol", ", ".join(names))]


async def ending(app: App, target: str, headers: list[tuple[str, str]]) -> Ending:
    async with app.connect(target, headers) as wire:
        return await wire.ending()


@pytest.mark.parametrize(
    ("target", "token", "status"),
    [
        ("/ws", None, 401),
        ("/ws", "unknown", 401),
        ("/ws", PUBLISHER, 403),
        ("/publish", None, 401),
        ("/publish", SUBSCRIBER, 403),
        ("/ws", SUBSCRIBER, 101),
        ("/ws", ADMIN, 101),
        ("/publish", PUBLISHER, 101),
        ("/publish", ADMIN, 101),
    ],
)
async def test_an_upgrade_needs_the_role_of_its_place(target: str, token: str | None, status: int) -> None:
    async with running_app(None, **LISTED) as app:
        headers = [] if token is None else shown(token)
        if status == 101:
            async with app.connect(target, headers) as wire:
                assert (await wire.event())["event"] == "hello"
            return
        with pytest.raises(Refused) as refused:
            async with app.connect(target, headers):
                pass
        assert refused.value.status == status
        assert app.gateway.metrics.rejected == {"not_authenticated" if status == 401 else "not_allowed": 1}


@pytest.mark.parametrize(
    ("target", "token", "code"),
    [("/ws", "unknown", 4401), ("/publish", SUBSCRIBER, 4403), ("/ws", f"{SUBSCRIBER}.x", 4401)],
)
async def test_a_browser_is_told_by_the_close_code_since_it_can_read_no_status(
    target: str, token: str, code: int
) -> None:
    async with running_app(None, **LISTED) as app:
        end = await ending(app, target, offered(app, f"bearer.{token}"))
        assert (end.code, [event["event"] for event in end.events]) == (code, ["error"])
        assert (await ending(app, target, [("origin", app.url)])).code == 4401
        assert app.recorder.hub.subscribers == 0
        # A page of somewhere else is not even told that.
        with pytest.raises(Refused, match="403"):
            await ending(app, target, [("origin", "https://evil.example"), ("sec-websocket-protocol", "a")])


async def test_a_token_comes_as_a_subprotocol_whole_and_is_echoed() -> None:
    dotted = "ab.cd.ef-_~+"
    async with running_app(None, subscribe_tokens=dotted) as app:
        for names in ([f"bearer.{dotted}"], ["other", f"bearer.{dotted}"]):
            async with app.connect("/ws", offered(app, *names)) as wire:
                assert (await wire.event())["event"] == "hello"
                assert f"sec-websocket-protocol: bearer.{dotted}" in wire.head.lower()
        for names in (["bearer.ab"], ["bearer."], ["bearer.ab.cd"], [f"bearer.{dotted}", "bearer.other"]):
            assert (await ending(app, "/ws", offered(app, *names))).code == 4401


async def test_a_token_for_some_sessions_sees_these_alone(tmp_path: Path) -> None:
    names = ("mine", "team/a", "yours", "tea", "Team/a", "mine2")
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path), **LISTED) as app:
        await app.publish(*[delta(name) for name in names])
        for target, kind in (("/ws?since=earliest", "delta"), ("/ws?since=state", "state")):
            async with app.connect(target, shown(SOME)) as wire:
                events = (await wire.until("live"))[1:-1]
                seen = [event.get("sessionId") or event["delta"]["sessionId"] for event in events]
                assert ({event["event"] for event in events}, seen) == ({kind}, ["mine", "team/a"])
                await app.publish(*[delta(name, 1) for name in names])
                live = [await wire.event(), await wire.event()]
                assert [event["delta"]["sessionId"] for event in live] == ["mine", "team/a"]
                await wire.text({"op": "ping"})
                assert await wire.event() == {"event": "pong"}


async def test_asking_for_a_foreign_session_is_refused_whether_there_is_one_or_not(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path), **LISTED) as app:
        await app.publish(delta("yours"))
        said = []
        for name in ("yours", "nobody"):
            end = await ending(app, f"/ws?session={name}&since=earliest", shown(SOME))
            assert end.code == 4403
            said.append(
                [str(event).replace(name, "X") for event in end.events] + [end.reason.replace(name, "X")]
            )
        assert said[0] == said[1]
        async with app.connect("/ws?session=mine", shown(SOME)) as wire:
            await wire.until("live")
            await wire.text({"op": "subscribe", "sessions": ["mine", "yours"], "since": "earliest"})
            assert (await wire.event())["code"] == "not_allowed"
            # The subscription that it had goes on.
            await app.publish(delta("yours", 1), delta("mine", 1))
            assert (await wire.event())["delta"]["sessionId"] == "mine"
            await wire.text({"op": "subscribe", "since": "state"})
            assert [event["event"] for event in await wire.until("live")] == ["state", "live"]


async def test_a_token_for_no_session_sees_nothing(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path), **LISTED) as app:
        await app.publish(delta("a"))
        async with app.connect("/ws?since=earliest", shown(signed(sessions=[]))) as wire:
            assert [event["event"] for event in await wire.until("live")] == ["hello", "live"]


async def test_a_publisher_for_some_sessions_writes_these_alone(tmp_path: Path) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path), **LISTED) as app:
        await app.publish(delta("yours", id="taken"))
        async with app.connect("/publish", shown(SOME)) as wire:
            await wire.event()
            await wire.text([delta("mine"), delta("yours")])
            error = await wire.event()
            assert (error["code"], error["index"]) == ("not_allowed", 1)
            assert "[1].sessionId: session 'yours' is not among those of the token" in error["message"]
            assert app.head == 1
            await wire.text(delta("team/b"))
            assert (await wire.event())["seq"] == 2
            # An id that a foreign session has used is taken, but not said where.
            await wire.text(delta("mine", id="taken"))
            error = await wire.event()
            assert (error["code"], "seq" in error["message"]) == ("conflict", False)


@pytest.mark.parametrize("target", ["/ws", "/publish"])
async def test_a_connection_ends_with_its_token(target: str, tmp_path: Path) -> None:
    clock = FakeClock()
    settings = {"jwt_key_file": key_file(tmp_path), "heartbeat_interval": 3_600_000}
    async with running_app(None, clock=clock, **settings) as app:
        exp = clock.now_ms() // 1000 + 5
        token = signed(["subscribe", "publish"], exp=exp)
        async with app.connect(target, shown(token)) as wire, app.connect("/ws", shown(signed())) as other:
            await wire.event()
            clock.advance(exp - clock.now_ms() / 1000 - 0.001)
            app.sweep()
            await turn()
            await other.until("live")
            clock.advance(0.001)
            app.sweep()
            end = await wire.ending()
            assert (end.code, end.reason) == (4401, "the token has expired")
            await turn_until(lambda: len(app.gateway.connections._sockets) == 1)
            await other.text({"op": "ping"})
            assert (await other.event())["event"] == "pong"
        clock.advance(app.recorder.settings.jwt_leeway / 1000)
        with pytest.raises(Refused, match="the token has expired"):
            await ending(app, target, shown(token))


async def test_what_a_publisher_sent_before_its_token_ended_is_answered(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock, jwt_key_file=key_file(tmp_path)) as app:
        token = signed("publish", exp=clock.now_ms() // 1000 + 5)
        async with app.connect("/publish", shown(token)) as wire:
            await wire.event()
            await wire.texts([delta(n=n) for n in range(20)])
            await turn_until(lambda: app.head == 20)
            clock.advance(10)
            app.sweep()
            end = await wire.ending()
            assert end.code == 4401
            assert [event["seq"] for event in end.events] == list(range(1, 21))


async def test_a_token_that_is_taken_out_of_its_file_ends_its_connections_and_no_others(
    tmp_path: Path,
) -> None:
    files = {name: tmp_path / name for name in ("subscribe_tokens_file", "publish_tokens_file")}
    for file in files.values():
        file.write_text("goes\nstays\n")
    async with (
        running_app(tmp_path, **files) as app,
        app.connect("/ws", shown("goes")) as going,
        app.connect("/ws", shown("stays")) as staying,
        app.connect("/publish", shown("goes")) as publishing,
    ):
        await going.until("live")
        await staying.until("live")
        await publishing.event()
        await publishing.text(delta("s", 1))
        assert (await publishing.event())["event"] == "ack"
        for file in files.values():
            file.write_text("stays\n")
        # Nothing is looked at before it is told to.
        await app.publish(delta("s", 2))
        assert app.gateway.renew_tokens() == 2
        for wire in (going, publishing):
            ended = await wire.ending()
            assert (ended.code, ended.reason) == (4401, "the token is not valid any more")
        await app.publish(delta("s", 3))
        assert await staying.deltas(3) == [1, 2, 3]
        with pytest.raises(Refused, match="401"):
            async with app.connect("/ws", shown("goes")):
                pass
        assert app.gateway.renew_tokens() == 0


async def test_what_a_revoked_publisher_had_accepted_is_answered_first(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("goes\n")
    async with (
        running_app(tmp_path, publish_tokens_file=file) as app,
        app.connect("/publish", shown("goes")) as wire,
    ):
        await wire.event()
        await wire.texts([delta("s", n) for n in range(50)])
        await turn_until(lambda: app.head == 50)
        file.write_text("another\n")
        app.gateway.renew_tokens()
        ended = await wire.ending()
        assert ended.code == 4401
        assert ended.events[-1]["seq"] == 50


async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("one\n")
    async with running_app(None, admin_tokens_file=file) as app, app.connect("/ws", shown("one")) as wire:
        await wire.until("live")
        file.write_text("\n")
        with pytest.raises(InvalidSetting, match="ADMIN_TOKENS_FILE"):
            app.gateway.renew_tokens()
        await app.publish(delta())
        assert (await wire.event())["event"] == "delta"
        async with app.connect("/ws", shown("one")) as again:
            await again.until("live")


async def test_a_stream_says_that_its_token_was_revoked_and_ends_and_others_go_on(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("goes\nstays\n")
    async with (
        running_app(tmp_path, subscribe_tokens_file=file) as app,
        bare(app) as going,
        bare(app) as staying,
    ):
        for connection, token in ((going, "goes"), (staying, "stays")):
            await connection.send(request(app, "GET /api/stream", [("authorization", f"Bearer {token}")]))
            assert (await connection.head())[0] == 200
            await connection.reader.readuntil(b'"live"')
        file.write_text("stays\n")
        assert app.gateway.renew_tokens() == 1
        told = await going.reader.readuntil(b"\r\n0\r\n\r\n")
        assert b'"code":"not_authenticated"' in told
        await app.publish(delta())
        await staying.reader.readuntil(b'"delta"')


async def test_an_export_under_way_is_broken_off_where_its_token_is_revoked(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("goes\n")
    async with (
        running_app(tmp_path, subscribe_tokens_file=file) as app,
        bare(app, receive_buffer=2048) as reader,
    ):
        await app.publish(*some(2000, size=4000))
        await reader.send(request(app, "GET /api/export", [("authorization", "Bearer goes")]))
        assert (await reader.head())[0] == 200
        file.write_text("another\n")
        app.gateway.renew_tokens()
        with pytest.raises(asyncio.IncompleteReadError) as broken:
            await reader.reader.readuntil(b"\r\n0\r\n\r\n")
        assert b'"seq":2000' not in broken.value.partial
