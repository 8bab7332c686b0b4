"""The JavaScript client: in Node against a real recorder, its shell by a clock of its own."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.support.app import delta, running_app
from tests.support.node import node, running
from tests.support.server import ServerProcess

FOLLOW = Path(__file__).parent / "follow.mjs"
BIG = "123456789012345678901234567890"
SOON = {"backoffBaseMs": 50, "backoffCapMs": 400}


def options(url: str, **more: Any) -> str:
    return json.dumps({"url": url, **SOON, **more})


def seqs(events: list[Any]) -> list[int]:
    return [event["seq"] for event in events if event["event"] == "delta"]


async def test_history_then_live_with_positions_statuses_and_every_digit(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        text = f'[{{"type":"created","sessionId":"a","after":{{"n":{BIG}, "e":1.0e+2}}}}]'
        await app.recorder.publish(text.encode())
        await app.publish(delta("b", 2))
        async with running(FOLLOW, options(app.url, since="earliest", sessions="a")) as script:
            first, live = await script.line(), await script.line()
            assert first["position"] == f"{app.at(1)}:{first['hash']}"
            assert first["rawAfter"] == f'{{"n":{BIG}, "e":1.0e+2}}'
            assert first["exact"] == BIG
            assert (live["event"], live["seq"], live["status"]) == ("live", 2, "live")
            assert live["position"] == f"{app.at(2)}:{live['hash']}"
            await app.publish(delta("b"), delta("a"))
            assert (await script.line())["seq"] == 4
            assert await script.end() == [{"event": "closed"}]
        await app.until_gone()


async def test_a_list_of_states_too_long_for_a_url_is_asked_for_by_message(tmp_path: Path) -> None:
    names = [f"session {number} of many" for number in range(300)]
    async with running_app(tmp_path) as app:
        await app.publish(*[delta(name, number) for number, name in enumerate(names)], delta("other"))
        async with running(FOLLOW, options(app.url, since="state", sessions=names)) as script:
            *states, live = await script.until("live")
            assert sorted(state["sessionId"] for state in states) == sorted(names)
            assert live["seq"] == 301
            await app.publish(delta("other"), delta(names[7]))
            assert (await script.line())["delta"]["sessionId"] == names[7]


async def test_what_is_refused_for_good_is_said_and_ends_it(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        no_time = options(app.url, since="2026-99-99T00:00:00Z")
        async with running(FOLLOW, no_time) as script:
            failed = await script.line()
            assert (failed["event"], failed["name"]) == ("failed", "ClientError")
            assert "2026-99-99" in failed["message"]


async def test_a_token_is_shown_and_a_wrong_one_is_final(tmp_path: Path) -> None:
    async with running_app(tmp_path, subscribe_tokens="a-token-for-those-who-subscribe") as app:
        await app.publish(delta("a"))
        good = options(app.url, since="earliest", token="a-token-for-those-who-subscribe")
        async with running(FOLLOW, good) as script:
            assert seqs(await script.until("live")) == [1]
        for wrong in ({"token": "another"}, {}):
            async with running(FOLLOW, options(app.url, since="earliest", **wrong)) as script:
                failed = await script.line()
                assert (failed["event"], failed["name"]) == ("failed", "TokenRefused")
                assert "401" in failed["message"]


def test_its_shell_keeps_its_promises_whatever_the_clock_and_the_sockets_do() -> None:
    done = subprocess.run(
        [*node(), "--test", str(FOLLOW.with_name("shell.test.mjs"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"pass \d\d\b", done.stdout), done.stdout


async def test_a_killed_server_is_awaited_and_its_new_epoch_is_a_reset(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--persist", "--port", "0") as server:
        port = httpx.URL(server.url).port
        publish = lambda name: httpx.post(  # noqa: E731
            f"{server.url}/api/deltas", json=delta(name), trust_env=False
        ).raise_for_status()
        publish("a")
        async with running(FOLLOW, options(server.url, since="earliest", notices=True)) as script:
            assert seqs(await script.until("live")) == [1]
            server.kill()
            gone = await script.until("disconnected")
            assert gone[-1]["status"] == "disconnected"
            server.flags = ("--persist", "--port", str(port))
            server.start()
            publish("b")
            events = await script.until("live")
            reset = next(event for event in events if event["event"] == "reset")
            assert reset["reason"] == "epoch_changed"
            assert reset["epoch"] == events[-1]["epoch"] != gone[-1].get("epoch")
