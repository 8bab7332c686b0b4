"""The cost of readers that do not read: publishing rates with a crowd of them and without any, in one run.

In turn, round by round: a recorder without readers, one with readers that are closed when they are too slow, one with
readers that are moved on (`slow=conflate`). Each is a process of its own, with the default limits. The readers shake
hands, and never read another byte. One connection publishes, one delta a frame; its rate in wall time, and the CPU
seconds of the server for a delta, are taken over two stretches: `at first`, while the readers are being found slow, and
`from then on`, when all of them have been (none is left live). Only the second must cost nothing; the first is bounded,
by SLOW_HARD_BYTES and SLOW_SOFT_TIME. Medians; the ratio to the recorder without readers stands beside each figure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
from bench_suite.frames import client_frame, upgrade_request

SCENARIOS = ("none", "close", "conflate")
STATE_BYTES = 400
WINDOW = 2000
"""Frames that may be without an answer."""
RECEIVE_BUFFER = 4096
CHUNK = 1000
"""Deltas between two looks at whether readers are still live."""
MOST_AT_FIRST = 400_000
"""Deltas after which readers that are still live count as never found slow."""
_ACK = b'"event":"ack"'


@dataclass(frozen=True, slots=True)
class Stretch:
    """The duration and the CPU time of a part of a run.

    Args:
        deltas: Published and acked.
        wall: Seconds.
        cpu: Seconds of the server.
    """

    deltas: int
    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        """Deltas a second."""
        return self.deltas / self.wall

    @property
    def cost(self) -> float:
        """Microseconds of CPU for a delta."""
        return self.cpu / self.deltas * 1e6


class Server:
    """`recorder serve` as a process.

    Args:
        folder: Where it records.
        flags: More of `serve`.
    """

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        self._folder = folder
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> Server:
        flags = ["--persist", "--db-path", str(self._folder / "slow.sqlite"), "--key-file", "none"]
        flags += ["--log-level", "error", "--max-connections-per-address", "100000"]
        flags += ["--max-upgrades-per-minute", "100000", *self._flags]
        command = [sys.executable, "-m", "recorder", "serve", "--port", "0", *flags]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = (await self._process.stdout.readline()).decode().removeprefix("listening on ").strip()
        async with self.client() as http:
            while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def client(self) -> httpx.AsyncClient:
        """For asking it over HTTP."""
        return httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60)

    @property
    def address(self) -> tuple[str, int]:
        """Return where it listens."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def cpu_seconds(self) -> float:
        """Return what it has used so far."""
        assert self._process is not None
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def is_somebody_live(self) -> bool:
        """Return whether a reader is left that is neither closed nor moved on."""
        async with self.client() as http:
            figures = {
                line.split()[0]: float(line.split()[1])
                for line in (await http.get("/metrics")).text.splitlines()
                if line.startswith("recorder_")
            }
        slow = figures["recorder_conflations_total"]
        return figures["recorder_subscribers"] > slow


class Publisher:
    """One connection that publishes, in a process that does nothing else.

    Args:
        sock: Blocking, connected, after `hello`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = self._make()
        self._rest = b""  # of what was read

    def publish(self, count: int) -> None:
        """Publish so many deltas, and wait until all are acked."""
        sent = acked = 0
        while acked < count:
            burst = min(count - sent, WINDOW - (sent - acked))
            if burst:
                self._sock.sendall(b"".join([next(self._frames) for _ in range(burst)]))
                sent += burst
            data = self._rest + self._sock.recv(1 << 16)
            found = data.count(_ACK)
            acked += found
            # What may be the beginning of another one.
            self._rest = data[data.rfind(_ACK) + len(_ACK) if found else 0 :][-len(_ACK) + 1 :]

    @staticmethod
    def _make() -> Iterator[bytes]:
        number = 0
        while True:
            number += 1
            state = {"n": number, "pad": "x" * STATE_BYTES}
            delta = {"type": "updated", "sessionId": f"s{number % 50}", "after": state}
            yield client_frame(orjson.dumps(delta), key=b"\0\0\0\0")


def connect(address: tuple[str, int], target: str, *, receive_buffer: int | None = None) -> socket.socket:
    """A connection whose handshake is done, and `hello` read or on its way."""
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(address)
    sock.sendall(upgrade_request(*address, target))
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionRefusedError(head.split(b"\r\n", 1)[0].decode())
    return sock


async def one(scenario: str, readers: int, deltas: int, flags: Sequence[str] = ()) -> tuple[Stretch, Stretch]:
    """One run: at first, and from then on."""
    with tempfile.TemporaryDirectory(prefix="recorder-slow-") as folder, ExitStack() as sockets:
        async with Server(Path(folder), flags) as server:
            count = 0 if scenario == "none" else readers
            for _ in range(count):
                target = f"/ws?slow={scenario}"
                sockets.enter_context(connect(server.address, target, receive_buffer=RECEIVE_BUFFER))
            publisher = Publisher(sockets.enter_context(connect(server.address, "/publish")))
            publisher.publish(CHUNK)  # what is made on first use
            first = await _stretch(server, publisher, deltas, until_slow=count > 0)
            return first, await _stretch(server, publisher, deltas, until_slow=False)


async def _stretch(server: Server, publisher: Publisher, deltas: int, *, until_slow: bool) -> Stretch:
    done, wall, cpu = 0, 0.0, 0.0
    while done < deltas or (until_slow and await server.is_somebody_live()):
        if done >= MOST_AT_FIRST:
            raise TimeoutError("readers that read nothing are not found slow")
        begin, used = time.perf_counter(), server.cpu_seconds()
        await asyncio.to_thread(publisher.publish, CHUNK)
        wall, cpu = wall + time.perf_counter() - begin, cpu + server.cpu_seconds() - used
        done += CHUNK
    return Stretch(done, wall, cpu)


def table(found: dict[str, list[tuple[Stretch, Stretch]]], readers: int) -> str:
    """Return what was measured, with its ratio to none."""
    lines = [f"{readers} readers that read nothing; medians of {len(found['none'])} runs each, in turn", ""]
    lines.append("| readers | stretch | deltas/s | to none | server CPU µs a delta | to none |")
    lines.append("|---|---|---|---|---|---|")
    for part, name in enumerate(("at first", "from then on")):
        rate = {key: statistics.median(run[part].rate for run in runs) for key, runs in found.items()}
        cost = {key: statistics.median(run[part].cost for run in runs) for key, runs in found.items()}
        for key in found:
            ratios = f"{rate[key] / rate['none']:.2f}", f"{cost[key] / cost['none']:.2f}"
            lines.append(
                f"| {key} | {name} | {rate[key]:,.0f} | {ratios[0]} | {cost[key]:.1f} | {ratios[1]} |"
            )
    return "\n".join(lines)


async def measure(
    readers: int, deltas: int, rounds: int, flags: Sequence[str] = ()
) -> dict[str, list[tuple[Stretch, Stretch]]]:
    """All scenarios in turn, round by round."""
    found: dict[str, list[tuple[Stretch, Stretch]]] = {name: [] for name in SCENARIOS}
    for _ in range(rounds):
        for scenario in SCENARIOS:
            found[scenario].append(await one(scenario, readers, deltas, flags))
    return found


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="scripts/slow-readers", description=__doc__)
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--deltas", type=int, default=50_000, help="in each stretch")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(table(asyncio.run(measure(options.readers, options.deltas, options.rounds)), options.readers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
