"""A page under load, driven over the DevTools protocol by hand: only what is asked for crosses the line to the browser.

Playwright has itself told of every frame of every WebSocket. With thousands a second the answers it waits for stand in
a queue behind them, for a minute on a busy machine, while the page has long done what it was asked to. So what shall
say how fast a page answers does not listen to its network. Clicks go the way of a finger: through the browser's own
input, to the place where the element is seen.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.support.browser import CHROMIUM

PATIENCE = 60.0
"""Seconds after which what does not come counts as missing: the failure of a test, never its pace."""
SAID = b"DevTools listening on "

HELPERS = """
window.probe = {
  tasks: [], // long ones, in milliseconds
  interactions: [], // from what a finger or key did to the picture that shows it, in milliseconds
  until: (look) => new Promise((resolve) => {
    const again = () => { const found = look(); if (found) resolve(found); else requestAnimationFrame(again); };
    again();
  }),
  // The middle of an element that has stood in one place for two frames, can be used, and is not covered.
  clickable: (selector) => {
    let last = "";
    return probe.until(() => {
      const element = document.querySelector(selector);
      const box = element?.getBoundingClientRect();
      if (!box || !box.width || element.disabled) return null;
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      const place = [box.x, box.y, box.width, box.height].join();
      const settled = place === last;
      last = place;
      return settled && element.contains(document.elementFromPoint(x, y)) ? { x, y } : null;
    });
  },
  shown: (selector) => probe.until(() => document.querySelector(selector)?.getClientRects().length),
};
const watch = (type, into, more) => new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) into.push(duration);
}).observe({ type, buffered: true, ...more });
watch("longtask", probe.tasks, {});
watch("event", probe.interactions, { durationThreshold: 16 });
"""


class BarePage:
    """A page. Made by `bare_page`.

    Args:
        socket: To its DevTools.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.errors: list[str] = []  # uncaught, or logged as errors
        self._socket = socket
        self._numbers = itertools.count(1)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A command's result; one at a time."""
        number = next(self._numbers)
        async with asyncio.timeout(PATIENCE):
            await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
            while (answer := json.loads(await self._socket.recv())).get("id") != number:
                self._notice(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, or what its promise becomes."""
        answer = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def click(self, selector: str) -> None:
        """Click the first element of a selector, as soon as it stands still and can be seen."""
        place = await self.evaluate(f"probe.clickable({json.dumps(selector)})")
        await self.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    async def shown(self, selector: str) -> None:
        """Until there is such an element to be seen."""
        await self.evaluate(f"probe.shown({json.dumps(selector)})")

    async def text(self, selector: str, wanted: str) -> None:
        """Until the first element of a selector holds a text."""
        held = f"document.querySelector({json.dumps(selector)})?.textContent.includes({json.dumps(wanted)})"
        await self.evaluate(f"probe.until(() => {held})")

    async def type(self, selector: str, text: str) -> None:
        """Put a text in the place of what an input holds."""
        await self.click(selector)
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        if text:
            await self.send("Input.insertText", text=text)
        else:
            await self.press("Delete", 46)

    async def press(self, key: str, code: int) -> None:
        """Press a key, and let go of it; `code` is the number that Windows has for it."""
        text = {"text": key} if len(key) == 1 else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def heap(self) -> int:
        """Bytes that the page's objects take, after a collection."""
        await self.send("HeapProfiler.collectGarbage")
        return int((await self.send("Runtime.getHeapUsage"))["usedSize"])

    def _notice(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])


@asynccontextmanager
async def _browser(folder: Path) -> AsyncIterator[str]:
    """A Chromium without a window, its profile in a folder; the address of its DevTools."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *("--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-port=0"),
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    draining = None
    try:
        async with asyncio.timeout(PATIENCE):
            while not (line := await process.stderr.readline()).startswith(SAID):
                assert line, "it ended"
        draining = asyncio.create_task(process.stderr.read(), name="chromium-stderr")
        yield line.decode().rpartition("ws://")[2].partition("/")[0]
    finally:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()
        if draining is not None:
            await draining


@asynccontextmanager
async def bare_page(
    folder: Path, url: str, *, width: int = 1280, height: int = 720
) -> AsyncIterator[BarePage]:
    """A page at an address, in a browser of its own; one that has logged an error fails at the end.

    Args:
        folder: Of the browser's profile; made.
        url: What it shows.
        width: Of the page, in pixels.
        height: Of it.
    """
    async with _browser(folder) as address:
        async with httpx.AsyncClient(trust_env=False) as http:
            targets = (await http.get(f"http://{address}/json/list")).json()
        target = next(one for one in targets if one["type"] == "page")
        async with connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
            page = BarePage(socket)
            for domain in ("Page", "Runtime", "Log"):
                await page.send(f"{domain}.enable")
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            await page.send("Emulation.setDeviceMetricsOverride", **size)
            await page.send("Page.addScriptToEvaluateOnNewDocument", source=HELPERS)
            await page.send("Page.navigate", url=url)
            yield page
        assert page.errors == []
