"""For those who do not see the page, or do not point at it: every view under axe, every control by keyboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.app import App, delta, running_app
from tests.support.browser import REFUSED, UNREACHABLE, needs_chromium, opened
from tests.support.http import client
from tests.support.tokens import LISTED

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(sys.prefix) / "node" / "node_modules" / "axe-core" / "axe.min.js"
"""Where scripts/test puts it."""

needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="no axe-core here: scripts/test installs it where there is npm"
)

RUN = """async () => {
    const { violations, passes } = await axe.run(document);
    const told = violations.flatMap(({ id, help, nodes }) =>
        nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 160)} ${node.failureSummary}`));
    return { told, passes: passes.length };
}"""


async def check(page: Page, view: str) -> None:
    """Nothing that axe knows of is wrong with what is shown now."""
    if not await page.evaluate("'axe' in window"):
        # Not as a script of the page, which its policy forbids.
        await page.evaluate(AXE.read_text())
    found = await page.evaluate(RUN)
    assert found["told"] == [], view
    assert found["passes"] > 10, view


async def recorded(app: App) -> None:
    """Sessions of every kind."""
    plan = [{"id": n, "status": "pending", "why": "a reason " * n} for n in range(3)]
    await app.publish(
        {
            "type": "created",
            "sessionId": "plan",
            "after": {"plan": plan, "big": 2**60, "off": None, "on": True},
        },
        {
            "type": "updated",
            "sessionId": "plan",
            "after": {"plan": plan[1:], "big": 2**60 + 1, "text": "new"},
        },
        {"type": "updated", "sessionId": "plan", "before": {"n": 1}, "after": {"plan": plan}},
        {"type": "created", "sessionId": "gone", "after": "a text"},
        {"type": "deleted", "sessionId": "gone"},
        {"type": "created", "sessionId": "erased", "after": {"name": "of somebody"}},
        delta("a long id " * 20),
    )
    async with client(app) as http:
        response = await http.post("/api/admin/erase", json={"sessionId": "erased"})
        assert response.status_code == 200, response.text


async def views_of_now(page: Page, app: App) -> None:
    """The view Live, running and paused, and the dialog of keyboard shortcuts."""
    await expect(page.locator(".events-list .row")).to_have_count(6)
    await check(page, "now")
    await page.keyboard.press("p")
    await app.publish(delta("plan", 1))
    await expect(page.locator(".newer")).to_be_visible()
    await page.locator(".events-list").focus()
    await page.keyboard.press("ArrowDown")
    await check(page, "now, held")
    await page.get_by_label("Show only events that contain this text").fill("nothing of the kind")
    await expect(page.get_by_text("No event matches the filters.")).to_be_visible()
    await check(page, "now, nothing matches")
    await page.get_by_role("button", name="Keyboard shortcuts").click()
    await check(page, "keys")
    await page.keyboard.press("Escape")


async def views_of_sessions(page: Page, app: App) -> None:
    """Sessions, in every way that they are shown."""
    for name in ("plan?at=3", "plan?at=2", "gone", "erased", "nobody"):
        await page.goto(f"{app.url}/#/session/{name}")
        await expect(page.locator("h1")).to_have_text(name.partition("?")[0])
        if name == "nobody":
            await expect(page.locator(".notice")).to_be_visible()
        else:
            await expect(page.locator(".state-head")).to_contain_text("#")
        await check(page, name)
        if name == "plan?at=2":
            for way in ("2", "3", "1"):
                await page.keyboard.press(way)
                await check(page, f"{name}, way {way}")
            await page.locator("li[data-path='/big'] .key").click()
            await expect(page.locator(".blame-row").first).to_be_visible()
            await check(page, "blame")


@needs_axe
@pytest.mark.timeout(180)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_view_has_a_fault_that_axe_knows_of(browser: Browser, tmp_path: Path, scheme: Any) -> None:
    async with running_app(tmp_path) as app, opened(browser, app.url, color_scheme=scheme) as page:
        await expect(page.get_by_role("heading", name="Nothing is recorded yet")).to_be_visible()
        await check(page, "empty")
        await recorded(app)
        await views_of_now(page, app)
        await views_of_sessions(page, app)
        await page.goto(f"{app.url}/#/integrity")
        await expect(page.get_by_role("heading", name="Recording", exact=True)).to_be_visible()
        await expect(page.locator("#freshness")).to_contain_text("live")
        await page.get_by_role("button", name="Verify the chain").click()
        await expect(page.locator(".verdict")).to_have_attribute("data-kind", "good")
        await check(page, "integrity")
        await page.set_viewport_size({"width": 360, "height": 740})
        await check(page, "integrity, narrow")
        # Somebody changes what was recorded.
        assert app.recorder.store is not None
        sql = "UPDATE session_deltas SET after_state = '7' WHERE id = 2"
        await app.recorder.store._memory.run(lambda conn: conn.execute(sql))
        await expect(page.locator("#freshness")).to_contain_text("live")
        await page.get_by_role("button", name="Verify the chain").click()
        await expect(page.locator(".verdict")).to_have_attribute("data-kind", "bad")
        await check(page, "integrity, broken")


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_dialog_that_asks_for_a_token_has_none(
    browser: Browser, tmp_path: Path, scheme: Any
) -> None:
    async with (
        running_app(tmp_path, **LISTED) as app,
        opened(browser, app.url, color_scheme=scheme, expected=f"{REFUSED}|{UNREACHABLE}") as page,
    ):
        await page.get_by_role("textbox", name="Token").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("That token was not accepted.")).to_be_visible()
        await check(page, "token")


CONTROLS = """() => {
    window.controls = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")].filter(
        (node) => node.getClientRects().length && !node.disabled && !node.matches("main, aside, .outline, .row"));
    controls[1].focus();
    return controls.length;
}"""
# Where the keyboard is, and whether that can be seen.
FOCUSED = """() => {
    const here = document.activeElement;
    const style = getComputedStyle(here);
    const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
    return [controls.indexOf(here), seen, here.outerHTML.slice(0, 120)];
}"""


async def tabs_through(page: Page) -> int:
    """Every control that is shown comes under Tab, in the order in which they stand, and is seen to have it."""
    count: int = await page.evaluate(CONTROLS)
    for number in range(count):
        await page.keyboard.press("Tab" if number else "Shift+Tab")
        at, seen, html = await page.evaluate(FOCUSED)
        assert (at, seen) == (number, True), html
    return count


async def test_every_control_is_reached_by_tab_and_seen_to_be(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, opened(browser, app.url) as page:
        await expect(page.get_by_role("button", name="Copy")).to_have_count(2)
        assert await tabs_through(page) >= 11
        await recorded(app)
        await expect(page.locator(".events-list .row")).to_have_count(6)
        assert await tabs_through(page) >= 13
        await page.goto(f"{app.url}/#/session/plan?at=2")
        await expect(page.locator(".state-head")).to_contain_text("#")
        await page.locator("li[data-path='/big'] .key").click()
        await expect(page.locator(".blame-row").first).to_be_visible()
        assert await tabs_through(page) >= 30
        await page.goto(f"{app.url}/#/integrity")
        await expect(page.get_by_role("heading", name="Recording", exact=True)).to_be_visible()
        assert await tabs_through(page) >= 8


async def test_fields_are_folded_and_opened_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish({"type": "created", "sessionId": "s", "after": {"plan": [{"n": 1}]}})
        async with opened(browser, app.url, "#/session/s") as page:
            fold = page.get_by_role("button", name="Fields of plan")
            inner = page.locator("li[data-path='/plan/0/n']")
            await expect(inner).to_be_visible()
            await fold.focus()
            await page.keyboard.press("Enter")
            await expect(fold).to_have_attribute("aria-expanded", "false")
            await expect(inner).to_be_hidden()
            await page.keyboard.press(" ")
            await expect(inner).to_be_visible()
            # By pointer its outline opens it, too, and the keyboard goes on from there.
            await fold.click()
            await page.locator("li[data-path='/plan'] > .line .outline").click()
            await expect(inner).to_be_visible()
            await expect(fold).to_be_focused()


async def test_whoever_leaves_a_panel_by_keyboard_is_where_the_question_was_asked(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta("s", n) for n in range(3)])
        async with opened(browser, app.url, "#/session/s") as page:
            name = page.locator("li[data-path='/n'] .key")
            panel = page.get_by_role("complementary", name="Who changed this")
            await name.focus()
            await page.keyboard.press("Enter")
            await expect(panel).to_be_focused()
            await page.keyboard.press("Escape")
            await expect(panel).to_be_hidden()
            await expect(name).to_be_focused()
            # Where that is not shown any more, it is the state that is.
            await page.keyboard.press("Enter")
            await expect(panel.locator(".blame-row")).to_have_count(3)
            await panel.locator(".blame-row").last.focus()
            await page.keyboard.press("Enter")
            await expect(page.locator(".where")).to_contain_text("seq 1")
            await page.keyboard.press("Escape")
            await expect(page.get_by_role("region", name="State of the session", exact=True)).to_be_focused()


async def test_keys_are_for_the_view_that_was_asked_for_last_and_tab_goes_on_in_it(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta("s", n) for n in range(3)])
        async with opened(browser, app.url, "#/integrity") as page:
            await expect(page.get_by_role("heading", name="Recording", exact=True)).to_be_visible()
            # All in one turn of the page's own loop: faster than any hand.
            await page.evaluate(
                """() => {
                    for (const key of ["g", "l", "/"])
                        document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
                }"""
            )
            await expect(page.get_by_label("Show only events that contain this text")).to_be_focused()
            # It is shown once, not again when the browser tells of the change.
            await page.locator(".events-list").focus()
            await expect(page.locator(".events-list .row")).to_have_count(3)
            await page.keyboard.press("ArrowDown")
            await page.keyboard.press("Enter")
            await expect(page.locator("h1")).to_have_text("s")
            await expect(page.locator("main")).to_be_focused()
            await page.keyboard.press("Tab")
            await expect(page.get_by_role("link", name="← Live")).to_be_focused()
            await page.go_back()
            await expect(page.locator(".events-list .row")).to_have_count(3)
            await page.go_back()
            await expect(page.get_by_role("heading", name="Recording", exact=True)).to_be_visible()
