"""A soak: connections come and go by the thousand, slow ones and floods among them, while deltas are published.

Readers leave with and without a goodbye; slow ones read nothing; floods send pings, nonsense and broken frames;
publishers keep the ids of what was acked. At the end everybody goes, and the recorder must be as it was at the start:
threads, file descriptors, tasks and connections the same, memory grown by no more than what is recorded explains, and
every acked delta in the export, once. It runs `recorder serve` as a process of its own; ends with 1 where something is
not so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

FINE = (OSError, EOFError, TimeoutError, WebSocketException)
"""How a connection may end."""
SPARE_BYTES = 96 << 20
"""Memory that may stay beside what is recorded: buffers that the allocator keeps."""


@dataclass
class Tally:
    """What was done.

    Args:
        acked: The ids of the deltas that were acked.
        done: Connections by kind.
    """

    acked: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)


async def reader(url: str, dice: random.Random) -> None:
    """Reads for a while, from anywhere; leaves with or without a goodbye."""
    since = dice.choice(["latest", "earliest", "state"])
    wire = await connect(f"{url}/ws?since={since}&session=s{dice.randrange(20)}", proxy=None)
    await _read(wire, dice.random() * 3)
    if dice.random() < 0.5:
        await wire.close()
    wire.transport.abort()


async def slow(url: str, dice: random.Random) -> None:
    """Reads nothing."""
    kind = dice.choice(["close", "conflate"])
    wire = await connect(f"{url}/ws?slow={kind}&since=earliest", proxy=None, max_queue=1)
    wire.transport.pause_reading()
    await asyncio.sleep(dice.random() * 4)
    wire.transport.abort()


async def flood(url: str, dice: random.Random) -> None:
    """Sends what nobody wants."""
    wire = await connect(f"{url}/{dice.choice(['ws', 'publish'])}", proxy=None)
    for _ in range(dice.randrange(1, 60)):
        kind = dice.randrange(3)
        if kind == 0:
            await wire.ping()
        elif kind == 1:
            await wire.send(dice.randbytes(200).hex())
        else:
            wire.transport.write(dice.randbytes(50))
    wire.transport.abort()


async def publisher(url: str, dice: random.Random, tally: Tally) -> None:
    """Publishes batches one after the other, each acked before the next."""
    async with connect(f"{url}/publish", proxy=None) as wire:
        await wire.recv()
        for _ in range(dice.randrange(1, 20)):
            ids = [f"{dice.getrandbits(96):x}" for _ in range(dice.randrange(1, 40))]
            state = {"pad": "x" * dice.randrange(1500)}
            batch = [_delta(dice, name, state) for name in ids]
            await wire.send(orjson.dumps(batch).decode())
            if orjson.loads(await wire.recv())["event"] == "ack":
                tally.acked.update(ids)


def _delta(dice: random.Random, name: str, state: object) -> dict[str, object]:
    return {"type": "updated", "sessionId": f"s{dice.randrange(20)}", "after": state, "id": name}


async def _read(wire: ClientConnection, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await wire.recv()


async def visitor(url: str, seed: int, until: float, tally: Tally) -> None:
    """One place among many: a connection after the other, of any kind."""
    dice = random.Random(seed)
    await asyncio.sleep(dice.random() * 2)
    while time.monotonic() < until:
        kind = dice.choices(["reader", "slow", "flood", "publisher"], [60, 15, 15, 10])[0]
        try:
            async with asyncio.timeout(60):
                if kind == "publisher":
                    await publisher(url, dice, tally)
                else:
                    await {"reader": reader, "slow": slow, "flood": flood}[kind](url, dice)
        except FINE as error:
            tally.done[type(error).__name__] += 1
        tally.done[kind] += 1
        await asyncio.sleep(dice.random() * 0.2)


class Server:
    """`recorder serve` as a process.

    Args:
        folder: Where it records.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Server:
        flags = ["--persist", "--db-path", str(self._folder / "soak.sqlite"), "--key-file", "none"]
        flags += ["--max-upgrades-per-minute", "1000000", "--max-connections-per-address", "100000"]
        command = [sys.executable, "-m", "recorder", "serve", "--port", "0", "--log-level", "error", *flags]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        self.url = line.removeprefix("listening on ").strip()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()

    async def look(self, http: httpx.AsyncClient) -> dict[str, float]:
        """Its figures, and what the system says of it."""
        assert self._process is not None
        text = (await http.get("/metrics")).text
        wanted = ("recorder_tasks", "recorder_connections", "recorder_memory_bytes", "recorder_head")
        rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
        found = {row[0]: float(row[1]) for row in rows if row[0] in wanted}
        proc = f"/proc/{self._process.pid}"
        pages = _text(f"{proc}/statm").split()[1]
        return found | {
            "files": len(os.listdir(f"{proc}/fd")),
            "threads": len(os.listdir(f"{proc}/task")),
            "rss": int(pages) * os.sysconf("SC_PAGE_SIZE"),
        }


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


