"""A recorder whose disk is going to be in outage, one publisher and one subscriber; and what must be true throughout.

In `snapshot` mode publishers and subscribers notice nothing. In `commit` mode a publisher is acked or told that the disk
did not take it, and nobody sees what was not taken. In both /readyz is red, with the reason, for as long as the outage
lasts, is green again by itself when it is over, and then nothing that was acked is missing: not in the recorder that
lived through it, and not in the one that is started after that was killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from recorder.crashtest.clients import post_once, recorded_by, until_gone, watch
from recorder.crashtest.inspect import inspect_files
from recorder.crashtest.ledger import Ledger
from recorder.crashtest.server_process import ServerProcess, until
from recorder.store.sqlite.commit_log import segment_files

SNAPSHOT_MS = 200
SEGMENTS = 12
"""Segments of the commit log that are watched before they are there."""
BATCH = 300
"""Deltas of a publish: more bytes than a size limit on files leaves room for."""

Act = Callable[[], Awaitable[None]]
"""Brings outage about, or ends it."""


class OutageTest:
    """A test of disk outages, created by `open_outage_test`.

    Args:
        server: The recorder.
        ledger: What is promised.
        http: A publisher's connection.
    """

    def __init__(self, server: ServerProcess, ledger: Ledger, http: httpx.AsyncClient) -> None:
        self.server = server
        self.ledger = ledger
        self._http = http
        self._segment = 0  # the highest number of a segment of the commit log that was seen
        self.refused = 0  # publishes that were refused

    async def publish(self, count: int = BATCH) -> bool:
        """Publish new deltas, or one that was refused before; whether they were acked."""
        acked = await post_once(self._http, self.ledger, self.ledger.take(count))
        self.files()
        self.refused += not acked
        return acked

    async def until_acked(self, count: int = BATCH) -> None:
        """Publish until it is acked. Raises TimeoutError."""
        await until("a publish acked", lambda: self.publish(count))

    async def until_seen(self) -> None:
        """Wait until the subscriber has everything that was acked. Raises TimeoutError."""

        async def is_so() -> bool:
            return self.ledger.seen >= self.ledger.head

        await until("the subscriber shown what was acked", is_so)

    async def until_saved(self) -> None:
        """Wait until everything that was acked is in the database file. Raises TimeoutError."""

        async def is_so() -> bool:
            last = await self.last_snapshot()
            return bool(last["outcome"] == "ok" and last["counts"]["head"] >= self.ledger.head)

        await until("everything in the file", is_so)

    async def until_red(self) -> str:
        """Publish until /readyz is red; what it says then. Raises TimeoutError."""
        said = ""

        async def is_so() -> bool:
            nonlocal said
            answer = await self.server.get("/readyz")
            said = answer.text
            if answer.status_code == 200:
                await self.publish()
            return answer.status_code != 200

        await until("/readyz red", is_so)
        return said

    async def until_calm(self) -> None:
        """Wait until it is ready, acks, delivers what it acked, and has saved it. Raises TimeoutError."""
        await self.server.until_ready()
        await self.until_acked(10)
        await self.until_seen()
        await self.until_saved()

    async def snapshots(self) -> list[dict[str, Any]]:
        """Return the last runs, latest first."""
        return list((await self.server.get("/api/jobs?name=snapshot&limit=100")).json()["jobs"])

    async def last_snapshot(self) -> dict[str, Any]:
        """Return the last run; one with the outcome `none` if there has been none."""
        return next(iter(await self.snapshots()), {"outcome": "none", "startedAt": ""})

    def files(self) -> list[Path]:
        """Return the recorder's files on disk, with those that it will create next."""
        path = self.server.database
        self._segment = max([self._segment, *(segment.number for segment in segment_files(path))])
        names = [f"{path.name}.commits.{self._segment + more}" for more in range(SEGMENTS)]
        return [path, path.parent, *(path.with_name(name) for name in (f"{path.name}-journal", *names))]

    async def finish(self) -> list[str]:
        """Kill it, look at what lies there, start it again and compare; what is wrong."""
        server = self.server
        await server.kill()
        found = await asyncio.to_thread(inspect_files, server.database, server.key, server.folder / "look")
        await server.start()
        recorded = await recorded_by(server)
        loss = self.ledger.audit(recorded, server.killed_at)
        return [*found, *self.ledger.wrong, *loss.wrong]


@asynccontextmanager
async def open_outage_test(
    folder: Path, mode: str, *, database: Path | None = None, prefix: tuple[str, ...] = ()
) -> AsyncIterator[OutageTest]:
    """Run a recorder, with a subscriber that watches it, for the duration of the block."""
    flags = ("--durability", mode, "--snapshot-interval", str(SNAPSHOT_MS), "--heartbeat-interval", "50")
    ledger = Ledger(commit=mode == "commit", window=SNAPSHOT_MS / 1000)
    async with ServerProcess(folder, *flags, database=database, prefix=prefix) as server:
        await server.start()
        async with server.client() as http:
            watching = asyncio.create_task(until_gone(watch(server, ledger)), name="crashtest-watch")
            try:
                yield OutageTest(server, ledger, http)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Outage:
    """Outage with a disk.

    Args:
        begin, end: Bring it about, and end it.
        reddens: Whether it lasts until it is ended; otherwise the recorder gets over it by itself, perhaps before
            anybody has seen that it was red.
        refuses: Whether publishers must be told of it, in `commit` mode.
        lethal: Whether the recorder is killed in the middle of it.
    """

    begin: Act
    end: Act
    reddens: bool = True
    refuses: bool = False
    lethal: bool = False


async def run_outage(test: OutageTest, outage: Outage) -> list[str]:
    """Run one outage; return what is wrong."""
    found: list[str] = []
    await test.until_acked()
    await test.until_calm()
    before = test.refused
    await outage.begin()
    try:
        if outage.reddens:
            found += await _while_red(test)
        elif outage.refuses and test.ledger.commit:
            await until("a publish refused", lambda: _is_refused(test))
        if outage.lethal:
            await test.server.kill()
    finally:
        await outage.end()
    if outage.refuses and test.ledger.commit and test.refused == before:
        found.append("publishers got no error when the disk rejected writes")
    if not outage.lethal:
        await test.until_acked()
        await test.until_calm()
        return found + await test.finish()
    killed_at = test.server.killed_at
    await test.server.start()
    return found + test.ledger.wrong + test.ledger.audit(await recorded_by(test.server), killed_at).wrong


async def _while_red(test: OutageTest) -> list[str]:
    found = []
    reason = await test.until_red()
    if not any(word in reason for word in ("snapshots fail", "nothing can be put on disk")):
        found.append(f"/readyz gives no reason: {reason}")
    acked = [await test.publish() for _ in range(5)]
    if not all(acked) and not test.ledger.commit:
        found.append("a publish was refused, though its ack does not promise the disk")
    # Also those that were acked while the disk was in outage.
    await test.until_seen()
    return found


async def _is_refused(test: OutageTest) -> bool:
    return not await test.publish()
