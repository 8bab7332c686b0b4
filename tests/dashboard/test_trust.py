"""The view "Trust": what is recorded, what of it is on disk and what is not, what ran; and how fresh the page is."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.support.app import delta, running_app
from tests.support.browser import UNREACHABLE, needs_chromium, opened
from tests.support.server import ServerProcess

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_what_is_not_on_disk_yet_is_drawn_apart(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path, heartbeat_interval=200) as app:
        await app.publish(*[delta("s", n) for n in range(30)])
        await app.recorder.upkeep.snapshot()
        async with opened(browser, app.url, "#/trust") as page:
            await expect(page.get_by_role("heading", name="Recording", exact=True)).to_be_visible()
            await expect(page.locator(".headline")).to_contain_text("every 1 min")
            await expect(page.locator(".figure.safe dd")).to_have_text("up to seq 30")
            await expect(page.locator(".figure.tail dd")).to_have_text("nothing")
            await expect(page.locator(".tape-tail")).to_have_count(0)
            await app.publish(*[delta("s", n) for n in range(10)])
            await expect(page.locator(".figure.tail dd")).to_have_text("10 deltas")
            await expect(page.locator(".tape-tail")).to_be_visible()
            await app.recorder.upkeep.snapshot()
            # Told by the next heartbeat, without a question.
            await expect(page.locator(".figure.safe dd")).to_have_text("up to seq 40")
            await expect(page.locator(".runs tbody tr")).to_have_count(2)


async def test_a_server_that_dies_is_seen_to_be_gone_and_its_new_epoch_begins_anew(
    browser: Browser, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path, "--persist") as server:
        port = httpx.URL(server.url).port

        def publish(*names: str) -> None:
            body = [delta(name, 1) for name in names]
            httpx.post(f"{server.url}/api/deltas", json=body, trust_env=False).raise_for_status()

        publish("before")
        async with opened(browser, server.url, expected=UNREACHABLE) as page:
            fresh = page.locator("#freshness")
            await expect(fresh).to_contain_text("live")
            await expect(page.locator(".feed-list .row")).to_have_count(1)
            server.kill()
            await expect(fresh).to_contain_text("disconnected")
            await expect(page.get_by_role("button", name="Retry now")).to_be_visible()
            # What was shown is still there to be read.
            await expect(page.locator(".feed-list .row")).to_have_count(1)
            server.flags = ("--persist", "--port", str(port))
            server.start()
            publish("after", "after")
            # It may have come back by itself in this very moment, and then there is no button to be clicked.
            await page.locator("#freshness button").dispatch_event("click")
            await expect(fresh).to_contain_text("live")
            # What was not on disk is gone with the old epoch, and nothing of it is still shown.
            await expect(page.locator(".feed-list .row")).to_have_count(2)
            await expect(page.locator(".session-list .row")).to_have_count(1)
            await expect(page.locator(".session-list .row")).to_contain_text("after")
            # In the same epoch it resumes: what came while it was away is there, once.
            assert server.stop() == 0
            await expect(fresh).to_contain_text("disconnected")
            server.start()
            publish("later")
            await expect(fresh).to_contain_text("live", timeout=20_000)
            await expect(page.locator(".feed-list .row")).to_have_count(3)
            await expect(page.locator(".feed-list .row[aria-posinset='1']")).to_contain_text("later")
