"""What the system gives of open files: connections take no more of it than leaves the disk and health their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from recorder.config.settings import load_settings
from recorder.net.connection_limits import max_rejected
from recorder.server import serve
from recorder.server.serve import connections_for, fit_connections
from tests.support.app import delta
from tests.support.server import ServerProcess
from tests.support.wire import PATIENCE, open_socket


@pytest.mark.parametrize("files", [8, 16, 64, 128, 576, 1024, 10_128, 1_000_000])
def test_connections_and_those_that_are_too_many_leave_files_for_others(files: int) -> None:
    fit = connections_for(files)
    spare = files - fit - max_rejected(fit)
    assert fit >= 1
    assert spare >= min(64, files // 2) or files <= 16


def test_more_connections_than_there_are_files_for_are_lowered_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "allow_files", lambda wanted: min(wanted, 64))
    assert fit_connections(load_settings()).max_connections == 24
    few = load_settings(max_connections=20)
    assert fit_connections(few) is few


async def test_idle_connections_on_few_files_stop_neither_snapshots_nor_health(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--persist", "--log-format=json")
    server.start(files=64)
    with closing(server):
        assert "MAX_CONNECTIONS is lowered" in server.log
        async with AsyncExitStack() as stack:
            for _ in range(60):
                stack.enter_context(await open_socket(server.url))
            assert await asyncio.to_thread(is_ready, server.url)
            assert await asyncio.to_thread(is_ready, server.url)
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE) as http:
            assert (await http.post("/api/deltas", json=delta())).status_code == 201
            assert (await http.post("/api/admin/snapshot", json={})).json()["durable"] == 1
        assert await asyncio.to_thread(server.stop) == 0
        assert "Traceback" not in server.log


def is_ready(url: str) -> bool:
    """Ask until there is an answer: for a moment all places of those that are too many may be taken."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            return httpx.get(f"{url}/readyz", trust_env=False, timeout=PATIENCE).status_code == 200
    return False


@contextmanager
def closing(server: ServerProcess) -> Iterator[None]:
    """Nothing is left of it at the end."""
    try:
        yield
    finally:
        server.__exit__(None, None, None)
