"""A soak: connections come and go by the thousand, slow ones and floods among them, while deltas are published.

Readers leave with and without a goodbye; slow ones read nothing; floods send pings, nonsense and broken frames; guests
have tokens that end within seconds, and come back with new ones; strangers try with tokens that are worth nothing here;
publishers keep the ids of what was acked. At the end everybody goes, and the recorder must be as it was at the start:
threads, file descriptors, tasks and connections the same, memory grown by no more than what is recorded explains, every
acked delta in the export, once, every guest sent away when its token ended, and no stranger let in. It runs `recorder
serve` as a process of its own; ends with 1 where something is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import resource
import secrets
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from recorder.server.memory import GIVE_BACK_SECONDS

FINE = (OSError, EOFError, TimeoutError, WebSocketException)
"""How a connection may end."""
SPARE_BYTES = 96 << 20
"""Memory that may stay beside what is recorded: what the allocator keeps of a crowd's buffers though it gives back what
it can, and the ids that are remembered, which are not all there yet when the warm-up is over."""
OVERHEAD = 1.25
"""Memory that a recorded byte takes: SQLite's pages are not full, nor the allocator's blocks (measured: 1.14)."""
SAME = ("recorder_connections", "recorder_tasks", "files", "threads")
"""What must be as it was."""
KINDS = {"reader": 50, "slow": 15, "flood": 15, "publisher": 10, "guest": 7, "stranger": 3}
"""How often each kind of connection comes, of a hundred."""
PASSES = (1012, 4408, 4429)
"""Codes that a guest may be closed with before its token ends: it is told to come back."""
OVERSTAY_SECONDS = 45.0
"""How long after its end a token may still have a connection; a busy machine looks at its deadlines late."""


@dataclass
class Tally:
    """The counts of a run.

    Args:
        acked: The ids of the deltas that were acked.
        done: Connections by kind, and how they ended where that was unusual.
        faults: What a connection was let do that it must not.
    """

    acked: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


class Tokens:
    """Makes tokens that the recorder under test believes.

    Args:
        folder: Where their key is put.
    """

    def __init__(self, folder: Path) -> None:
        self._secret = secrets.token_hex(32)
        self.key_file = folder / "jwt.key"
        self.key_file.write_text(self._secret, encoding="ascii")

    def make(self, role: str, *, seconds: float | None = None, secret: str | None = None) -> str:
        """A token.

        Args:
            role: What it grants.
            seconds: Until when, from now; None for ever.
            secret: Signs it in the place of the right one.
        """
        claims: dict[str, object] = {"role": role}
        if seconds is not None:
            claims["exp"] = time.time() + seconds
        return jwt.encode(claims, secret or self._secret, algorithm="HS256")


def dial(url: str, token: str | None, **options: Any) -> connect:
    """A connection with a token, as `async with` or awaited."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return connect(url, proxy=None, additional_headers=headers, **options)


async def reader(url: str, dice: random.Random, tokens: Tokens, tally: Tally) -> None:
    """Reads for a while, from anywhere; leaves with or without a goodbye."""
    since = dice.choice(["latest", "earliest", "state"])
    wire = await dial(f"{url}/ws?since={since}&session=s{dice.randrange(20)}", tokens.make("subscribe"))
    await _read(wire, dice.random() * 3)
    if dice.random() < 0.5:
        await wire.close()
    wire.transport.abort()


async def slow(url: str, dice: random.Random, tokens: Tokens, tally: Tally) -> None:
    """Reads nothing."""
    kind = dice.choice(["close", "conflate"])
    wire = await dial(f"{url}/ws?slow={kind}&since=earliest", tokens.make("subscribe"), max_queue=1)
    wire.transport.pause_reading()
    await asyncio.sleep(dice.random() * 4)
    wire.transport.abort()


