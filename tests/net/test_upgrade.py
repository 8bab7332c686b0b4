"""Which request gets in, and what the others are told before the upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from recorder.core.clock import FakeClock
from recorder.core.sampled_log import LINES_AT_ONCE
from tests.support.app import App, delta, running_app
from tests.support.http import bare, request
from tests.support.log_lines import log_lines
from tests.support.tokens import LISTED, PUBLISHER
from tests.support.wire import Refused, Wire, answer, open_socket, request_head


async def refusal(app: App, target: str = "/ws", *headers: tuple[str, str]) -> Refused:
    with pytest.raises(Refused) as refused:
        async with app.connect(target, headers):
            pass
    assert app.recorder.hub.subscribers == 0
    return refused.value


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "127.0.0.2", "", "a b", "user@127.0.0.1"],
)
@pytest.mark.parametrize("target", ["/ws", "/publish", "/nowhere"])
async def test_a_host_that_is_not_the_recorders_own_gets_403(host: str, target: str) -> None:
    async with running_app(None) as app:
        refused = await refusal(app, target, ("host", host))
        assert (refused.status, "ALLOWED_HOSTS" in refused.body) == (403, True)


async def test_two_hosts_are_no_host_to_be_trusted() -> None:
    async with running_app(None) as app:
        refused = await refusal(app, "/ws", ("host", "127.0.0.1"), ("host", "evil.example"))
        assert refused.status in (400, 403)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1.evil.example", "http://127.0.0.1:1", "file://"],
)
@pytest.mark.parametrize("target", ["/ws", "/publish"])
async def test_an_origin_that_is_not_the_recorders_own_gets_403(origin: str, target: str) -> None:
    async with running_app(None) as app:
        refused = await refusal(app, target, ("origin", origin))
        assert (refused.status, "ALLOWED_ORIGINS" in refused.body) == (403, True)


async def test_its_own_origin_its_own_names_and_those_allowed_get_in() -> None:
    app_settings = {"allowed_origins": "https://board.example", "allowed_hosts": "recorder.example"}
    async with running_app(None, **app_settings) as app:
        for headers in (
            [("origin", app.url)],
            [("origin", "HTTPS://Board.Example")],
            [("host", "recorder.example"), ("origin", "http://recorder.example")],
            [("host", "LocalHost:99")],
            [("host", "[::1]:99")],
        ):
            async with app.connect("/ws", headers) as wire:
                assert (await wire.event())["event"] == "hello"


@pytest.mark.parametrize("target", ["/", "/ws/", "/WS", "/api/stats", "//[", "/publish/x", "/%2e%2e/ws"])
async def test_there_is_no_websocket_anywhere_else(target: str) -> None:
    async with running_app(None) as app:
        assert (await refusal(app, target)).status == 404


async def test_an_absolute_address_is_as_good_as_a_path() -> None:
    async with running_app(None) as app, app.connect(f"{app.url}/ws?type=updated") as wire:
        await wire.until("live")


@pytest.mark.parametrize("target", ["/ws", "/publish"])
async def test_while_it_loads_and_while_it_stops_it_is_unavailable(tmp_path: Path, target: str) -> None:
    async with running_app(tmp_path, load=False) as app:
        with pytest.raises(Refused, match=r"503.*the recorder is loading"):
            async with app.connect(target):
                pass
        await app.gateway.load()
        async with app.connect(target) as wire:
            assert (await wire.event())["event"] == "hello"
            app.gateway.stop_ingest()
            with pytest.raises(Refused, match=r"503.*the recorder is stopping"):
                async with app.connect(target):
                    pass


async def test_who_is_inside_when_the_door_is_shut_is_still_counted_out() -> None:
    async with running_app(None) as app:
        async with app.connect() as wire:
            await wire.until("live")
            app.gateway.stop_ingest()
        await app.until_gone()


@pytest.mark.parametrize(
    "query",
    [
        "session=",
        "type=moved",
        "since=yesterday",
        "since=",
        "since=1&since=2",
        "sessions=a",
        "since=1.5",
        "session=" + "x" * 257,
        "token=t",
        "since=-1",
    ],
)
async def test_a_query_that_cannot_be_honoured_is_told_and_closed_with_4400(query: str) -> None:
    async with running_app(None) as app, app.connect(f"/ws?{query}") as wire:
        ending = await wire.ending()
        (event,) = ending.events
        assert (ending.code, event["event"], event["code"]) == (4400, "error", "bad_subscription")
        assert event["message"].startswith(ending.reason[:40])
        assert app.recorder.hub.subscribers == 0


async def test_a_publishers_query_may_say_which_answers_it_wants_and_nothing_else() -> None:
    async with running_app(None) as app:
        for query in ("", "?ack=all", "?ack=none"):
            async with app.connect(f"/publish{query}") as wire:
                assert (await wire.event())["event"] == "hello"
        async with app.connect("/publish?session=s") as wire:
            assert (await wire.ending()).code == 4400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("sec-websocket-version", "8")], 400),
        ([("sec-websocket-key", "short")], 400),
        ([("sec-websocket-key", "not base64 at all!!")], 400),
        (
            [("connection", "keep-alive, upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "x")],
            400,
        ),
    ],
)
async def test_a_handshake_that_breaks_the_rules_is_refused(
    headers: list[tuple[str, str]], status: int
) -> None:
    async with running_app(None) as app:
        assert (await refusal(app, "/ws", *headers)).status == status


async def test_a_head_that_cannot_be_read_is_told_so() -> None:
    async with running_app(None) as app:
        for target, headers in (
            (f"/ws?{'&'.join(f'session={n:0100}' for n in range(100))}", []),
            ("/ws", [(f"x-{n}", "y") for n in range(200)]),
            ("/ws", [("x-long", "y" * 9000)]),
            ("/ws", [("content-length", "5")]),
        ):
            refused = await refusal(app, target, *headers)
            assert refused.status == 400
            assert "the upgrade cannot be read" in str(refused)


async def test_a_thousand_sessions_can_be_named_in_a_message_instead() -> None:
    async with running_app(None) as app, app.connect() as wire:
        await wire.until("live")
        await wire.text({"op": "subscribe", "sessions": [f"{n:0256}" for n in range(1000)]})
        await wire.until("live")
        app.publish_nowait(delta("other"), delta(f"{999:0256}"))
        assert (await wire.event())["seq"] == 2


async def test_an_upgrade_after_other_requests_on_the_same_connection_works() -> None:
    async with running_app(None) as app:
        wire = Wire(await open_socket(app.url))
        host = app.url.removeprefix("http://")
        for _ in range(3):
            await wire.raw(f"GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            assert (await answer(wire))[0] == 200
        await wire.raw(request_head(app.url, "/ws"))
        assert (await answer(wire))[0] == 101
        await wire.until("live")
        wire.sock.close()
        await app.until_gone()


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def answer_to(app: App, target: str, **changed: str | None) -> tuple[int, dict[str, str], Any]:
    """The answer to an upgrade with other headers; None leaves one out, and `_` stands for `-`."""
    headers = UPGRADE | {name.replace("_", "-"): value for name, value in changed.items()}
    async with bare(app) as wire:
        sent = [(name, value) for name, value in headers.items() if value is not None]
        await wire.send(request(app, f"GET {target}", sent))
        return await wire.answer()


@pytest.mark.parametrize("target", ["/ws", "/publish", "/ws?since=earliest"])
@pytest.mark.parametrize("left_out", ["Upgrade", "Connection"])
async def test_a_websocket_that_is_asked_for_without_an_upgrade_is_told_what_is_missing(
    target: str, left_out: str
) -> None:
    async with running_app(None, **LISTED) as app:
        status, headers, problem = await answer_to(app, target, **{left_out: None})
        assert (status, problem["code"]) == (426, "upgrade_required")
        assert (headers["upgrade"], headers["connection"]) == ("websocket", "Upgrade")
        assert headers["content-type"] == "application/problem+json"
        assert "proxy" in problem["hint"]


@pytest.mark.parametrize("version", ["12", "8", "x", None])
async def test_another_version_of_the_protocol_is_told_the_one_there_is(version: str | None) -> None:
    async with running_app(None) as app:
        status, headers, problem = await answer_to(app, "/ws", Sec_WebSocket_Version=version)
        assert (status, problem["code"]) == (400, "invalid_request")
        assert headers["sec-websocket-version"] == "13"
        assert "Sec-WebSocket-Version" in problem["detail"]


@pytest.mark.parametrize("key", ["short", "", None])
async def test_a_wrong_key_is_a_problem_document_too(key: str | None) -> None:
    async with running_app(None) as app:
        status, headers, problem = await answer_to(app, "/ws", Sec_WebSocket_Key=key)
        assert (status, problem["code"]) == (400, "invalid_request")
        assert headers["content-type"] == "application/problem+json"


async def test_every_refusal_before_an_upgrade_is_a_problem_document() -> None:
    async with running_app(None, max_upgrades_per_minute=6, **LISTED) as app:
        for target, changed, status, code in (
            ("/ws", {}, 401, "not_authenticated"),
            ("/ws", {"Authorization": "Bearer nobody-knows-this"}, 401, "not_authenticated"),
            ("/ws", {"Authorization": f"Bearer {PUBLISHER}"}, 403, "not_allowed"),
            ("/ws", {"Host": "evil.example"}, 403, "not_allowed"),
            ("/nowhere", {}, 404, "not_found"),
            ("/ws?x=" + "y" * 9000, {}, 400, "invalid_request"),
            ("/ws", {}, 401, "not_authenticated"),
            ("/ws", {}, 429, "too_many"),
        ):
            found, headers, problem = await answer_to(app, target, **changed)
            assert (found, problem["status"], problem["code"]) == (status, status, code), target
            assert headers["content-type"] == "application/problem+json"
            assert headers.get("retry-after") == ("1" if status == 429 else None)
            if status == 401:
                error = ' error="invalid_token"' if changed else ""
                assert headers["www-authenticate"] == f"Bearer{error}"


async def test_a_flood_of_refused_upgrades_is_counted_and_not_all_written_down() -> None:
    lines: list[str] = []
    logger.enable("recorder")
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="DEBUG")
    try:
        async with running_app(None, **LISTED) as app:
            for _ in range(40):
                assert (await answer_to(app, "/ws"))[0] == 401
            assert app.recorder.metrics.rejected == {"not_authenticated": 40}
    finally:
        logger.remove(sink)
        logger.disable("recorder")
    assert 1 <= lines.count("connection refused") < 40


async def test_refused_upgrades_and_resets_write_a_few_lines_and_are_all_counted() -> None:
    async with running_app(None, clock=FakeClock(), max_subscribes_per_minute=1000) as app:
        with log_lines() as lines:
            for _ in range(20):
                await refusal(app, "/nowhere")
            async with app.connect("/ws?since=gone:1") as wire:
                await wire.until("live")
                for _ in range(20):
                    await wire.text({"op": "subscribe", "since": "gone:1"})
                    await wire.until("live")
        said = [line["message"] for line in lines]
        assert said.count("connection refused") == LINES_AT_ONCE
        assert said.count("subscriber reset") == LINES_AT_ONCE
        assert app.gateway.metrics.resumes["reset_not_recording"] == 21
