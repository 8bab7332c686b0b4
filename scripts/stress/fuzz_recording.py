"""A small recording to be damaged, made by the recorder itself: its database, its commit log, what a reader was sent.

Half of it is in the database file and half in the commit log beside it; some of it was pruned and some erased, so that
every table has rows.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import orjson

from recorder.api.app import application
from recorder.auth.signing import known_keys
from recorder.config.settings import load_settings
from recorder.core.clock import FakeClock
from recorder.core.timestamps import format_ms
from recorder.server.gateway import Gateway, open_gateway
from recorder.store.sqlite.commit_log import segment_files
from recorder.wire.statements import signed_members

DATABASE = "sessions.sqlite"
"""The name of the file."""
IN_FILE = 30
"""The last entry that the file has; what follows is in the commit log."""
SERVED = ("/api/head", "/api/receipts", "/api/stats", "/api/sessions", "/api/deltas?order=asc")
"""What `recorder doctor --url` asks a recorder for."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that nobody has open.

    Args:
        database: The file's bytes.
        commits: Those of its commit log, by the name of the segment.
        events: What a subscriber was sent, one message each.
        heads: Its signed heads, one a line.
        served: What `SERVED` answers, by path.
        trusted: The ids of the keys it was signed with.
    """

    database: bytes
    commits: dict[str, bytes]
    events: tuple[bytes, ...]
    heads: bytes
    served: dict[str, bytes]
    trusted: frozenset[str]


@cache
def recording() -> Recording:
    """The one of this process."""
    with tempfile.TemporaryDirectory(prefix="recorder-fuzz-") as folder:
        return asyncio.run(_made(Path(folder)))


async def _made(folder: Path) -> Recording:
    path, key = folder / DATABASE, folder / "signing.key"
    # No snapshot but those that are asked for: what is in the file is the same each time.
    settings = load_settings(
        persist="1", db_path=path, key_file=key, durability="commit", snapshot_interval=3_600_000
    )
    clock = FakeClock()
    async with open_gateway(settings, clock=clock) as gateway:
        await gateway.load()
        recorder = gateway.recorder
        await recorder.publish(_deltas(range(10)))
        clock.advance(60)
        await recorder.publish(_deltas(range(10, IN_FILE)))
        await recorder.maintenance.prune(format_ms(clock.now_ms()))
        await recorder.eraser.erase("s1", "for the recording")
        await recorder.maintenance.snapshot(even_if_clean=True)
        clock.advance(60)
        for first in range(IN_FILE, IN_FILE + 20, 4):
            await recorder.publish(_deltas(range(first, first + 4)))
        head = await recorder.recording.head()
        assert head is not None
        events = []
        async with recorder.subscribe(since=str(IN_FILE)) as stream:
            async for event in stream:
                events.append(orjson.dumps(event))
                if event["event"] == "live":
                    break
        # Copied while it runs: a stop would bring everything into the file.
        commits = {part.path.name: part.path.read_bytes() for part in segment_files(path)}
        served = await _served(gateway)
        heads = orjson.dumps(signed_members(head)) + b"\n"
        return Recording(path.read_bytes(), commits, tuple(events), heads, served, known_keys(key))


async def _served(gateway: Gateway) -> dict[str, bytes]:
    transport = httpx.ASGITransport(application(gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return {path: (await http.get(path)).content for path in SERVED}


def _deltas(numbers: range) -> bytes:
    return orjson.dumps([_delta(n) for n in numbers])


def _delta(n: int) -> dict[str, object]:
    delta: dict[str, object] = {
        "type": ("created", "updated", "updated", "deleted")[n // 3 % 4], "sessionId": f"s{n % 3}"
    }  # fmt: skip
    if delta["type"] != "deleted":
        delta["after"] = {"n": n, "list": [n, "ä", None], "pad": "x" * (n % 40)}
    return delta | ({"id": f"id-{n}"} if n % 5 == 0 else {})
