"""The dashboard behind nginx, below a path, with the configuration that is shipped."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.app import delta, running_app
from tests.support.browser import needs_chromium, opened

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
DEPLOY = Path(__file__).resolve().parents[2] / "scripts" / "deploy"

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def unused_port() -> int:
    """Return a port of the loopback interface that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def proxied(folder: Path, url: str, port: int) -> Iterator[str]:
    """Run nginx in front of a recorder; the address of the dashboard behind it.

    Args:
        folder: For nginx's files.
        url: The recorder's.
        port: nginx's.
    """
    rules = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert "http://127.0.0.1:8765/" in rules
    (folder / "server.conf").write_text(
        rules.replace("http://127.0.0.1:8765/", f"{url}/").replace("/recorder", "/rec")
    )
    whole = folder / "nginx.conf"
    whole.write_text(
        f"worker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\ninclude {DEPLOY}/nginx-http.conf;\n"
        + "".join(
            f"{name}_temp_path {folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"server {{ listen 127.0.0.1:{port}; include {folder}/server.conf; }}\n}}\n"
    )
    assert NGINX is not None
    # It goes into the background once it listens.
    command = [NGINX, "-c", str(whole), "-p", str(folder)]
    subprocess.run(command, check=True)
    try:
        yield f"http://127.0.0.1:{port}/rec"
    finally:
        subprocess.run([*command, "-s", "stop"], check=True)


@needs_nginx
async def test_below_a_path_every_part_of_the_page_finds_its_recorder(
    browser: Browser, tmp_path: Path
) -> None:
    port = unused_port()
    origin = f"http://127.0.0.1:{port}"
    (tmp_path / "data").mkdir()
    async with running_app(
        tmp_path / "data",
        allowed_origins=[origin],
        allowed_hosts=["127.0.0.1"],
        trusted_proxies=["127.0.0.1"],
    ) as app:
        await app.publish(*[delta("s", n) for n in range(3)])
        with proxied(tmp_path, app.url, port) as url:
            asked: list[str] = []
            async with opened(browser, url) as page:
                page.on("request", lambda request: asked.append(request.url))
                await page.reload()
                await expect(page.locator("#freshness")).to_contain_text("live")
                await expect(page.locator(".events-list .row")).to_have_count(3)
                await app.publish(delta("s", 9))
                await expect(page.locator(".events-list .row")).to_have_count(4)
                await page.locator(".session-list .row").first.click()
                await expect(page.locator(".where")).to_contain_text("delta 4 of 4")
                await page.locator("li[data-path='/n'] .key").click()
                await expect(page.locator(".blame-row")).to_have_count(4)
                async with page.expect_download() as waiting:
                    await page.get_by_role("button", name="Download").click()
                assert (await waiting.value).suggested_filename == "s.ndjson"
                await page.goto(f"{url}/#/integrity")
                await page.get_by_role("button", name="Verify the chain").click()
                await expect(page.locator(".verdict")).to_contain_text("4 links verified")
                await page.get_by_role("link", name="Docs").click()
                await expect(page).to_have_url(f"{url}/docs/")
                await expect(page.locator("h1")).to_be_visible()
                await page.get_by_role("link", name="Recorder", exact=True).first.click()
                await expect(page.locator(".events-list .row")).to_have_count(4)
                # Without the slash at its end the address leads to the same page.
                await page.goto(url)
                await expect(page.locator(".events-list .row")).to_have_count(4)
            assert asked
            assert [one for one in asked if not f"{one}/".startswith(f"{url}/")] == []
