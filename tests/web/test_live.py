"""The view "Live": events appear, are filtered, paused and resumed; data is shown as text; an empty page teaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.app import App, delta, running_app
from tests.support.browser import BEYOND, needs_chromium, opened

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "javascript:alert(1)",
    "\u202egnp.exe",
    "../../etc/passwd",
    "%2e%2e/%00?#&",
    "__proto__",
    "constructor",
    "' onmouseover='alert(1)",
    "${alert(1)} {{alert(1)}}",
    "x" * 256,
    "👩‍🚀 日本",
    ".",
    "..",
]


def events(page: Page) -> Any:
    """The rows of the events."""
    return page.locator(".events-list .row")


def sessions(page: Page) -> Any:
    """The rows of the sessions."""
    return page.locator(".session-list .row")


async def live(page: Page) -> None:
    """Until the page says that it is."""
    await expect(page.locator("#freshness")).to_contain_text("live")


async def some_sessions(app: App) -> None:
    """Three sessions, each in another way."""
    await app.publish(
        {"type": "created", "sessionId": "alpha", "after": {"status": "pending"}},
        {"type": "created", "sessionId": "beta", "after": {"status": "pending"}},
        {"type": "updated", "sessionId": "alpha", "after": {"status": "needle"}},
        {"type": "created", "sessionId": "gamma", "after": {"status": "pending"}},
        {"type": "deleted", "sessionId": "beta"},
    )


async def test_what_was_recorded_is_there_and_what_comes_appears(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await some_sessions(app)
        async with opened(browser, app.url) as page:
            await expect(events(page)).to_have_count(5)
            await expect(events(page).nth(0)).to_contain_text("deleted")
            await expect(sessions(page)).to_have_count(3)
            await expect(sessions(page).first).to_contain_text("beta")
            await live(page)
            await app.publish({"type": "updated", "sessionId": "gamma", "after": {"status": "done"}})
            row = page.locator(".events-list .row[aria-posinset='1']")
            await expect(row).to_contain_text("status: pending → done")
            await expect(page.locator(".session-list .row[aria-posinset='1']")).to_contain_text("gamma")


async def test_the_feed_is_filtered_by_session_type_and_text(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await some_sessions(app)
        async with opened(browser, app.url) as page:
            await expect(events(page)).to_have_count(5)
            await page.get_by_label("Show only events of this type").select_option("created")
            await expect(events(page)).to_have_count(3)
            session = page.locator(".events").get_by_label(
                "Show only events of sessions whose id contains this text"
            )
            await session.fill("ALPH")
            await expect(events(page)).to_have_count(1)
            await session.fill("")
            await page.get_by_label("Show only events of this type").select_option("")
            await page.get_by_label("Show only events that contain this text").fill("needle")
            await expect(events(page)).to_have_count(1)
            # What comes is filtered too.
            await app.publish(delta("other"), delta("other", after={"x": "a needle"}))
            await expect(events(page)).to_have_count(2)
            await page.get_by_label("Show only events that contain this text").fill("nothing of the kind")
            await expect(page.get_by_text("No event matches the filters.")).to_be_visible()


async def test_a_held_feed_keeps_its_place_and_counts_what_it_does_not_show(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta("s", n) for n in range(150)])
        async with opened(browser, app.url) as page:
            await expect(page.locator(".events-list .row[aria-posinset='1']")).to_contain_text("150")
            # Scrolling is enough: who reads is not pushed away.
            await page.locator(".events-list").evaluate("list => list.scrollTop = 900")
            place = page.locator(".events-list .row[aria-posinset='31'] .seq")
            await expect(place).to_have_text("120")
            await live(page)
            await app.publish(*[delta("s", n) for n in range(40)])
            await expect(page.get_by_role("button", name="40 newer events")).to_be_visible()
            await expect(place).to_have_text("120")
            await page.get_by_role("button", name="40 newer events").click()
            await expect(page.locator(".events-list .row[aria-posinset='1'] .seq")).to_have_text("190")
            # And by hand.
            await page.keyboard.press("p")
            await expect(page.get_by_role("button", name="Resume")).to_be_visible()
            await app.publish(delta("s", 1))
            await expect(page.get_by_role("button", name="1 newer event")).to_be_visible()
            # Being told does not cover what is held: the first row can be clicked.
            await page.locator(".events-list .row[aria-posinset='1']").click()
            await expect(page.locator("h1")).to_have_text("s")
            await page.go_back()
            await page.get_by_role("button", name="Resume").click()
            await expect(page.locator(".events-list .row[aria-posinset='1'] .seq")).to_have_text("191")


CONTROLS = (
    "header a, header button, header input, .live-view button, .live-view input, .live-view select, .list"
)
# Each frame: which controls there are, and where. Equal frames are kept once.
WATCH_CONTROLS = """(selector) => {
    const frames = (window.frames = new Set());
    const known = new Map();
    const number = (node) => known.has(node) ? known.get(node) : known.set(node, known.size) && known.size - 1;
    const look = () => {
        const seen = [...document.querySelectorAll(selector)].filter((node) => node.getClientRects().length);
        const place = (node) => Object.values(node.getBoundingClientRect().toJSON()).join();
        frames.add(seen.map((node) => `${number(node)} ${place(node)}`).join(" | "));
        if (frames === window.frames) requestAnimationFrame(look);
    };
    look();
}"""


@pytest.mark.parametrize("width", [1280, 360])
async def test_controls_stay_what_and_where_they_are_while_deltas_come(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    async with running_app(tmp_path) as app:
        # As many digits from the first to the last.
        await app.publish(*[delta(f"s{n % 7}", n) for n in range(1000)])
        view = {"width": width, "height": 740}
        async with opened(browser, app.url, viewport=view) as page:
            first = page.locator(".events-list .row[aria-posinset='1'] .seq")
            await expect(first).to_have_text("1000")
            await expect(sessions(page)).to_have_count(7)
            await live(page)
            await page.evaluate(WATCH_CONTROLS, CONTROLS)
            for through in range(1100, 2001, 100):
                await app.publish(*[delta(f"s{n % 7}", n) for n in range(100)])
                await expect(first).to_have_text(str(through))
            [place] = await page.evaluate("[...frames]")
            assert place.count("|") >= 10
            # Held, it says what came meanwhile, and moves nothing for it but what says so.
            await page.locator(".events .pause").click()
            await expect(page.locator(".events .pause")).to_have_attribute("aria-pressed", "true")
            await app.publish(delta("s1", 1))
            await expect(page.locator(".newer")).to_contain_text("1 newer")
            await page.evaluate(WATCH_CONTROLS, CONTROLS.replace(".live-view button", ".pause"))
            for more in range(101, 1002, 100):
                await app.publish(*[delta(f"s{n % 7}", n) for n in range(100)])
                await expect(page.locator(".newer")).to_contain_text(f"{more:,} newer")
            [place] = await page.evaluate("[...frames]")
            assert place.count("|") >= 10


SAY = """async (status) => {
    const { FreshnessMark } = await import("/assets/freshness.js");
    const place = document.createElement("div");
    place.className = "freshness";
    document.getElementById("freshness").replaceWith(place);
    place.id = "freshness";
    new FreshnessMark(place, () => status, () => {});
    const head = document.querySelector(".top");
    return [head.getBoundingClientRect().height, head.scrollWidth <= innerWidth, place.children[1].scrollWidth
        <= place.children[1].clientWidth];
}"""


async def test_the_head_of_a_phone_keeps_its_height_while_all_is_well(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        phone = {"width": 360, "height": 740}
        async with opened(browser, app.url, viewport=phone) as page:
            told = [
                await page.evaluate(SAY, status)
                for status in (
                    {"kind": "live"},
                    {"kind": "behind", "behind": 0},
                    {"kind": "behind", "behind": 12_345},
                    None,
                )
            ]
            assert len({height for height, *_ in told}) == 1
            assert [whole for _, *whole in told] == [[True, True]] * 4
            # What is wrong has a line of its own, in whole.
            taller, *whole = await page.evaluate(SAY, {"kind": "disconnected", "retrySeconds": 12})
            assert taller > told[0][0]
            assert whole == [True, True]
            assert await page.evaluate(BEYOND) == []


async def test_a_press_opens_what_was_under_it_whatever_comes_before_it_is_let_go(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta(f"s{n}", n) for n in range(200)])
        async with opened(browser, app.url) as page:
            box = await page.locator(".events-list .row[aria-posinset='3']").bounding_box()
            assert box is not None
            await expect(page.locator(".events-list .row[aria-posinset='3']")).to_contain_text("s197")
            await live(page)
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            await page.mouse.move(x, y)
            await page.mouse.down()
            await app.publish(*[delta("another", n) for n in range(100)])
            await expect(page.locator(".events-list .row[aria-posinset='3']")).to_contain_text("another")
            await page.mouse.up()
            await expect(page.locator("h1")).to_have_text("s197")
            # A press that is dragged elsewhere opens nothing.
            await page.go_back()
            fifth = page.locator(".events-list .row[aria-posinset='5']")
            await expect(fifth).to_be_visible()
            await page.mouse.move(x, y)
            await page.mouse.down()
            await page.mouse.move(x, y + 90)
            await page.mouse.up()
            assert await page.evaluate("location.hash") in {"", "#/"}
            # Without a pointer, as programs that assist do it, the row itself is meant.
            await fifth.dispatch_event("click")
            await expect(page.locator("h1")).to_have_text("another")


async def test_older_deltas_are_read_as_one_scrolls_and_few_rows_exist(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta("s", n) for n in range(700)])
        async with opened(browser, app.url) as page:
            await expect(page.get_by_text("latest 200 events")).to_be_visible()
            listed = page.locator(".events-list")
            await expect(events(page).first).to_be_visible()
            for through in ("latest 500 events", "700 events"):
                await listed.evaluate("list => list.scrollTop = list.scrollHeight")
                await expect(page.locator(".events .card-head")).to_contain_text(through)
            await listed.evaluate("list => list.scrollTop = list.scrollHeight")
            await expect(page.locator(".events-list .row[aria-posinset='700'] .seq")).to_have_text("1")
            assert await events(page).count() < 60


async def test_hostile_ids_and_states_are_text(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        for name in HOSTILE:
            await app.publish(
                {"type": "created", "sessionId": name, "after": {name: name, "deep": [{name: [name]}]}}
            )
        async with opened(browser, app.url) as page:
            page.on("dialog", lambda dialog: pytest.fail(f"it ran: {dialog.message}"))
            await expect(sessions(page)).to_have_count(len(HOSTILE))
            names = await page.locator(".session-list .row .name").all_text_contents()
            shown = {name.replace("\u202e", "⟨U+202E⟩").replace("\u200d", "⟨U+200D⟩") for name in HOSTILE}
            assert set(names) == shown
            for name in HOSTILE:
                await page.evaluate(
                    "async (id) => { const { sessionAddress } = await import('/assets/router.js');"
                    " location.hash = sessionAddress(id); }",
                    name,
                )
                title = name.replace("\u202e", "⟨U+202E⟩").replace("\u200d", "⟨U+200D⟩")
                await expect(page.locator("h1")).to_have_text(title)
                await expect(page.locator(".state-body .field > .line .key").first).to_have_text(title)
                await expect(page.locator(".state-body .value").first).to_have_text(title)
            # Nothing of it became an element.
            assert await page.locator("main img, main script, main iframe").count() == 0


async def test_an_empty_recorder_teaches_the_first_step(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, opened(browser, app.url) as page:
        await expect(page.get_by_role("heading", name="Nothing is recorded yet")).to_be_visible()
        command = await page.locator(".command pre").first.text_content()
        assert command is not None
        assert f"{app.url}/api/deltas" in command
        # As one does who reads it.
        body = command.rpartition("-d '")[2].rstrip("'")
        await app.recorder.publish(body.encode())
        await expect(events(page)).to_have_count(1)
        await expect(page.get_by_role("heading", name="Nothing is recorded yet")).to_be_hidden()


async def test_without_a_recording_it_shows_what_comes_and_says_so(browser: Browser) -> None:
    async with running_app(None) as app, opened(browser, app.url) as page:
        await expect(page.get_by_text("Not recording: ")).to_be_visible()
        await live(page)
        app.publish_nowait(delta("s", 1))
        await expect(events(page)).to_have_count(1)
        await page.goto(f"{app.url}/#/integrity")
        await expect(page.get_by_role("heading", name="Not recording")).to_be_visible()


async def test_lists_are_for_the_keyboard_and_open_what_they_are_at(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await some_sessions(app)
        async with opened(browser, app.url) as page:
            await expect(events(page)).to_have_count(5)
            box = page.get_by_role("listbox", name="Events, newest first")
            await box.focus()
            for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
                await page.keyboard.press(key)
            active = await box.get_attribute("aria-activedescendant")
            await expect(page.locator(f"#{active}")).to_contain_text("gamma")
            await page.keyboard.press("End")
            await page.keyboard.press("Enter")
            await expect(page.locator("h1")).to_have_text("alpha")
            assert page.url.endswith("#/session/alpha?at=1")
            await page.keyboard.press("g")
            await page.keyboard.press("i")
            await expect(page.get_by_role("heading", name="Recording", exact=True)).to_be_visible()
            await page.keyboard.press("?")
            await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
            await page.keyboard.press("Escape")
            await page.keyboard.press("g")
            await page.keyboard.press("l")
            await page.keyboard.press("/")
            await expect(page.get_by_label("Show only events that contain this text")).to_be_focused()


async def test_a_narrow_screen_scrolls_one_way_only(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await some_sessions(app)
        await app.publish(
            {"type": "created", "sessionId": "wide " * 50, "after": {"word" * 60: "long" * 500}}
        )
        view = {"width": 360, "height": 740}
        async with opened(browser, app.url, viewport=view) as page:
            for route in ("#/", "#/integrity", "#/session/" + "wide%20" * 50, "#/session/alpha"):
                await page.goto(f"{app.url}/{route}")
                await live(page)
                await expect(page.locator("main .card").first).to_be_visible()
                wide = (
                    "document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth"
                )
                assert await page.evaluate(wide) <= 0, route
                assert await page.evaluate("document.documentElement.scrollWidth") <= 360, route


@pytest.mark.parametrize("width", [360, 800])
async def test_what_an_empty_page_teaches_fits_a_narrow_screen(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    async with running_app(tmp_path) as app:
        view = {"width": width, "height": 740}
        async with opened(browser, app.url, viewport=view) as page:
            await expect(page.get_by_role("heading", name="Nothing is recorded yet")).to_be_visible()
            await expect(page.get_by_role("button", name="Copy")).to_have_count(2)
            assert await page.evaluate(BEYOND) == []
            # The command scrolls inside of its box.
            for box in await page.locator(".command pre").all():
                within = "node => node.getBoundingClientRect().right <= node.parentNode.getBoundingClientRect().right"
                assert await box.evaluate(within)
            # Of a session that nobody knows there is nothing to be had.
            await page.goto(f"{app.url}/#/session/nobody")
            await expect(page.get_by_text("No session with this id is recorded.")).to_be_visible()
            await expect(page.get_by_role("button", name="Download")).to_be_hidden()
            assert await page.evaluate(BEYOND) == []


async def test_rows_are_links_that_can_be_copied_and_opened_in_a_new_tab(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(delta("a/b", 1), delta("c", 2))
        async with opened(browser, app.url) as page:
            await expect(events(page)).to_have_count(2)
            await expect(sessions(page)).to_have_count(2)
            links = await page.locator(".row").evaluate_all(
                "all => all.map((row) => row.getAttribute('href'))"
            )
            assert sorted(links) == [
                "#/session/a%2Fb",
                "#/session/a%2Fb?at=1",
                "#/session/c",
                "#/session/c?at=2",
            ]
            async with page.context.expect_page() as opening:
                await events(page).filter(has_text="a/b").click(modifiers=["Control"])
            other = await opening.value
            await expect(other.locator("h1")).to_have_text("a/b")
            # The page itself stays where it is.
            await expect(events(page)).to_have_count(2)
