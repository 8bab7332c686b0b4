"""The view "Integrity": durability, jobs and the hash chain; and how fresh the page is."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, WebSocketRoute, expect

from tests.support.app import App, delta, running_app
from tests.support.browser import UNREACHABLE, needs_chromium, opened
from tests.support.server import ServerProcess

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def tamper(app: App, statement: str) -> None:
    """Change what is recorded behind the recorder's back."""
    assert app.recorder.store is not None
    await app.recorder.store._memory.run(lambda connection: connection.execute(statement))


async def test_what_is_not_on_disk_yet_is_drawn_apart(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path, heartbeat_interval=200) as app:
        await app.publish(*[delta("s", n) for n in range(30)])
        await app.recorder.maintenance.snapshot()
        async with opened(browser, app.url, "#/integrity") as page:
            await expect(page.get_by_role("heading", name="Recording", exact=True)).to_be_visible()
            await expect(page.locator(".headline")).to_contain_text("every 1 min")
            await expect(page.locator(".figure.safe dd")).to_have_text("up to seq 30")
            await expect(page.locator(".figure.tail dd")).to_have_text("nothing")
            await expect(page.locator(".coverage-tail")).to_have_count(0)
            await app.publish(*[delta("s", n) for n in range(10)])
            await expect(page.locator(".figure.tail dd")).to_have_text("10 deltas")
            await expect(page.locator(".coverage-tail")).to_be_visible()
            await app.recorder.maintenance.snapshot()
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
            await expect(page.locator(".events-list .row")).to_have_count(1)
            server.kill()
            await expect(fresh).to_contain_text("disconnected")
            await expect(page.get_by_role("button", name="Retry now")).to_be_visible()
            # What was shown is still there to be read.
            await expect(page.locator(".events-list .row")).to_have_count(1)
            server.flags = ("--persist", "--port", str(port))
            server.start()
            publish("after", "after")
            # It may have come back by itself in this very moment, and then there is no button to be clicked.
            await page.locator("#freshness button").dispatch_event("click")
            await expect(fresh).to_contain_text("live")
            # What was not on disk is gone with the old epoch, and nothing of it is still shown.
            await expect(page.locator(".events-list .row")).to_have_count(2)
            await expect(page.locator(".session-list .row")).to_have_count(1)
            await expect(page.locator(".session-list .row")).to_contain_text("after")
            # In the same epoch it resumes: what came while it was away is there, once.
            assert server.stop() == 0
            await expect(fresh).to_contain_text("disconnected")
            server.start()
            publish("later")
            await expect(fresh).to_contain_text("live", timeout=60_000)
            await expect(page.locator(".events-list .row")).to_have_count(3)
            await expect(page.locator(".events-list .row[aria-posinset='1']")).to_contain_text("later")


async def test_the_chain_is_verified_in_the_browser_and_the_first_bad_place_is_named(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        odd = {
            "type": "updated",
            "sessionId": "ä/\U0001f469",
            "before": {"n": 7},
            "after": ["é", 1.0],
            "id": "retry é 1",
        }
        await app.publish(odd)
        await app.recorder.publish(b'[{"type":"updated","sessionId":"s","after":{ "n": 1e2 }}]')
        await app.publish(*[delta("s", n) for n in range(700)], {"type": "deleted", "sessionId": "s"})
        await app.publish({"type": "created", "sessionId": "s2", "after": 0})
        async with opened(browser, app.url, "#/integrity") as page:
            verdict = page.locator(".verdict")
            await expect(page.locator("#freshness")).to_contain_text("live")
            await expect(page.get_by_role("region", name="Recorded data")).to_contain_text("704")
            await page.get_by_role("button", name="Verify the chain").click()
            await expect(verdict).to_have_attribute("data-kind", "good")
            await expect(verdict).to_contain_text("704 links verified, seq 1 to 704")
            # Somebody changes what was recorded, in the database itself.
            await tamper(app, """UPDATE session_deltas SET after_state = '{"n":666}' WHERE id = 650""")
            await page.get_by_role("button", name="Verify the chain").click()
            await expect(verdict).to_have_attribute("data-kind", "bad")
            await expect(verdict).to_contain_text("The chain breaks at seq 650")
            await expect(verdict).to_contain_text("649 links")
            await verdict.get_by_role("link").click()
            await expect(page.locator(".where")).to_contain_text("seq 650")


async def test_behind_a_prune_the_chain_goes_on_from_its_receipt(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path, max_deltas=40) as app:
        await app.publish(*[delta("s", n) for n in range(100)])
        await app.recorder.maintenance.prune()
        async with opened(browser, app.url, "#/integrity") as page:
            await page.get_by_role("button", name="Verify the chain").click()
            await expect(page.locator(".verdict")).to_contain_text("40 links verified, seq 61 to 100")


async def test_a_press_on_verify_before_the_connection_is_there_is_not_lost(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta("s", n) for n in range(10)])
        held: list[WebSocketRoute] = []

        async with opened(browser, app.url) as page:
            await page.route_web_socket("**/ws?*", lambda one: held.append(one))
            await page.goto(f"{app.url}/?again#/integrity")
            button = page.get_by_role("button", name="Verify the chain")
            place = await button.bounding_box()
            await button.click()
            await expect(page.get_by_text("Waiting for the connection")).to_be_visible()
            stop = page.get_by_role("button", name="Stop")
            await expect(page.get_by_role("region", name="Recorded data")).to_contain_text("10")
            # What is read meanwhile moves nothing away from under the pointer.
            moved = await stop.bounding_box()
            assert place is not None
            assert moved is not None
            assert (place["x"], place["y"]) == (moved["x"], moved["y"])
            for one in held:
                one.connect_to_server()
            await expect(page.locator(".verdict")).to_contain_text("10 links verified")


async def test_every_view_tells_whether_it_records_and_how(browser: Browser, tmp_path: Path) -> None:
    for settings, told in (
        ({"durability": "snapshot"}, "Recording · snapshot"),
        ({"durability": "commit"}, "Recording · commit"),
        (None, "Not recording"),
    ):
        folder = None if settings is None else tmp_path / settings["durability"]
        if folder is not None:
            folder.mkdir()
        async with running_app(folder, **(settings or {})) as app, opened(browser, app.url) as page:
            for route in ("#/", "#/session/s", "#/integrity", "#/trust"):
                await page.goto(f"{app.url}/{route}")
                await expect(page.locator("#recording")).to_have_text(told)
            await expect(page.locator("nav [aria-current]")).to_have_text("Integrity")
