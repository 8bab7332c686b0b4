"""EventSource, a browser's own client of Server-Sent Events, against a real recorder."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.support.app import delta, running_app, some, turn_until
from tests.support.browser import needs_chromium

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

FOLLOW = """() => {
    window.seen = [];
    window.source = new EventSource("/api/stream?since=earliest");
    source.onmessage = ({ data, lastEventId }) => {
        const event = JSON.parse(data);
        if (event.event === "delta") seen.push(`${lastEventId} ${event.delta.after.n}`);
    };
}"""


async def test_it_resumes_by_itself_behind_the_last_delta_it_had(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.net.event_stream.RETRY_MS", (10, 20))
    async with running_app(tmp_path) as app:
        await app.publish(*some(3))
        # A page of the recorder's own, so that it may ask; but for its policy, which lets only its own scripts run.
        page = await browser.new_page(bypass_csp=True)
        await page.goto(f"{app.url}/healthz")
        await page.evaluate(FOLLOW)
        await page.wait_for_function("seen.length === 3")
        app.gateway.end_streams()
        app.publish_nowait(delta("s", 3))
        await page.wait_for_function("seen.length === 4")
        app.publish_nowait(delta("s", 4))
        await page.wait_for_function("seen.length === 5")
        assert await page.evaluate("seen") == [f"{app.at(n + 1)} {n}" for n in range(5)]
        await page.evaluate("source.close()")
        await page.close()
        await turn_until(lambda: app.recorder.hub.subscribers == 0)