async def flood(url: str, dice: random.Random, tokens: Tokens, tally: Tally) -> None:
    """Sends what nobody wants."""
    wire = await dial(f"{url}/{dice.choice(['ws', 'publish'])}", tokens.make("admin"))
    for _ in range(dice.randrange(1, 60)):
        kind = dice.randrange(3)
        if kind == 0:
            await wire.ping()
        elif kind == 1:
            await wire.send(dice.randbytes(200).hex())
        else:
            wire.transport.write(dice.randbytes(50))
    wire.transport.abort()


async def guest(url: str, dice: random.Random, tokens: Tokens, tally: Tally) -> None:
    """Reads until its token ends, and comes back with a new one, from where it was."""
    since, visits = "latest", 0
    while visits < 2:
        ends = time.monotonic() + (seconds := 0.5 + dice.random() * 2)
        target = f"{url}/ws?since={since}&session=s{dice.randrange(20)}"
        try:
            async with dial(target, tokens.make("subscribe", seconds=seconds)) as wire:
                since = await _until_sent_away(wire, ends, tally) or since
        except InvalidStatus as refused:
            # On a busy machine the token ends before the connection is there.
            if refused.response.status_code != 401 or time.monotonic() < ends:
                raise
        else:
            visits += 1


async def _until_sent_away(wire: ClientConnection, ends: float, tally: Tally) -> str | None:
    """Read until the connection is closed, as it must be; the last position."""
    position, epoch = None, ""
    try:
        while True:
            event = orjson.loads(await wire.recv())
            epoch = event.get("epoch", epoch)
            if event["event"] in ("delta", "live"):
                position = f"{epoch}:{event['seq']}"
            if time.monotonic() > ends + OVERSTAY_SECONDS:
                tally.faults["a connection outlived its token"] += 1
                return position
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd is not None else None
        tally.done[f"guest closed with {code}"] += 1
        if code != 4401 and code not in PASSES:
            tally.faults[f"a guest was closed with {code}, not with 4401"] += 1
        return position


async def stranger(url: str, dice: random.Random, tokens: Tokens, tally: Tally) -> None:
    """Must not get in."""
    wrong = {
        "no token": None,
        "a token that is not known": secrets.token_hex(16),
        "a token that somebody else signed": tokens.make("admin", secret=secrets.token_hex(32)),
        "a token that has ended": tokens.make("admin", seconds=-1),
        "a token for something else": tokens.make("publish"),
    }
    kind = dice.choice(list(wrong))
    try:
        async with dial(f"{url}/ws", wrong[kind]):
            tally.faults[f"let in with {kind}"] += 1
    except InvalidStatus as refusal:
        expected = 403 if kind == "a token for something else" else 401
        if refusal.response.status_code != expected:
            tally.faults[f"{refusal.response.status_code} for {kind}"] += 1


async def publisher(url: str, dice: random.Random, tokens: Tokens, tally: Tally) -> None:
    """Publishes batches one after the other, each acked before the next."""
    async with dial(f"{url}/publish", tokens.make("publish")) as wire:
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


VISITS = {
    "reader": reader, "slow": slow, "flood": flood, "publisher": publisher, "guest": guest, "stranger": stranger,
}  # fmt: skip


async def visitor(url: str, seed: int, until: float, tokens: Tokens, tally: Tally) -> None:
    """One place among many: a connection after the other, of any kind."""
    dice = random.Random(seed)
    await asyncio.sleep(dice.random() * 2)
    while time.monotonic() < until:
        kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
        try:
            async with asyncio.timeout(120):
                await VISITS[kind](url, dice, tokens, tally)
        except FINE as error:
            tally.done[type(error).__name__] += 1
        tally.done[kind] += 1
        await asyncio.sleep(dice.random() * 0.2)


