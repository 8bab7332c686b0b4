"""Tests of opening and closing one connection."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from recorder.client import Client, ClientOptions, Live
from recorder.client.connection import Dialer, Unreachable, hang_up, parse_address
from recorder.core.errors import ClientError
from tests.client.fake_recorder import FakeRecorder
from tests.client.raw_server import RawServer


def dialer(url: str, options: ClientOptions | None = None) -> Dialer:
    return Dialer(parse_address(url), None, options or ClientOptions())


async def test_where_nobody_listens_another_try_may_go_through() -> None:
    async with FakeRecorder() as server:
        url = server.url
    with pytest.raises(Unreachable, match="cannot be reached"):
        await dialer(url).dial(url.replace("http", "ws") + "/ws", ping_s=None)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_server_that_speaks_something_else_may_be_on_its_way_up(scheme: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()

    async with RawServer(handle) as server:
        url = f"{scheme}://127.0.0.1:{server.port}"
        with pytest.raises(Unreachable):
            await dialer(url).dial(f"{url}/ws", ping_s=None)


async def test_a_server_that_never_answers_is_left() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(100):
            pass

    async with RawServer(handle) as server:
        url = f"ws://127.0.0.1:{server.port}"
        with pytest.raises(Unreachable, match="timed out"):
            await dialer(url, ClientOptions(open_timeout_s=0.01)).dial(f"{url}/ws", ping_s=None)


async def test_hanging_up_on_a_server_that_reads_nothing_has_a_deadline() -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await released.wait()
        connection.transport.abort()

    released = asyncio.Event()
    async with serve(deaf, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        socket = await dialer(url).dial(f"{url}/publish", ping_s=None)

        async def talk() -> None:
            while True:
                await socket.send("x" * 1_000_000)

        talking = asyncio.ensure_future(talk())
        while not socket.paused:  # noqa: ASYNC110 - when the kernel's buffers are full is no event
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await hang_up(socket, limit_s=0.01)
        with pytest.raises(ConnectionClosed):
            await talking
        released.set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1 that nobody vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key} -out {cert}"
        " -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1".split(),
        check=True,
        capture_output=True,
    )
    return key, cert


async def test_a_certificate_nobody_vouches_for_is_final_and_one_that_is_named_will_do(
    certificate: tuple[Path, Path],
) -> None:
    key, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def handle(connection: ServerConnection) -> None:
        await connection.send(FakeRecorder().hello(), text=True)
        await connection.send(FakeRecorder.event("live", seq=0), text=True)
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with Client(url) as client:
            with pytest.raises(ClientError, match="certificate"):
                await anext(client.subscribe())
        trusting = ssl.create_default_context(cafile=cert)
        async with Client(url, options=ClientOptions(ssl_context=trusting)) as client:
            assert await anext(client.subscribe()) == Live(0, "EPOCH1")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8765", "ws://127.0.0.1:8765"),
        ("ws://localhost:1/", "ws://localhost:1"),
        ("https://rec.example", "wss://rec.example"),
        ("wss://rec.example/behind/a/proxy/", "wss://rec.example/behind/a/proxy"),
        ("http://[::1]:8765", "ws://[::1]:8765"),
    ],
)
def test_every_scheme_becomes_a_websocket_url(url: str, base: str) -> None:
    assert parse_address(url).base == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8765",
        "ftp://x",
        "http://",
        "http://x:port",
        "http://[::1",
        "http://u:p@x",
        "http://x?a=b",
        "http://x#f",
    ],
)
def test_what_is_not_a_recorders_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ClientError) as caught:
        parse_address(url)
    assert caught.value.hint


def test_this_machine_is_never_reached_through_a_proxy() -> None:
    local = ["http://127.0.0.1:1", "http://127.9.9.9:1", "http://localhost:1", "http://[::1]:1"]
    assert all(parse_address(url).is_loopback for url in local)
    assert not parse_address("http://10.0.0.1:1").is_loopback


def test_a_subscription_survives_its_way_through_the_url() -> None:
    url = parse_address("http://x").subscribe_url(
        ["a b&c=d", "é+#/?%"], ["created"], "2026-11-20T12:00:00+01:00"
    )
    assert parse_qsl(urlsplit(url).query) == [
        ("session", "a b&c=d"),
        ("session", "é+#/?%"),
        ("type", "created"),
        ("since", "2026-11-20T12:00:00+01:00"),
    ]


def test_a_session_that_is_no_text_is_refused() -> None:
    with pytest.raises(ClientError, match="UTF-8"):
        parse_address("http://x").subscribe_url(["\ud83d"], [], "latest")
