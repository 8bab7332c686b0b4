"""The dashboard in a real browser: one Chromium for a whole run, a page of its own for each test.

A page that logs an error (an exception, a breach of the content policy, a file that is not there) fails its test, except
for what a test says it expects.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
UNREACHABLE = (
    r"WebSocket connection to|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|status of 503"
)
"""What a browser logs by itself where a server is away, or not ready yet."""
REFUSED = r"the server responded with a status of 4\d\d"
"""What a browser logs by itself where a request is refused."""

BEYOND = """() => [...document.querySelectorAll("body *")].filter((node) =>
    node.getBoundingClientRect().right > innerWidth
    && !node.closest("pre, .scroll, .list, .unseen, .skip")).map((node) => node.outerHTML.slice(0, 200))"""
"""What of a page reaches beyond the screen, and is not inside of something that is scrolled."""

# What does not come at all fails a test; a machine that is busy must not.
expect.set_options(timeout=30_000)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A Chromium without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, route: str = "#/", *, expected: str | None = None, **context: Any
) -> AsyncIterator[Page]:
    """The dashboard, at one of its addresses, in a context of its own.

    Args:
        browser: Shows it.
        url: The recorder's.
        route: The part of the address behind `/`.
        expected: A pattern of messages that are no failure.
        context: Of the browser: `color_scheme`, `viewport`, …
    """
    made = await browser.new_context(**context)
    errors: list[str] = []
    page = await made.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    try:
        await page.goto(f"{url}/{route}")
        yield page
    finally:
        await made.close()
    failures = [text for text in errors if expected is None or not re.search(expected, text)]
    assert failures == [], failures