class Server:
    """`recorder serve` as a process.

    Args:
        folder: Where it records.
        tokens: Whose tokens it believes.
    """

    def __init__(self, folder: Path, tokens: Tokens) -> None:
        self._folder = folder
        self._tokens = tokens
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Server:
        flags = ["--persist", "--db-path", str(self._folder / "soak.sqlite"), "--key-file", "none"]
        flags += ["--max-upgrades-per-minute", "1000000", "--max-connections-per-address", "100000"]
        flags += ["--jwt-key-file", str(self._tokens.key_file), "--jwt-leeway", "0"]
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
        files = _open_files(proc)
        return found | {
            "files": len(files),
            "journals": sum(name.endswith("-journal") for name in files),
            "threads": len(os.listdir(f"{proc}/task")),
            "rss": int(pages) * os.sysconf("SC_PAGE_SIZE"),
        }


def _open_files(proc: str) -> list[str]:
    found = []
    for number in os.listdir(f"{proc}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            found.append(os.readlink(f"{proc}/fd/{number}"))
    return found


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


async def soak(seconds: float, connections: int, seed: int) -> list[str]:
    """Run it; what is not as it must be."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="recorder-soak-") as folder:
        tokens = Tokens(Path(folder))
        async with Server(Path(folder), tokens) as server, _client(server.url, tokens) as http:
            while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            wire = server.url.replace("http", "ws")
            # It warms up under the same load: what its allocator keeps after the first crowd is no leak.
            await _visit(wire, connections, seconds / 3, seed + 1, tokens, tally)
            before = await _settled(server, http, None, seconds)
            await _visit(wire, connections, seconds, seed, tokens, tally)
            after = await _settled(server, http, before, seconds)
            faults = compare(before, after)
            faults += await _missing(http, tally)
    faults += [f"{count} times: {fault}" for fault, count in tally.faults.items()]
    print(f"{sum(tally.done[kind] for kind in KINDS)} connections {dict(tally.done)}")
    print(f"{len(tally.acked)} deltas acked")
    print(f"before {before}\nafter  {after}")
    return faults


def _client(url: str, tokens: Tokens) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {tokens.make('admin')}"}
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, headers=headers)


async def _visit(url: str, connections: int, seconds: float, seed: int, tokens: Tokens, tally: Tally) -> None:
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for n in range(connections):
            group.create_task(visitor(url, seed * 100_000 + n, until, tokens, tally), name=f"visitor-{n}")


async def _settled(
    server: Server, http: httpx.AsyncClient, before: dict[str, float] | None, seconds: float
) -> dict[str, float]:
    """Its figures once everybody else has gone, and nothing goes on that began with them.

    Linger and deadlines take up to a minute, a snapshot that is under way has its journal open, and memory that is free
    is given back once a minute. What has leaked does not come back however long it is waited for.
    """
    least = 4 * min(GIVE_BACK_SECONDS + 10, seconds)
    # With a snapshot behind it: the first one starts a thread that stays.
    (await http.post("/api/admin/snapshot")).raise_for_status()
    found, looks = await server.look(http), 1
    while looks < least or (looks < 360 and not _is_still(found, before)):
        await asyncio.sleep(0.25)
        found, looks = await server.look(http), looks + 1
    return found


def _is_still(found: dict[str, float], before: dict[str, float] | None) -> bool:
    if before is None:
        return found["recorder_connections"] <= 1 and not found["journals"]
    return all(found[name] <= before[name] for name in SAME)


def compare(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Return what has not come back to where it was."""
    faults = [
        f"{name}: {before[name]} before, {after[name]} after" for name in SAME if after[name] > before[name]
    ]
    recorded = after["recorder_memory_bytes"] - before["recorder_memory_bytes"]
    grown = after["rss"] - before["rss"]
    if grown > OVERHEAD * recorded + SPARE_BYTES:
        faults.append(f"memory: grown by {grown}, recorded {recorded}")
    return faults


async def _missing(http: httpx.AsyncClient, tally: Tally) -> list[str]:
    """Return whether every acked delta is recorded once, and the order has no gap."""
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
    """Run from the command line."""
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
