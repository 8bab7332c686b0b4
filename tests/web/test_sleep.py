"""A page, or its recorder, that was away: it says so while it is, and makes up for it by itself, each delta once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.app import delta, running_app
from tests.support.browser import BEYOND, UNREACHABLE, needs_chromium, opened
from tests.support.proxy import Proxy
from tests.support.server import ServerProcess

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def publish(url: str, count: int) -> None:
    """Publish deltas over HTTP."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        answer = await http.post(f"{url}/api/deltas", json=[delta("s", n) for n in range(count)])
        answer.raise_for_status()


async def shows_all(page: Page, last: int) -> None:
    """Until it is live and shows every seq up to the last, each once, the newest first."""
    await expect(page.locator("#freshness")).to_contain_text("live")
    await expect(page.locator(".events .card-head")).to_contain_text(f"{last} events")
    rows = page.locator(".events-list .row")
    await expect(rows).to_have_count(last)
    places = await rows.evaluate_all(
        "rows => rows.map((row) => [Number(row.ariaPosInSet), Number(row.querySelector('.seq').textContent)])"
    )
    assert sorted(places) == [[n, last + 1 - n] for n in range(1, last + 1)]


async def test_a_recorder_that_says_nothing_is_stale_then_gone_then_made_up_for(
    browser: Browser, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path, "--persist") as server:
        await publish(server.url, 3)
        async with opened(browser, "about:blank", expected=UNREACHABLE) as page:
            # Its clock is moved as that of a machine whose lid is shut for a while.
            await page.clock.install()
            await page.goto(f"{server.url}/#/")
            await shows_all(page, 3)
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            # From here on it moves when it is told to: nothing depends on how fast this machine is.
            await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
            server.signal(SIGSTOP)
            try:
                await page.clock.fast_forward(40_000)
                await expect(page.locator("#freshness")).to_contain_text("stale for")
                await expect(page.get_by_role("button", name="Retry now")).to_be_visible()
                await page.clock.run_for(5_000)
                await expect(page.locator("#freshness")).to_contain_text("disconnected")
            finally:
                server.signal(SIGCONT)
            await page.clock.resume()
            await publish(server.url, 4)
            await shows_all(page, 7)
            # It was resumed: nothing of history was read again.
            assert [url for url in asked if "/api/deltas" in url] == []


@pytest.mark.parametrize("cut", [False, True], ids=["connected", "cut off"])
async def test_a_page_that_stood_still_shows_what_it_missed(
    browser: Browser, tmp_path: Path, cut: bool
) -> None:
    async with running_app(tmp_path) as app, Proxy(app.url) as proxy:
        await app.publish(*[delta("s", n) for n in range(3)])
        async with opened(browser, proxy.url, expected=UNREACHABLE) as page:
            await shows_all(page, 3)
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            # Nothing of the page runs: no timer, no message is heard.
            devtools = await page.context.new_cdp_session(page)
            stands = asyncio.Event()
            devtools.on("Debugger.paused", lambda _: stands.set())
            await devtools.send("Debugger.enable")
            await devtools.send("Debugger.pause")
            await asyncio.wait_for(stands.wait(), 30)
            for _ in range(4):
                await app.publish(delta("s"))
            if cut:
                proxy.cut()
                await app.until_gone()
            await devtools.send("Debugger.resume")
            await devtools.detach()
            await shows_all(page, 7)
            assert [url for url in asked if "/api/deltas" in url] == []


async def test_a_network_that_goes_away_is_told_of_at_once_and_made_up_for(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app, Proxy(app.url) as proxy:
        await app.publish(*[delta("s", n) for n in range(3)])
        async with opened(
            browser, "about:blank", expected=f"ERR_INTERNET_DISCONNECTED|{UNREACHABLE}"
        ) as page:
            await page.clock.install()
            await page.goto(f"{proxy.url}/#/")
            await shows_all(page, 3)
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            # What is on its way is lost, and the browser says that there is no network.
            proxy.stall()
            await page.context.set_offline(True)
            await app.publish(*[delta("s", n) for n in range(4)])
            await page.clock.fast_forward(4_000)
            await expect(page.locator("#freshness")).to_contain_text("disconnected")
            proxy.flow()
            await page.context.set_offline(False)
            await shows_all(page, 7)
            assert [url for url in asked if "/api/deltas" in url] == []


async def test_a_recorder_killed_in_commit_mode_is_resumed_in_its_epoch(
    browser: Browser, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path, "--persist", "--durability", "commit") as server:
        port = httpx.URL(server.url).port
        await publish(server.url, 3)
        phone = {"width": 360, "height": 740}
        async with opened(browser, server.url, expected=UNREACHABLE, viewport=phone) as page:
            await shows_all(page, 3)
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            server.kill()
            await expect(page.locator("#freshness")).to_contain_text("disconnected")
            # It is told in whole on a phone, too, and covers no control.
            assert await page.evaluate(BEYOND) == []
            await page.get_by_role("button", name="Theme").click()
            server.flags = ("--persist", "--durability", "commit", "--port", str(port))
            await asyncio.to_thread(server.start)
            await publish(server.url, 4)
            # It may have come back by itself in this very moment, and then there is no button to be clicked.
            await page.locator("#freshness button").dispatch_event("click")
            await shows_all(page, 7)
            assert [url for url in asked if "/api/deltas" in url] == []