async def soak(seconds: float, connections: int, seed: int) -> list[str]:
    """Run it; what is not as it must be."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="recorder-soak-") as folder:
        async with Server(Path(folder)) as server, _client(server.url) as http:
            while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            wire = server.url.replace("http", "ws")
            # It warms up under the same load: what its allocator keeps after the first crowd is no leak.
            await _visit(wire, connections, seconds / 3, seed + 1, tally)
            before = await _settled(server, http)
            await _visit(wire, connections, seconds, seed, tally)
            after = await _settled(server, http)
            faults = compare(before, after)
            faults += await _missing(http, tally)
    print(f"{sum(tally.done.values())} connections {dict(tally.done)}, {len(tally.acked)} deltas acked")
    print(f"before {before}\nafter  {after}")
    return faults


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=60)


async def _visit(url: str, connections: int, seconds: float, seed: int, tally: Tally) -> None:
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for n in range(connections):
            group.create_task(visitor(url, seed * 100_000 + n, until, tally), name=f"visitor-{n}")


async def _settled(server: Server, http: httpx.AsyncClient) -> dict[str, float]:
    """Its figures once everybody else has gone: linger and deadlines take up to a minute."""
    # With a snapshot behind it: the first one starts a thread that stays, and each has files open while it runs.
    (await http.post("/api/admin/snapshot")).raise_for_status()
    found = await server.look(http)
    for _ in range(240):
        if found["recorder_connections"] <= 1:
            break
        await asyncio.sleep(0.25)
        found = await server.look(http)
    return found


def compare(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """What has not come back to where it was."""
    same = ("recorder_connections", "recorder_tasks", "files", "threads")
    faults = [
        f"{name}: {before[name]} before, {after[name]} after" for name in same if after[name] > before[name]
    ]
    recorded = after["recorder_memory_bytes"] - before["recorder_memory_bytes"]
    grown = after["rss"] - before["rss"]
    if grown > 2 * recorded + SPARE_BYTES:
        faults.append(f"memory: grown by {grown}, recorded {recorded}")
    return faults


async def _missing(http: httpx.AsyncClient, tally: Tally) -> list[str]:
    """Whether every acked delta is recorded once, and the order has no gap."""
    found: Counter[str] = Counter()
    seqs: list[int] = []
    async with http.stream("GET", "/api/export") as answer:
        async for line in answer.aiter_lines():
            item = orjson.loads(line)
            seqs.append(item["seq"])
            found[item["delta"].get("id", "")] += 1
    faults = [] if seqs == list(range(1, len(seqs) + 1)) else ["the order has a gap"]
    lost = tally.acked - found.keys()
    twice = [name for name, count in found.items() if name and count > 1]
    faults += [f"{len(lost)} acked deltas are not recorded"] if lost else []
    return faults + ([f"{len(twice)} deltas are recorded twice"] if twice else [])


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--connections", type=int, default=2000, help="at the same time")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    faults = asyncio.run(soak(options.seconds, options.connections, options.seed))
    print("\n".join(faults) or "soak: as it was at the start, and nothing lost")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
