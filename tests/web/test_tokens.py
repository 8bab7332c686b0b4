"""A recorder that wants tokens: the page asks once, keeps it for the tab alone, and shows what the token may see."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.app import delta, running_app
from tests.support.browser import REFUSED, UNREACHABLE, needs_chromium, opened
from tests.support.tokens import LISTED, PUBLISHER, SUBSCRIBER, key_file, signed

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

LOGGED = f"{REFUSED}|{UNREACHABLE}"


async def test_a_token_is_asked_for_once_and_kept_for_the_tab_alone(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path, **LISTED) as app:
        await app.publish(delta("s", 1))
        async with opened(browser, app.url, expected=LOGGED) as page:
            seen: list[str] = []
            page.context.on("request", lambda request: seen.append(request.url))
            asked = page.get_by_role("dialog", name="Access token")
            await expect(asked).to_be_visible()
            await page.keyboard.press("Escape")
            await expect(asked).to_be_visible()
            await page.get_by_role("textbox", name="Token").fill("wrong")
            await page.keyboard.press("Enter")
            await expect(page.get_by_text("That token was not accepted.")).to_be_visible()
            await page.get_by_role("textbox", name="Token").fill(SUBSCRIBER)
            await page.get_by_role("button", name="Continue").click()
            await expect(page.locator("#freshness")).to_contain_text("live")
            await expect(page.locator(".events-list .row")).to_have_count(1)
            await expect(asked).to_have_count(0)
            # For the tab: a reload and another view do not ask.
            await page.reload()
            await expect(page.locator(".events-list .row")).to_have_count(1)
            await page.goto(f"{app.url}/#/session/s")
            await expect(page.locator(".where")).to_contain_text("delta 1 of 1")
            async with page.expect_download() as waiting:
                await page.get_by_role("button", name="Download").click()
            assert (await waiting.value).suggested_filename == "s.ndjson"
            assert await page.evaluate("JSON.stringify(localStorage) + document.cookie") == "{}"
            assert [url for url in seen if SUBSCRIBER in url] == []
            # Another tab knows nothing of it.
            other = await page.context.new_page()
            await other.goto(app.url)
            await expect(other.get_by_role("dialog", name="Access token")).to_be_visible()


async def test_a_token_for_some_sessions_shows_them_and_nothing_breaks(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path, jwt_key_file=key_file(tmp_path)) as app:
        await app.publish(delta("team-a/1", 1), delta("team-b/1", 1), delta("team-a/1", 2))
        async with opened(browser, app.url, expected=LOGGED) as page:
            await page.get_by_role("textbox", name="Token").fill(signed(sessionPrefixes=["team-a/"]))
            await page.keyboard.press("Enter")
            await expect(page.locator(".events-list .row")).to_have_count(2)
            await expect(page.locator("#freshness")).to_contain_text("live")
            for n in range(3):
                await app.publish(delta("team-b/1", n), delta("team-a/2", n))
            await expect(page.locator(".events-list .row")).to_have_count(5)
            await expect(page.locator(".session-list .row")).to_have_count(2)
            await expect(page.locator("#freshness")).to_contain_text("live")
            await page.goto(f"{app.url}/#/integrity")
            await expect(page.get_by_role("heading", name="Recording", exact=True)).to_be_visible()
            assert "NaN" not in (await page.locator("main").inner_text())
            await expect(page.locator("#freshness")).to_contain_text("live")
            await page.get_by_role("button", name="Verify the chain").click()
            await expect(page.locator(".verdict")).to_contain_text("a token for all sessions")


@pytest.mark.parametrize("route", ["#/", "#/session/s", "#/integrity"])
async def test_a_token_of_another_role_is_said_to_be_one_and_another_is_asked_for(
    browser: Browser, tmp_path: Path, route: str
) -> None:
    async with running_app(tmp_path, **LISTED) as app:
        await app.publish(delta("s", 1))
        async with opened(browser, app.url, route, expected=LOGGED) as page:
            asked = page.get_by_role("textbox", name="Token")
            # The same one again gets the same answer, not a page that stays empty.
            for _ in range(2):
                await asked.fill(PUBLISHER)
                await page.keyboard.press("Enter")
                await expect(page.get_by_role("alert")).to_contain_text("the role 'subscribe' is needed")
            await asked.fill(SUBSCRIBER)
            await page.keyboard.press("Enter")
            await expect(page.locator("#freshness")).to_contain_text("live")
            await expect(page.get_by_role("dialog")).to_have_count(0)
            shown = {"#/": ".events-list .row", "#/session/s": ".state-body .field", "#/integrity": "main dd"}
            await expect(page.locator(shown[route]).first).to_be_visible()
