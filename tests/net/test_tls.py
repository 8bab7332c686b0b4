"""The same port with TLS: HTTP, WebSockets, the client, and how connections end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder.client import Client, Delta
from recorder.client.options import ClientOptions
from recorder.config.settings import load_settings
from recorder.core.errors import InvalidSetting
from recorder.net.tls import ServerTls, server_tls
from tests.support.app import delta, running_app, some, turn_until
from tests.support.tls import certificate, trusting
from tests.support.tokens import LISTED, SUBSCRIBER, bearer


async def test_http_goes_by_tls_and_only_by_tls(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    async with running_app(None, **files) as app:
        assert app.url.startswith("https://")
        async with httpx.AsyncClient(verify=trusting(files), base_url=app.url, trust_env=False) as http:
            assert (await http.get("/healthz")).text == "ok\n"
        async with httpx.AsyncClient(base_url=app.url.replace("https", "http"), trust_env=False) as http:
            with pytest.raises(httpx.TransportError):
                await http.get("/healthz")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_not_spoken(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    async with running_app(None, **files) as app:
        old = trusting(files)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        async with httpx.AsyncClient(verify=old, base_url=app.url, trust_env=False) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get("/healthz")


async def test_deltas_come_by_tls_and_every_way_of_closing_ends(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    async with running_app(tmp_path, **files) as app:
        url = app.url.replace("https", "wss")
        await app.publish(*some(300, size=5000))
        async with connect(f"{url}/ws?since=earliest", ssl=trusting(files), proxy=None) as socket:
            texts = [await socket.recv() for _ in range(302)]
            assert '"event":"live"' in str(texts[-1])
        async with connect(f"{url}/ws?nonsense=1", ssl=trusting(files), proxy=None) as socket:
            await socket.recv()
            with pytest.raises(ConnectionClosed, match="4400"):
                await socket.recv()
        async with connect(f"{url}/ws", ssl=trusting(files), proxy=None) as socket:
            await socket.send(b"binary")
            with pytest.raises(ConnectionClosed, match="1003"):
                _ = [await socket.recv() for _ in range(10)]
        await app.until_gone()
        assert not app.server.server_state.connections


async def test_the_client_publishes_and_subscribes_by_tls_with_its_token(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    options = ClientOptions(ssl_context=trusting(files))
    async with (
        running_app(None, admin_tokens="an-admin-token-1", **files) as app,
        Client(app.url, "an-admin-token-1", options=options) as client,
        client.subscribe() as events,
    ):
        reading = asyncio.create_task(
            anext(event async for event in events if isinstance(event, Delta)), name="r"
        )
        await turn_until(lambda: app.recorder.hub.fanout.receivers)
        await client.publish(delta("t"))
        assert (await reading).session_id == "t"


async def test_a_page_that_came_in_the_clear_is_not_its_own(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    async with running_app(None, **files, **LISTED) as app:
        url, tls = app.url.replace("https", "wss"), trusting(files)
        token = bearer(SUBSCRIBER)
        async with connect(
            f"{url}/ws", ssl=tls, proxy=None, origin=app.url, additional_headers=token
        ) as socket:  # type: ignore[arg-type]
            await socket.recv()
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"{url}/ws", ssl=tls, proxy=None, origin=app.url.replace("https", "http"))  # type: ignore[arg-type]


def served(tls: ServerTls, **options: Any) -> bytes:
    """The certificate that a client gets of it, in DER; any kind of key by default."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for name, value in options.items():
        setattr(client, name, value)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server)
    ours = tls.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (theirs, ours):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    found = theirs.getpeercert(binary_form=True)
    assert found is not None
    return found


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.mark.parametrize("kinds", [("ec", "rsa"), ("rsa", "ec"), ("ec", "ec")])
def test_a_renewed_certificate_is_served_alone_whatever_the_type_of_its_key(
    kinds: tuple[str, str], tmp_path: Path
) -> None:
    files = certificate(tmp_path, kinds[0])
    tls = ServerTls(load_settings(**files))
    assert served(tls) == der(files["tls_cert"])
    certificate(tmp_path, kinds[1])
    tls.renew()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert served(tls, maximum_version=version) == der(files["tls_cert"])
    assert str(tls.valid_until).startswith("2119-")


def test_files_that_are_replaced_one_after_the_other_are_served_once_they_fit(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    tls, old = ServerTls(load_settings(**files)), der(files["tls_cert"])
    (tmp_path / "new").mkdir()
    new = certificate(tmp_path / "new", "rsa")
    for name in ("tls_cert", "tls_key"):
        assert served(tls) == old
        files[name].write_bytes(new[name].read_bytes())
        if name == "tls_cert":
            with pytest.raises(InvalidSetting, match="TLS_CERT"):
                tls.renew()
    tls.renew()
    assert served(tls) == der(new["tls_cert"])


def test_a_wrong_file_stops_the_start_in_one_line(tmp_path: Path) -> None:
    files, other = certificate(tmp_path), tmp_path / "other"
    other.mkdir()
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    key = serialization.load_pem_private_key(files["tls_key"].read_bytes(), None)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    both = tmp_path / "both.pem"
    both.write_bytes(files["tls_cert"].read_bytes() + files["tls_key"].read_bytes())
    assert server_tls(load_settings(tls_cert=both)) is not None
    assert server_tls(load_settings()) is None
    for wrong, said in (
        ({"tls_cert": tmp_path / "none.pem"}, "TLS_CERT: "),
        ({"tls_cert": files["tls_cert"], "tls_key": tmp_path / "none.pem"}, "TLS_KEY: "),
        ({"tls_cert": files["tls_cert"]}, "the key in it cannot be used"),
        ({"tls_cert": nonsense, "tls_key": files["tls_key"]}, "cannot be used"),
        ({"tls_cert": files["tls_cert"], "tls_key": certificate(other)["tls_key"]}, "cannot be used"),
        ({"tls_cert": files["tls_cert"], "tls_key": encrypted}, "the key is encrypted"),
    ):
        with pytest.raises(InvalidSetting) as refused:
            server_tls(load_settings(**wrong))
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
