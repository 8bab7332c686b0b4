"""The clients: clients that publish to a recorder and watch it, on bare WebSockets and HTTP, until it goes away.

None of the project's own client code is used: what it would repair or hide is what is to be seen.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from recorder.crashtest.ledger import Ledger, Recorded
from recorder.crashtest.server_process import ServerProcess
from recorder.crashtest.workload import frame_of, number_of

GONE = (ConnectionClosed, InvalidHandshake, OSError, EOFError, httpx.TransportError)
"""How a client finds out that the other side is no more."""
JSON = {"Content-Type": "application/json"}
IN_FLIGHT = 4
"""Publishes of one connection that wait for their acks."""
PUBLISH_INTERVAL = 0.002
"""Seconds between two publishes: what is under test is not how fast it is."""


@asynccontextmanager
async def run_clients(server: ServerProcess, ledger: Ledger, rng: random.Random) -> AsyncIterator[None]:
    """Publish and watch within the block, or until the recorder goes away."""
    publisher, poster = random.Random(rng.random()), random.Random(rng.random())
    tasks = [
        asyncio.create_task(until_gone(publish(server, ledger, publisher)), name="crashtest-publish"),
        asyncio.create_task(until_gone(post(server, ledger, poster)), name="crashtest-post"),
        asyncio.create_task(until_gone(watch(server, ledger)), name="crashtest-watch"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def publish(server: ServerProcess, ledger: Ledger, rng: random.Random) -> None:
    """Publish over a WebSocket, several frames at a time."""
    async with _connect(server, "/publish") as socket:
        ledger.begin(orjson.loads(await socket.recv()))
        waiting: deque[list[int]] = deque()
        room = asyncio.Semaphore(IN_FLIGHT)
        answers = asyncio.create_task(_answers(socket, ledger, waiting, room), name="crashtest-answers")
        try:
            while not answers.done():
                async with asyncio.timeout(60.0):
                    await room.acquire()
                numbers = ledger.take(rng.randrange(1, 40))
                waiting.append(numbers)
                await socket.send(frame_of(numbers).decode())
                await asyncio.sleep(PUBLISH_INTERVAL)
        finally:
            # What has come is to be known, also where the connection is no more.
            await until_gone(asyncio.wait_for(answers, 5.0))


async def post(server: ServerProcess, ledger: Ledger, rng: random.Random) -> None:
    """Publish over HTTP, one after the other."""
    async with server.client() as http:
        while True:
            await post_once(http, ledger, ledger.take(rng.randrange(1, 10)))
            await asyncio.sleep(5 * PUBLISH_INTERVAL)


async def post_once(http: httpx.AsyncClient, ledger: Ledger, numbers: list[int]) -> bool:
    """Publish these over HTTP; whether they were acked. Raises httpx.TransportError."""
    answer = await http.post("/api/deltas", content=frame_of(numbers), headers=JSON)
    if answer.status_code == 201:
        ledger.ack(numbers, answer.json(), time.monotonic())
    else:
        ledger.refuse(numbers, answer.json())
    return answer.status_code == 201


async def watch(server: ServerProcess, ledger: Ledger) -> None:
    """Follow from where this recording's client has got to."""
    async with _connect(server, f"/ws?since={ledger.position}") as socket:
        async for message in socket:
            ledger.see(orjson.loads(message))


async def recorded_by(server: ServerProcess) -> Recorded:
    """Return what a recorder has recorded. Nobody may be publishing; a prune may run."""
    while True:
        before = await server.stats()
        lines = (await server.get("/api/export?format=ndjson")).content.splitlines()
        after = await server.stats()
        if before["oldest"] == after["oldest"]:
            entries = [orjson.loads(line) for line in lines]
            rows = [(entry["seq"], number_of(entry["delta"])) for entry in entries]
            return Recorded(after["epoch"], after["oldest"], after["head"], rows)


async def next_of(server: ServerProcess, position: str) -> dict[str, Any]:
    """Return the first event that a subscriber gets at a position, behind `hello`."""
    async with asyncio.timeout(60.0), _connect(server, f"/ws?since={position}") as socket:
        async for message in socket:
            event: dict[str, Any] = orjson.loads(message)
            if event["event"] not in ("hello", "heartbeat"):
                return event
    raise EOFError(f"{position}: the connection ended")


def _connect(server: ServerProcess, target: str) -> connect:
    url = server.url.replace("http://", "ws://", 1) + target
    return connect(url, compression=None, max_size=None, proxy=None, ping_interval=None, close_timeout=1.0)


async def _answers(
    socket: ClientConnection, ledger: Ledger, waiting: deque[list[int]], room: asyncio.Semaphore
) -> None:
    async for message in socket:
        answer: dict[str, Any] = orjson.loads(message)
        numbers = waiting.popleft()
        if answer["event"] == "ack":
            ledger.ack(numbers, answer, time.monotonic())
        else:
            ledger.refuse(numbers, answer)
        room.release()


async def until_gone(work: Awaitable[None]) -> None:
    """Run the coroutine until the recorder goes away."""
    with suppress(*GONE):
        await work
