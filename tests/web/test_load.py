"""The page under load: thousands of deltas a second while somebody uses it, and its memory has a bound.

A few seconds by default; `DASHBOARD_LOAD_SECONDS=60` for as long as one likes, with `-s` to see the figures. Nothing is
held to a figure of time here: a click has to have its effect while deltas come, and what the page holds has a bound.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from tests.support.browser import needs_chromium
from tests.support.devtools import BarePage, bare_page
from tests.support.server import ServerProcess
from tests.web.publishing_child import SESSIONS

SECONDS = float(os.environ.get("DASHBOARD_LOAD_SECONDS", "3"))
PER_SECOND = 5000
CHILD = Path(__file__).parent / "publishing_child.py"
MOST_HEAP = 64 << 20
"""What the page may hold after a collection: the feed's entries are at most 24 Mi characters, and here far less."""
TEXT = "#events-text"
PAUSE = ".events .pause"
FIRST = ".events-list .row[aria-posinset='1']"
# Every session has come twice, so that there is a delta to step back to.
SECOND_ROUND = f'probe.until(() => document.querySelector("{FIRST} .seq")?.textContent > 2 * {SESSIONS})'

pytestmark = [needs_chromium, pytest.mark.timeout(150 + 3 * SECONDS)]


async def publish(url: str) -> tuple[int, float]:
    """Publish in a process of its own; the last seq, and how long it took."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), url, str(SECONDS), str(PER_SECOND), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    last, seconds = out.split()
    return int(last), float(seconds)


async def use(page: BarePage, until: asyncio.Task[tuple[int, float]]) -> list[tuple[float, str]]:
    """Do what people do, again and again; how long each thing took to show."""
    took: list[tuple[float, str]] = []

    async def timed(act: str, shown: str) -> None:
        began = time.monotonic()
        await page.click(act)
        await page.shown(shown)
        took.append((time.monotonic() - began, act))

    while not (until.done() and took):
        await timed("nav [data-view=integrity]", ".headline[data-kind=good]")
        await timed("nav [data-view=live]", FIRST)
        await page.type(TEXT, "tokens")
        await timed(PAUSE, f"{PAUSE}[aria-pressed=true]")
        await timed(FIRST, ".state-panel .field")
        await timed("button[aria-label='Previous delta']", ".state-panel .field")
        await page.press("l", 76)
        await timed("nav [data-view=live]", ".session-list .row")
        await timed(PAUSE, f"{PAUSE}[aria-pressed=false]")
    return took


async def test_it_answers_while_thousands_come_and_its_memory_has_a_bound(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--persist", "--max-deltas", "200000") as server:
        async with bare_page(tmp_path / "profile", f"{server.url}/") as page:
            await page.text("#freshness", "live")
            before = await page.heap()
            publishing = asyncio.create_task(publish(server.url), name="test-publish")
            try:
                await page.evaluate(SECOND_ROUND)
                took = sorted(await use(page, publishing))
                last, seconds = await publishing
            finally:
                publishing.cancel()
            await page.type(TEXT, "")
            # It has fallen behind by nothing that it does not make up, and has lost nothing.
            await page.text("#freshness", "live")
            await page.text(f"{FIRST} .seq", str(last))
            await page.text(".events .card-head", "latest 5,000 events")
            after = await page.heap()
            tasks, interactions = await page.evaluate("[probe.tasks, probe.interactions]")
    sys.stdout.write(
        f"\n{last} deltas in {seconds:.1f} s ({last / seconds:.0f}/s); {len(took)} clicks, each with its effect "
        f"awaited: median {took[len(took) // 2][0]:.2f} s, slowest {took[-1][0]:.2f} s ({took[-1][1]}); "
        f"in the page: slowest from input to picture {max(interactions, default=0):.0f} ms, "
        f"longest task {max(tasks, default=0):.0f} ms; heap {before / 1e6:.1f} -> {after / 1e6:.1f} MB\n"
    )
    assert len(took) >= 7
    assert after < MOST_HEAP
