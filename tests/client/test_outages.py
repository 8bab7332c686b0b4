"""Tests of what is said of a recorder that cannot be reached: in the log, without any set-up, once an outage."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest
from websockets.asyncio.server import ServerConnection, serve

from recorder.client import Client, ClientOptions, NewDelta
from recorder.client.connection import ConnectionLog
from tests.client.fake_recorder import FakeRecorder
from tests.client.fake_time import FakeTime

CREATED = NewDelta("created", "s", after=1)


def waiting(time: FakeTime, **more: float) -> ClientOptions:
    return ClientOptions(clock=time.clock, sleep=time.sleep, random=lambda: 0.5, **more)  # type: ignore[arg-type]


def levels(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in log.records if record.name == "recorder.client"]


@pytest.mark.parametrize("purpose", ["publish", "subscribe"])
async def test_the_first_connection_that_cannot_be_made_is_warned_of_with_the_address_and_what_to_try(
    purpose: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "recorder.client")
    async with FakeRecorder() as server:
        url = server.url
    time = FakeTime()
    async with Client(url, options=waiting(time)) as client:
        use = client.publish(CREATED) if purpose == "publish" else anext(client.subscribe())
        task = asyncio.ensure_future(use)
        await time.until_asked(1)
        assert levels(caplog) == ["WARNING"]
        text = caplog.records[0].getMessage()
        assert text.startswith(f"cannot {purpose} at {url.replace('http', 'ws')}: ")
        assert f"{url} cannot be reached: Connection refused; " in text
        assert text.endswith(
            "next try in 0.1 s, and so on until it works. Is a recorder running there ('recorder serve' starts one), "
            "and is the address right?"
        )
        time.advance(1)
        await time.until_asked(2)
        assert levels(caplog) == ["WARNING", "INFO"]
        task.cancel()
        await asyncio.wait({task})


async def test_a_server_that_says_no_hello_is_warned_of_and_left(caplog: pytest.LogCaptureFixture) -> None:
    async def quiet(connection: ServerConnection) -> None:
        await connection.wait_closed()

    time = FakeTime()
    async with serve(quiet, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", options=waiting(time, open_timeout_s=0.2)) as client:
            task = asyncio.ensure_future(client.publish(CREATED))
            await time.until_asked(1)
            assert "said no hello within 0.2 s" in caplog.records[0].getMessage()
            task.cancel()
            await asyncio.wait({task})


def test_the_warning_is_seen_by_a_program_that_has_set_up_no_log() -> None:
    program = """
import asyncio, sys
from recorder.client import Client, ClientOptions, NewDelta
async def main():
    async with Client("http://127.0.0.1:9", options=ClientOptions(max_tries=1)) as client:
        await client.publish(NewDelta("created", "s", after=1))
try:
    asyncio.run(main())
except Exception as error:
    sys.exit(f"raised {error}")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert "cannot publish at ws://127.0.0.1:9: " in done.stderr
    assert "Is a recorder running there" in done.stderr


def test_an_outage_is_warned_of_once_and_its_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "recorder.client")
    log = ConnectionLog("ws://r", "publish")
    log.works()
    log.failed("closed with 1001", 0.1)
    for _ in range(3):
        log.failed("refused", 0.1)
    log.works()
    log.failed("closed with 1001", 0.1)
    log.failed("refused", 0.1)
    assert levels(caplog) == ["INFO", "WARNING", "INFO", "INFO", "INFO", "INFO", "WARNING"]
    assert caplog.records[4].getMessage() == "can publish at ws://r again"


def test_where_the_server_greets_and_takes_nothing_nobody_is_asked_whether_it_is_a_recorder(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = ConnectionLog("ws://r", "publish")
    log.greeted()
    log.failed("the server rejects publishes for now", 0.1)
    assert "Is a recorder running there" not in caplog.text
