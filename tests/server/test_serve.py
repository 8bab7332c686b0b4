"""The server as a process: how it begins, and every way to make it stop."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sqlite3
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect as websocket

from recorder.app import Loading, Recorder
from recorder.core.errors import StoreLocked, StoreUnreadable
from recorder.demo.player import play
from recorder.server.serve import base_url, listen, serve
from tests.support.app import running_app, settings_for, some, turn
from tests.support.leaks import held, until_released
from tests.support.server import ServerProcess
from tests.support.tls import certificate, trusting
from tests.support.wire import PATIENCE, Wire, answer, connect, open_socket


def recorded(server: ServerProcess) -> list[int]:
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in conn.execute("SELECT id FROM session_deltas ORDER BY id")]


async def ended(server: ServerProcess) -> int:
    """The exit code, without holding up the event loop meanwhile."""
    return await asyncio.to_thread(server.wait)


async def test_sigterm_says_going_away_after_all_acks_and_records_everything(tmp_path: Path) -> None:
    """SIGTERM closes in order."""
    with ServerProcess(tmp_path, "--persist") as server:
        async with (
            connect(server.url, "/publish") as out,
            connect(server.url) as live,
            connect(server.url, "/ws?since=earliest") as history,
        ):
            await live.until("live")
            await out.event()
            await out.texts(some(3000))
            await out.take(1000)
            server.signal(signal.SIGTERM)
            owed, seen, replayed = await asyncio.gather(out.ending(), live.ending(), history.ending())
        assert await ended(server) == 0
        assert (owed.code, seen.code, replayed.code) == (1001, 1001, 1001)
        acked = [event["seq"] for event in owed.events if event["event"] == "ack"]
        last = acked[-1] if acked else 1000
        # Whatever was accepted is answered, sent, and on disk; nothing else is.
        assert acked == list(range(1001, last + 1))
        assert [event["seq"] for event in seen.events if event["event"] == "delta"] == list(
            range(1, last + 1)
        )
        assert recorded(server) == list(range(1, last + 1))
        assert {event["code"] for event in owed.events if event["event"] == "error"} <= {"closed"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_no_longer_waits_for_connections(tmp_path: Path, number: int) -> None:
    """A second one hurries, and still loses nothing."""
    with ServerProcess(tmp_path, "--persist") as server:
        async with connect(server.url, "/publish") as stubborn:
            await stubborn.text(some(5))
            await stubborn.take(2)
            server.signal(number)
            # It gets its goodbye and does not answer: now the server waits for it.
            assert (await stubborn.frame()).payload[:2] == (1001).to_bytes(2, "big")
            server.signal(number)
            assert await ended(server) == 0
        assert recorded(server) == [1, 2, 3, 4, 5]
        assert "without waiting for connections" in server.log


async def test_connections_that_stay_do_not_cost_the_last_snapshot(tmp_path: Path) -> None:
    """However short the deadline is, the connections get a third of it at most."""
    with ServerProcess(tmp_path, "--persist", "--shutdown-timeout", "3000") as server:
        async with connect(server.url, "/publish") as stubborn:
            await stubborn.text(some(5))
            await stubborn.take(2)
            server.signal(signal.SIGTERM)
            assert await ended(server) == 0
        assert recorded(server) == [1, 2, 3, 4, 5]


async def test_a_stop_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """Within a deadline. What is lost is said."""
    with ServerProcess(tmp_path, "--persist", "--shutdown-timeout", "700") as server:
        async with connect(server.url, "/publish") as out:
            await out.text(some(5))
            await out.take(2)
            with closing(sqlite3.connect(server.database, isolation_level=None)) as somebody_else:
                somebody_else.execute("BEGIN EXCLUSIVE")
                server.signal(signal.SIGTERM)
                assert await ended(server) == 1
        assert "stopping took too long" in server.log
        assert recorded(server) == []


async def test_a_signal_while_it_is_starting_stops_it(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--persist")
    server.start(ready=False)
    assert server.stop() == 0
    assert recorded(server) == []


async def test_after_a_clean_stop_a_position_is_resumed_from(tmp_path: Path) -> None:
    """A clean stop does not end the epoch."""
    with ServerProcess(tmp_path, "--persist") as server:
        async with connect(server.url, "/publish") as out:
            epoch = (await out.event())["epoch"]
            await out.text(some(50))
            await out.event()
        assert server.stop() == 0
        server.start()
        async with connect(server.url, f"/ws?since={epoch}:20") as wire:
            assert (await wire.event())["epoch"] == epoch
            assert await wire.deltas(50) == list(range(21, 51))


async def test_after_kill_9_an_old_position_is_told_so(tmp_path: Path) -> None:
    """Numbers may be given again, so the epoch changes and who holds a position is told."""
    with ServerProcess(tmp_path, "--persist") as server:
        async with connect(server.url, "/publish") as out:
            old = (await out.event())["epoch"]
            await out.text(some(50))
            assert (await out.event())["durable"] is False
        server.kill()
        server.start()
        async with connect(server.url, f"/ws?since={old}:20") as wire:
            hello, reset, live = await wire.until("live")
            assert hello["epoch"] != old
            assert (reset["reason"], reset["epoch"], reset["head"]) == ("epoch_changed", hello["epoch"], 0)
            assert live["seq"] == 0
        assert "what it acknowledged after its last snapshot may be lost" in server.log


# In this process


async def test_serve_leaves_no_handler_and_no_deadline_behind(tmp_path: Path) -> None:
    for _ in range(2):
        async with serving(tmp_path) as (url, serve_task):
            async with connect(url) as wire:
                await wire.until("live")
                os.kill(os.getpid(), signal.SIGTERM)
                assert (await wire.ending()).code == 1001
            assert await serve_task == 0
        loop = asyncio.get_running_loop()
        assert not loop.remove_signal_handler(signal.SIGTERM)
        assert not loop.remove_signal_handler(signal.SIGINT)


@asynccontextmanager
async def serving(folder: Path, **options: Any) -> AsyncIterator[tuple[str, asyncio.Task[int]]]:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = serve(settings_for(folder), on_ready=ready.set_result, **options)
    task = asyncio.create_task(serving, name="serve")
    try:
        url = await ready
        async with httpx.AsyncClient(trust_env=False) as http:
            while (await http.get(f"{url}/readyz")).status_code != 200:
                await turn()
        yield url, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("error", [StoreUnreadable("it cannot be read"), ZeroDivisionError()])
async def test_a_recording_that_cannot_be_loaded_ends_it_with_a_code_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def load(loading: Loading) -> Recorder:
        await turn()
        raise error

    monkeypatch.setattr(Loading, "load", load)
    assert await serve(settings_for(tmp_path)) == 1
    monkeypatch.undo()
    async with serving(tmp_path) as (url, _), connect(url) as wire:
        assert (await wire.event())["head"] == 0


async def test_the_demo_plays_by_itself_and_stops_with_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path, beside=partial(play, rate=500.0)) as (url, serve_task):
        async with connect(url, "/ws?since=earliest") as wire:
            await wire.deltas(30)
            os.kill(os.getpid(), signal.SIGINT)
            assert (await wire.ending()).code == 1001
        assert await serve_task == 0


async def test_a_second_signal_in_process_hurries_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as (url, serve_task), connect(url) as stubborn:
        await stubborn.until("live")
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await stubborn.frame()).payload[:2] == (1001).to_bytes(2, "big")
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await serve_task == 0


async def test_a_file_in_use_refuses_to_start_and_frees_the_port(tmp_path: Path) -> None:
    async with running_app(tmp_path):
        before = held()
        with pytest.raises(StoreLocked):
            await serve(settings_for(tmp_path))
        await until_released(before)


async def test_it_listens_on_both_kinds_of_loopback_and_says_how_to_get_there() -> None:
    for host, expected in (
        ("127.0.0.1", "http://127.0.0.1:"),
        ("localhost", "http://"),
        ("[::1]", "http://[::1]:"),
    ):
        try:
            listener = listen(host, 0)
        except OSError:
            assert host == "[::1]", "only IPv6 may be missing on a machine"
            continue
        with closing(listener):
            assert base_url(listener).startswith(expected)


async def test_an_address_in_use_is_an_os_error_and_leaves_no_socket() -> None:
    with closing(listen("127.0.0.1", 0)) as listener, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", listener.getsockname()[1])


async def test_a_connection_that_never_sends_its_request_is_told_so_and_ended() -> None:
    async with running_app(None, request_head_timeout=50) as app:
        for begin in (
            b"",
            b"GET /ws HTTP/1.1\r\nhost: ",
            b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET",
        ):
            wire = Wire(await open_socket(app.url))
            await wire.raw(begin)
            if b"\r\n\r\n" in begin:
                assert (await answer(wire))[0] == 200
            assert (await answer(wire))[0] == 408
            with pytest.raises(EOFError):
                await wire.frame()
            wire.sock.close()
        async with app.connect() as wire:
            await wire.until("live")
            await asyncio.sleep(0.06)
            await wire.text({"op": "ping"})
            assert (await wire.event())["event"] == "pong"
        await app.until_gone()
        assert app.server.server_state.connections == set()


async def test_log_lines_of_a_whole_run_are_json_and_none_is_an_error(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--persist", "--log-level", "debug", "--snapshot-interval", "50") as server:
        async with connect(server.url, "/publish") as out, connect(server.url) as live:
            await live.until("live")
            await out.texts([*some(20), {"type": "moved"}])
            await live.deltas(20)
            live.reset()
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.log.splitlines()]
        assert {line["level"] for line in lines} <= {"debug", "info"}
        assert lines[-1]["message"] == "stopped"


async def test_turns_of_the_loop_are_not_held_up_by_stopping(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, app.connect("/publish") as out:
        await out.event()
        await out.texts(some(300))
        stopping = asyncio.create_task(app.server.shutdown(), name="stopping")
        async with asyncio.timeout(PATIENCE):
            ending = await out.ending()
            await stopping
        await turn()
        assert ending.code == 1001


async def test_sighup_reads_tokens_and_the_certificate_again_without_a_restart(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("goes\nstays\n")
    files = certificate(tmp_path)
    flags = [f"--{name.replace('_', '-')}={path}" for name, path in files.items()]
    server = ServerProcess(tmp_path, f"--admin-tokens-file={tokens}", *flags)
    server.start(ready=False)
    with server_killed(server):
        first = trusting(files)
        async with (
            dial(server, "goes", first) as going,
            dial(server, "stays", first) as staying,
        ):
            await going.recv()
            tokens.write_text("stays\n")
            (tmp_path / "new").mkdir()
            for name, path in certificate(tmp_path / "new").items():
                files[name].write_bytes(path.read_bytes())
            server.signal(signal.SIGHUP)
            async with asyncio.timeout(PATIENCE):
                await going.wait_closed()
            assert going.close_code == 4401
            await staying.send('{"op":"ping"}')
            async with dial(server, "stays", trusting(files)) as fresh:
                await fresh.recv()
            with pytest.raises(ssl.SSLCertVerificationError):
                async with dial(server, "stays", first):
                    pass
        assert await asyncio.to_thread(server.stop) == 0


async def test_a_certificate_that_is_replaced_in_turn_with_its_key_is_served_without_another_signal(
    tmp_path: Path,
) -> None:
    files = certificate(tmp_path)
    (tmp_path / "new").mkdir()
    new = certificate(tmp_path / "new", "rsa")
    flags = [f"--{name.replace('_', '-')}={path}" for name, path in files.items()]
    server = ServerProcess(tmp_path, "--log-format=json", *flags)
    server.start(ready=False)
    with server_killed(server):
        first = trusting(files)
        files["tls_cert"].write_bytes(new["tls_cert"].read_bytes())
        server.signal(signal.SIGHUP)
        while "keep their previous content" not in server.log:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        async with dial(server, "any", first) as wire:
            await wire.recv()
        files["tls_key"].write_bytes(new["tls_key"].read_bytes())
        while "the certificate was reloaded" not in server.log:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        async with dial(server, "any", trusting(new)) as wire:
            await wire.recv()
        assert "Traceback" not in server.log


async def test_sighup_with_a_file_that_cannot_be_used_says_so_and_goes_on(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("one\n")
    with ServerProcess(tmp_path, f"--admin-tokens-file={tokens}", "--log-format=json") as server:
        headers = [("authorization", "Bearer one")]
        async with connect(server.url, "/ws", headers) as wire:
            await wire.until("live")
            tokens.unlink()
            server.signal(signal.SIGHUP)
            while "keep their previous content" not in server.log:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
            async with connect(server.url, "/ws", headers) as again:
                await again.until("live")
            await wire.text({"op": "ping"})
            assert (await wire.event())["event"] == "pong"


def test_sighup_stops_one_whose_terminal_is_gone(tmp_path: Path) -> None:
    """Closing the window that it runs in must not leave it behind, with the database in its hands."""
    ours, its = pty.openpty()
    server = ServerProcess(tmp_path, "--persist")
    with server_killed(server):
        server.start(terminal=its)
        os.close(its)
        os.close(ours)
        server.signal(signal.SIGHUP)
        assert server.wait() == 0
        assert "stopped" in server.log


@contextmanager
def server_killed(server: ServerProcess) -> Iterator[None]:
    """Nothing is left of it at the end, however that comes."""
    try:
        yield
    finally:
        server.__exit__(None, None, None)


def dial(server: ServerProcess, token: str, trust: ssl.SSLContext) -> websocket:
    headers = {"authorization": f"Bearer {token}"}
    return websocket(
        server.url.replace("https", "wss") + "/ws", additional_headers=headers, ssl=trust, proxy=None
    )


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are not listed there")
async def test_no_thread_is_started_once_it_is_ready(tmp_path: Path) -> None:
    """One that finds no memory for its beginning would hold up for ever whoever starts it: the loop."""
    with ServerProcess(tmp_path, "--persist") as server:
        tasks = Path(f"/proc/{server.pid}/task")
        before = set(os.listdir(tasks))
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as web:
            done = [
                await web.post("/api/deltas", json=some(3, "s", size=200_000)),
                await web.post("/api/admin/snapshot"),
                await web.get("/api/sessions/s/diff?from=1&to=2"),
                await web.get("/api/sessions/s/blame?path=/n"),
                await web.post("/api/admin/erase", json={"sessionId": "s"}),
            ]
        assert [answer.is_success for answer in done] == [True] * 5
        assert set(os.listdir(tasks)) == before
