"""The page under load: thousands of deltas a second while somebody uses it, and its memory has a bound.

A few seconds by default; `DASHBOARD_LOAD_SECONDS=60` for as long as one likes, with `-s` to see the figures.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, CDPSession, Page, expect

from tests.support.browser import needs_chromium, opened
from tests.support.server import ServerProcess

SECONDS = float(os.environ.get("DASHBOARD_LOAD_SECONDS", "4"))
PER_SECOND = 5000
CHILD = Path(__file__).parent / "publishing_child.py"
MOST_HEAP = 64 << 20
"""What the page may hold after a collection: the feed's entries are at most 24 Mi characters, and here far less."""

pytestmark = [
    needs_chromium,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(90 + 3 * SECONDS),
]


async def publish(url: str) -> tuple[int, float]:
    """Publish in a process of its own; the last seq, and how long it took."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), url, str(SECONDS), str(PER_SECOND), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    last, seconds = out.split()
    return int(last), float(seconds)


async def use(page: Page, until: asyncio.Task[tuple[int, float]]) -> list[float]:
    """Do what people do, again and again; how long each thing took to show."""
    took: list[float] = []

    async def timed(act: str, shown: str) -> None:
        began = time.monotonic()
        await page.locator(act).first.click()
        await expect(page.locator(shown).first).to_be_visible(timeout=20_000)
        took.append(time.monotonic() - began)

    while not until.done():
        await timed("nav [data-view=trust]", ".headline[data-kind=good]")
        await timed("nav [data-view=now]", ".feed-list .row")
        await page.get_by_label("Only deltas that hold this text").fill("tokens")
        await timed(".feed .pause", ".feed .pause[aria-pressed=true]")
        await timed(".feed-list .row", ".state-panel .field")
        await timed("button[aria-label='One delta back']", ".state-panel .field")
        await page.keyboard.press("l")
        await timed("nav [data-view=now]", ".session-list .row")
        await timed(".feed .pause", ".feed .pause[aria-pressed=false]")
    return took


async def heap(session: CDPSession) -> int:
    """Bytes that the page's objects take, after a collection."""
    await session.send("HeapProfiler.collectGarbage")
    return int((await session.send("Runtime.getHeapUsage"))["usedSize"])


async def test_it_answers_while_thousands_come_and_its_memory_has_a_bound(
    browser: Browser, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path, "--persist", "--max-deltas", "200000") as server:
        async with opened(browser, server.url) as page:
            session = await page.context.new_cdp_session(page)
            await expect(page.locator("#freshness")).to_contain_text("live")
            before = await heap(session)
            publishing = asyncio.create_task(publish(server.url), name="test-publish")
            took = sorted(await use(page, publishing))
            last, seconds = await publishing
            await page.get_by_label("Only deltas that hold this text").fill("")
            # It has fallen behind by nothing that it does not make up, and has lost nothing.
            await expect(page.locator("#freshness")).to_contain_text("live", timeout=60_000)
            first = page.locator(".feed-list .row[aria-posinset='1'] .seq")
            await expect(first).to_have_text(str(last), timeout=60_000)
            await expect(page.locator(".feed .card-head")).to_contain_text("5,000 deltas")
            after = await heap(session)
    sys.stdout.write(
        f"\n{last} deltas in {seconds:.1f} s ({last / seconds:.0f}/s); {len(took)} clicks, "
        f"median {took[len(took) // 2]:.2f} s, slowest {took[-1]:.2f} s; "
        f"heap {before / 1e6:.1f} -> {after / 1e6:.1f} MB\n"
    )
    assert len(took) >= 7
    assert after < MOST_HEAP
