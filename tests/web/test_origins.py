"""Pages of somewhere else in a real browser: what they try comes to nothing, unless their origin is allowed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.support.app import App, running_app
from tests.support.browser import needs_chromium
from tests.support.tokens import ADMIN, LISTED

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

TRY = """async ([base, token]) => {
  const found = {};
  const attempt = async (name, what) => {
    try { found[name] = await what(); } catch (error) { found[name] = "failed"; }
  };
  const body = JSON.stringify({ type: "created", sessionId: "theirs", after: 1 });
  const shown = token ? { Authorization: `Bearer ${token}` } : {};
  const post = (headers, more) => fetch(`${base}/api/deltas`, { method: "POST", body, headers, ...more });
  await attempt("read", async () => (await fetch(`${base}/api/openapi.json`, { headers: shown })).status);
  await attempt("json", async () => (await post({ "Content-Type": "application/json", ...shown })).status);
  await attempt("text", async () => (await post({ "Content-Type": "text/plain" }, { mode: "no-cors" })).type);
  await attempt("form", () => new Promise((resolve) => {
    const form = Object.assign(document.createElement("form"), { method: "POST", enctype: "text/plain" });
    const frame = Object.assign(document.createElement("iframe"), { name: "there" });
    form.append(Object.assign(document.createElement("input"), { name: body.slice(0, -1), value: "}" }));
    Object.assign(form, { action: `${base}/api/deltas`, target: "there" });
    document.body.append(form, frame);
    frame.onload = () => resolve("sent");
    form.submit();
  }));
  await attempt("script", () => new Promise((resolve) => {
    const script = document.createElement("script");
    Object.assign(script, { onload: () => resolve("ran"), onerror: () => resolve("failed") });
    script.src = `${base}/client.js`;
    document.head.append(script);
  }));
  await attempt("module", async () => typeof (await import(`${base}/client.js`)).subscribe);
  const open = (protocols) => new Promise((resolve) => {
    const socket = new WebSocket(`${base.replace("http", "ws")}/ws`, protocols);
    socket.onmessage = ({ data }) => JSON.parse(data).event === "live" && resolve(`open ${socket.protocol}`);
    socket.onclose = ({ code }) => resolve(`closed ${code}`);
  });
  await attempt("socket", () => open([]));
  await attempt("socket with token", () => open(token ? [`bearer.${token}`] : []));
  return found;
}"""


@asynccontextmanager
async def page_elsewhere() -> AsyncIterator[str]:
    """The origin of a page on this machine: from pages of other machines browsers keep us by themselves."""

    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        # A browser connects beforehand, too, and then asks for nothing.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<!doctype html>"
            )
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        try:
            yield f"http://localhost:{server.sockets[0].getsockname()[1]}"
        finally:
            for writer in writers:
                writer.close()


async def tried(app: App, browser: Browser, origin: str, token: str | None) -> dict[str, Any]:
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{origin}/")
        found: dict[str, Any] = await page.evaluate(TRY, [app.url, token])
    finally:
        await context.close()
    await app.until_gone()
    return found


@pytest.mark.parametrize("token", [None, ADMIN])
async def test_a_page_elsewhere_gets_nothing_and_changes_nothing(token: str | None, browser: Browser) -> None:
    settings = LISTED if token else {}
    async with page_elsewhere() as origin, running_app(None, **settings) as app:
        found = await tried(app, browser, origin, token)
        assert found.pop("form") == "sent"  # into an answer that it cannot read
        assert set(found.values()) == {"failed", "closed 1006"}
        assert (app.head, app.recorder.hub.subscribers) == (0, 0)
        assert app.gateway.metrics.rejected["not_allowed"] >= 2


async def test_a_page_of_an_allowed_origin_does_what_its_token_grants(browser: Browser) -> None:
    async with page_elsewhere() as origin, running_app(None, allowed_origins=origin, **LISTED) as app:
        found = await tried(app, browser, origin, ADMIN)
        assert (found["read"], found["json"], found["module"]) == (200, 201, "function")
        assert found["socket"] == "closed 4401"
        assert found["socket with token"] == f"open bearer.{ADMIN}"
        # Only what says that it is JSON was taken.
        assert app.head == 1
