"""TLS handshakes: counted in before they begin, with a time to be done by, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from pathlib import Path

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect

from tests.support.app import delta, running_app, turn_until
from tests.support.tls import certificate, trusting
from tests.support.wire import PATIENCE, open_socket


async def test_many_at_once_are_done_and_what_comes_right_behind_them_is_read(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    async with running_app(None, **files) as app:
        trust, url = trusting(files), app.url.replace("https", "wss")

        async def publish(number: int) -> str:
            async with connect(f"{url}/publish", ssl=trust, proxy=None, open_timeout=PATIENCE) as wire:
                await wire.recv()
                await wire.send(orjson.dumps(delta(f"s{number}")).decode())
                return str(await wire.recv())

        answers = await asyncio.gather(*[publish(number) for number in range(30)])
        assert all('"event":"ack"' in answer for answer in answers)
        async with httpx.AsyncClient(verify=trust, base_url=app.url, trust_env=False) as http:
            posted = await asyncio.gather(*[http.post("/api/deltas", json=delta()) for _ in range(20)])
            assert {answer.status_code for answer in posted} == {201}
        assert app.gateway.metrics.rejected == {}
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)


async def test_a_handshake_that_is_never_finished_is_counted_in_and_ended(tmp_path: Path) -> None:
    async with running_app(None, **certificate(tmp_path), request_head_timeout=300) as app:
        silent = await open_socket(app.url)
        with silent:
            await turn_until(lambda: app.gateway.upgrades.admission.connections == 1)
            async with asyncio.timeout(PATIENCE):
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.get_running_loop().sock_recv(silent, 100) == b""
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)
        assert app.gateway.metrics.rejected == {"handshake_timeout": 1}
        assert not app.server.server_state.connections


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b""])
async def test_a_handshake_that_fails_or_is_left_is_counted(sent: bytes, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    async with running_app(None, **files) as app:
        with await open_socket(app.url) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, sent)
            if sent[:1] != b"G":
                sock.shutdown(socket.SHUT_WR)
            await turn_until(lambda: app.gateway.metrics.rejected)
        assert app.gateway.metrics.rejected == {"tls_handshake": 1}
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)
        async with httpx.AsyncClient(verify=trusting(files), base_url=app.url, trust_env=False) as http:
            assert (await http.get("/healthz")).status_code == 200
            assert 'reason="tls_handshake"} 1.0' in (await http.get("/metrics")).text


async def test_handshakes_under_way_count_among_the_connections_and_one_too_many_is_told(
    tmp_path: Path,
) -> None:
    files = certificate(tmp_path)
    async with running_app(None, **files, max_connections=2) as app:
        with await open_socket(app.url), await open_socket(app.url):
            await turn_until(lambda: app.gateway.upgrades.admission.connections == 2)
            async with httpx.AsyncClient(verify=trusting(files), base_url=app.url, trust_env=False) as http:
                assert (await http.get("/api/stats")).status_code == 429
            assert app.gateway.metrics.rejected == {"connections": 1}
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)
        async with httpx.AsyncClient(verify=trusting(files), base_url=app.url, trust_env=False) as http:
            assert (await http.get("/healthz")).status_code == 200
            assert app.gateway.upgrades.admission.connections == 1
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)


async def test_stopping_does_not_wait_for_handshakes(tmp_path: Path) -> None:
    async with running_app(None, **certificate(tmp_path)) as app:
        with await open_socket(app.url):
            await turn_until(lambda: app.gateway.upgrades.admission.connections == 1)
            async with asyncio.timeout(PATIENCE):
                await app.server.shutdown()
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)
        # Nobody failed: it was we who ended it.
        assert app.gateway.metrics.rejected == {}


async def test_a_client_that_goes_in_the_middle_of_a_handshake_leaves_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a peer does is counted; an error with a traceback is for what we do."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLWantReadError):
        client.wrap_bio(incoming, outgoing).do_handshake()
    hello = outgoing.read()
    loop = asyncio.get_running_loop()
    caught: list[str] = []
    loop.set_exception_handler(lambda loop, context: caught.append(str(context["message"])))
    async with running_app(None, **certificate(tmp_path)) as app:
        for number in range(60):
            with await open_socket(app.url) as sock:
                sent = (b"", hello[:100], hello, hello + b"nonsense", b"GET / HTTP/1.1\r\n\r\n")[number % 5]
                await loop.sock_sendall(sock, sent)
                # A reset, at once or when it has been heard.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if number % 2:
                    await turn_until(lambda: app.gateway.upgrades.admission.connections > 0)
        await turn_until(lambda: app.gateway.upgrades.admission.connections == 0)
    assert caught == []
