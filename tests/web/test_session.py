"""The view of a session: every delta's state as it was sent, what changed there, playing, marks, addresses."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.support.app import App, delta, running_app
from tests.support.browser import needs_chromium, opened
from tests.support.http import client

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

BIG = "123456789012345678901234567890"


async def as_sent(page: Page) -> list[str]:
    """The texts of before and after that are shown."""
    return await page.locator(".raw").evaluate_all(
        "all => all.map((one) => one.querySelector('pre')?.textContent ?? '')"
    )


async def slide(page: Page, value: int) -> None:
    """Move the slider, as a finger does."""
    await page.get_by_label("Delta of the session").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


async def erase(app: App, session: str) -> None:
    """Erase a session's content."""
    async with client(app) as http:
        response = await http.post("/api/admin/erase", json={"sessionId": session, "reason": "asked for"})
        assert response.status_code == 200, response.text


async def walk(app: App, steps: int) -> list[str]:
    """A session that wanders; the texts of its states, each computed here."""
    random, state, texts = Random(7), {"n": 0, "plan": []}, []
    for number in range(steps):
        state["n"] = number
        plan: list[Any] = state["plan"]
        if random.random() < 0.3 or not plan:
            plan.insert(random.randrange(len(plan) + 1), {"id": number, "status": "pending"})
        else:
            random.choice(plan)["status"] = random.choice(["pending", "running", "done"])
        texts.append(json.dumps(state))
        kind = "updated" if number else "created"
        await app.recorder.publish(f'{{"type":"{kind}","sessionId":"walk","after":{texts[-1]}}}'.encode())
        if random.random() < 0.5:
            await app.publish(delta("noise", number))
    return texts


async def test_every_place_of_the_slider_shows_the_state_as_it_was_then(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        texts = await walk(app, 60)
        async with opened(browser, app.url, "#/session/walk?at=1") as page:
            await expect(page.locator(".where")).to_contain_text("delta 1 of 60")
            await page.get_by_role("button", name="Raw JSON").click()
            for place in (59, 0, 17, 42, 18, 58, 33):
                await slide(page, place)
                await expect(page.locator(".where")).to_contain_text(f"delta {place + 1} of 60")
                before, after = await as_sent(page)
                assert after == texts[place]
                assert before == (texts[place - 1] if place else "")
            # Step by step, by keys.
            await page.keyboard.press("Home")
            for place in range(1, 6):
                await page.keyboard.press("ArrowRight")
                await expect(page.locator(".where")).to_contain_text(f"delta {place + 1} of 60")
                assert (await as_sent(page))[1] == texts[place]
            await page.keyboard.press("Shift+ArrowRight")
            await page.keyboard.press("ArrowLeft")
            await expect(page.locator(".where")).to_contain_text("delta 15 of 60")


async def test_a_long_session_is_read_where_one_looks(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta("long", n) for n in range(2000)])
        asked: list[str] = []
        async with opened(browser, app.url) as page:
            page.on("response", lambda response: asked.append(response.url))
            await page.goto(f"{app.url}/#/session/long?at=1000")
            await expect(page.locator(".where")).to_contain_text("seq 1000, of 1 to 2000")
            assert len([url for url in asked if "session=long" in url]) <= 5
            await page.get_by_role("button", name="Raw JSON").click()
            assert (await as_sent(page))[1] == '{"n":999}'
            await slide(page, 150)  # a quarter of the way
            await expect(page.locator(".where")).to_contain_text("seq 501,")
            assert (await as_sent(page))[1] == '{"n":500}'
            await page.keyboard.press("End")
            await expect(page.locator(".where")).to_contain_text("seq 2000")
            await page.keyboard.press("Home")
            await expect(page.locator(".where")).to_contain_text("seq 1,")


async def test_changes_are_shown_down_to_the_field_and_numbers_to_the_digit(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        old = f'{{"plan":[{{"step":1,"status":"pending"}},{{"step":2}}],"big":{BIG},"gone":true,"same":[1,2,3]}}'
        new = f'{{"plan":[{{"step":1,"status":"done"}},{{"step":2}}],"big":{BIG[:-1]}1,"same":[1,2,3],"fresh":{{}}}}'
        text = f'[{{"type":"created","sessionId":"s","after":{old}}},{{"type":"updated","sessionId":"s","after":{new}}}]'
        await app.recorder.publish(text.encode())
        async with opened(browser, app.url, "#/session/s") as page:
            await expect(page.locator(".tally")).to_have_text("4 changes")
            leaf = "li.field:not(:has(li.field))"
            told = {
                await one.get_attribute("data-path"): (await one.get_attribute("class"))
                for one in await page.locator(leaf).all()
            }
            assert told == {
                "/plan/0/status": "field changed",
                "/big": "field changed",
                "/gone": "field removed",
                "/fresh": "field added",
            }
            big = page.locator("li[data-path='/big']")
            await expect(big.locator("del")).to_have_text(BIG)
            await expect(big.locator("ins")).to_have_text(f"{BIG[:-1]}1")
            await page.keyboard.press("2")
            await expect(page.locator("li[data-path='/same']")).to_be_visible()


async def test_a_broken_lineage_is_marked_and_both_befores_can_be_compared(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(
            {"type": "created", "sessionId": "s", "after": {"n": 1}},
            {"type": "updated", "sessionId": "s", "before": {"n": 7}, "after": {"n": 2}},
        )
        async with opened(browser, app.url, "#/session/s") as page:
            await expect(page.locator(".note.broken")).to_contain_text("Lineage broken.")
            await expect(page.locator(".timeline .row[data-kind='broken']")).to_have_count(1)
            assert await page.locator(".mark-broken").last.get_attribute("d") != ""
            # As `diff` does, it compares with the state that was recorded.
            await expect(page.locator("li[data-path='/n'] del")).to_have_text("1")
            await expect(page.locator(".timeline .row[data-kind='broken']")).to_contain_text("n: 1 → 2")
            await page.get_by_role("button", name="Compare with the state that was sent").click()
            await expect(page.locator("li[data-path='/n'] del")).to_have_text("7")


async def test_a_session_created_again_shows_what_was_lost_in_every_view_and_is_marked(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(
            {"type": "created", "sessionId": "s", "after": {"n": 1, "lost": True}},
            {"type": "created", "sessionId": "s", "after": {"n": 1}},
        )
        async with client(app) as http:
            patch = (await http.get("/api/sessions/s/diff")).json()
            assert patch == [{"op": "remove", "path": "/lost"}]
        async with opened(browser, app.url) as page:
            row = page.locator(".events-list .row[aria-posinset='1']")
            await expect(row).to_contain_text("lineage broken")
            await expect(row).to_contain_text("− lost")
            await row.click()
            await expect(page.locator(".note.broken")).to_contain_text("created again")
            await expect(page.locator(".tally")).to_have_text("1 change")
            await expect(page.locator("li[data-path='/lost']")).to_have_class("field removed")
            await expect(page.locator(".timeline .row[data-kind='broken']")).to_contain_text("− lost")
            await page.locator("li[data-path='/lost'] .key").click()
            await expect(page.locator(".blame-row").first).to_contain_text("lineage broken")


async def test_it_plays_to_the_end_and_runs_into_live(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        for n in range(30):
            await app.publish(delta("s", n, timestamp=f"2026-11-20T12:00:{n:02}.000Z"))
        async with opened(browser, app.url, "#/session/s?at=1") as page:
            await expect(page.locator(".where")).to_contain_text("delta 1 of 30")
            await page.get_by_label("Speed").select_option("100")
            await page.locator(".where").click()  # away from the list, so that Space is the view's
            await page.keyboard.press(" ")
            await expect(page.locator(".where")).to_contain_text("delta 30 of 30")
            await expect(page.get_by_role("button", name="Live", exact=True)).to_have_attribute(
                "aria-pressed", "true"
            )
            await app.publish(delta("s", 99))
            await expect(page.locator(".where")).to_contain_text("delta 31 of 31")
            await expect(page.locator("li[data-path='/n'] ins")).to_have_text("99")
            # Who steps back stays there, whatever comes.
            await page.keyboard.press("ArrowLeft")
            await app.publish(delta("s", 100))
            await expect(page.locator(".where")).to_contain_text("delta 30 of 32")
            await page.keyboard.press("l")
            await expect(page.locator(".where")).to_contain_text("delta 32 of 32")


async def test_the_address_names_the_place_and_back_leads_back(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta("a/b?c", n) for n in range(5)])
        async with opened(browser, app.url) as page:
            await page.locator(".session-list .row").first.click()
            await expect(page.locator("h1")).to_have_text("a/b?c")
            # Before it is read there is nothing to step from.
            await expect(page.locator(".where")).to_contain_text("delta 5 of 5")
            await page.keyboard.press("ArrowLeft")
            await page.wait_for_url("**#/session/a%2Fb%3Fc?at=4")
            await page.reload()
            await expect(page.locator(".where")).to_contain_text("delta 4 of 5")
            await page.go_back()
            await expect(page.locator(".session-list .row")).to_have_count(1)


async def test_a_state_is_copied_and_a_session_downloaded_byte_for_byte(
    browser: Browser, tmp_path: Path
) -> None:
    state = f'{{ "n": {BIG}, "e": 1.0e+2 }}'
    async with running_app(tmp_path) as app:
        await app.recorder.publish(f'{{"type":"created","sessionId":"s/1","after":{state}}}'.encode())
        permissions = ["clipboard-read", "clipboard-write"]
        async with opened(browser, app.url, "#/session/s%2F1", permissions=permissions) as page:
            await page.get_by_role("button", name="Copy state").click()
            await expect(page.get_by_role("button", name="Copied")).to_be_visible()
            assert await page.evaluate("navigator.clipboard.readText()") == state
            async with page.expect_download() as waiting:
                await page.get_by_role("button", name="Download").click()
            download = await waiting.value
            assert download.suggested_filename == "s_1.ndjson"
            line = (await asyncio.to_thread(Path(await download.path()).read_text)).strip()
            assert f'"after":{state}' in line


async def test_a_session_that_nobody_knows_is_said_to_be_unknown_until_it_comes(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app, opened(browser, app.url) as page:
        await page.get_by_label("Open a session by its id").fill("not yet")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("No session with this id is recorded.")).to_be_visible()
        await app.publish(delta("not yet", 1))
        await expect(page.locator(".where")).to_contain_text("delta 1 of 1")


async def test_who_changed_a_field_is_told_and_leads_there(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        states = ["pending", "pending", "running", "running", "done"]
        for status in states:
            after = {"plan": [{"status": status, "a/b": 1}], "n": len(status)}
            await app.publish({"type": "updated", "sessionId": "s/1", "after": after}, delta("noise"))
        async with opened(browser, app.url, "#/session/s%2F1") as page:
            await expect(page.locator("li[data-path='/plan/0/status']")).to_be_visible()
            await page.locator("li[data-path='/plan/0/status'] .key").click()
            panel = page.get_by_role("complementary", name="Who changed this")
            await expect(panel.locator("code")).to_have_text("plan[0].status")
            await expect(panel.locator(".blame-row")).to_have_count(3)
            told = await panel.locator(".blame-row .values").all_text_contents()
            assert told == ["running → done", "pending → running", "pending"]
            await panel.locator(".blame-row").nth(1).click()
            await expect(page.locator(".where")).to_contain_text("seq 5")
            await expect(page.locator("li[data-path='/plan/0/status'] ins")).to_have_text("running")
            await panel.get_by_role("button", name="Close").click()
            await expect(panel).to_be_hidden()


async def test_what_was_erased_is_marked_and_gone_from_every_view(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        secret = {"who": "a-secret-name"}
        await app.publish(
            {"type": "created", "sessionId": "s", "after": secret},
            {"type": "updated", "sessionId": "s", "after": {**secret, "n": 1}},
            delta("other", 1),
        )
        async with opened(browser, app.url, "#/session/s") as page:
            await expect(page.locator(".state-body")).to_contain_text("n")
            await erase(app, "s")
            # Whoever looks at it when it happens does not see it any longer.
            await expect(page.locator(".erased-note")).to_be_visible()
            await expect(page.locator(".timeline .row[data-kind='erased']")).to_have_count(2)
            digest = hashlib.sha256(b'{"who":"a-secret-name","n":1}').hexdigest()
            await expect(page.locator(".erased-note")).to_contain_text(digest)
            await app.publish({"type": "updated", "sessionId": "s", "after": {"n": 2}})
            await expect(page.locator("li[data-path='/n']")).to_be_visible()
            await page.keyboard.press("Home")
            await expect(page.locator(".erased-note")).to_be_visible()
            assert "a-secret-name" not in await page.content()
            await page.goto(f"{app.url}/#/")
            await expect(page.locator(".events-list .row").first).to_be_visible()
            assert "a-secret-name" not in await page.content()
            await page.goto(f"{app.url}/#/integrity")
            await expect(page.locator("#freshness")).to_contain_text("live")
            await page.get_by_role("button", name="Verify the chain").click()
            await expect(page.locator(".verdict")).to_contain_text("4 links verified")


async def test_a_member_without_a_name_has_one_to_be_seen_and_asked_about(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish({"type": "created", "sessionId": "s", "after": {"": 1, "a": {"": 2}}})
        await app.publish({"type": "updated", "sessionId": "s", "after": {"": 3, "a": {"": 2}}})
        await app.publish({"type": "updated", "sessionId": "s", "after": {"a": {"": 2}}})
        async with opened(browser, app.url, "#/session/s") as page:
            told = ['"": 1 · a: {…}', '"": 1 → 3', '− ""']
            await expect(page.locator(".timeline-card .row")).to_have_count(3)
            for number, text in enumerate(told):
                await expect(page.locator(".timeline-card .row").nth(number)).to_contain_text(text)
            await page.locator(".state-body .key").first.click()
            await expect(page.locator(".state-body .key").first).to_have_text('""')
            panel = page.get_by_role("complementary", name="Who changed this")
            await expect(panel.locator("code")).to_have_text('""')
            await expect(panel.locator(".blame-row")).to_have_count(3)


@pytest.mark.parametrize("name", [".", ".."])
async def test_of_a_session_that_no_url_can_name_the_page_says_who_can_be_asked(
    browser: Browser, tmp_path: Path, name: str
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(delta(name, 1))
        async with opened(browser, app.url, f"#/session/{name}") as page:
            await page.locator(".state-body .key").first.click()
            panel = page.get_by_role("complementary", name="Who changed this")
            await expect(panel.get_by_text(f"recorder blame {name} /n")).to_be_visible()


async def test_without_a_recording_a_session_shows_what_comes_of_it(browser: Browser) -> None:
    async with running_app(None) as app, opened(browser, app.url, "#/session/s") as page:
        await expect(page.get_by_text("Not recording: ")).to_be_visible()
        # Nothing is there to be copied or fetched.
        await expect(page.get_by_role("button", name="Copy state")).to_be_hidden()
        await expect(page.locator("#freshness")).to_contain_text("live")
        app.publish_nowait(delta("s", 1), delta("t", 1), delta("s", 2))
        await expect(page.locator(".where")).to_contain_text("delta 2 of 2")
        await page.keyboard.press("Home")
        await expect(page.locator(".where")).to_contain_text("delta 1 of 2")
        await expect(page.locator(".state-body .value")).to_have_text("1")
        await expect(page.get_by_role("button", name="Copy state")).to_be_visible()
        await expect(page.get_by_role("button", name="Download")).to_be_hidden()
        await page.keyboard.press("l")
        app.publish_nowait(delta("s", 3))
        await expect(page.locator(".where")).to_contain_text("delta 3 of 3")


async def test_nothing_can_be_copied_before_it_is_there(browser: Browser, tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(delta("s", 1))
        held = asyncio.Event()

        async def hold(route: Route) -> None:
            await held.wait()
            await route.continue_()

        async with opened(browser, app.url) as page:
            await page.route("**/api/deltas?session=*", hold)
            await page.goto(f"{app.url}/#/session/s")
            await expect(page.locator("h1")).to_have_text("s")
            for name in ("Copy state", "Download"):
                await expect(page.get_by_role("button", name=name)).to_be_hidden()
            held.set()
            await expect(page.get_by_role("button", name="Copy state")).to_be_visible()


@pytest.mark.parametrize("width", [360, 1400])
async def test_a_long_state_scrolls_in_its_place_and_the_page_has_nothing_below_it(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    view = {"width": width, "height": 740}
    async with running_app(tmp_path) as app:
        for n in (1, 2):
            after = {f"field {number}": n for number in range(90)}
            await app.publish({"type": "updated", "sessionId": "s", "after": after})
        async with opened(browser, app.url, "#/session/s", viewport=view) as page:
            await expect(page.locator(".state-body .field.changed")).to_have_count(90)
            # It is `main` or the card that scrolls; the page around them has nowhere to go.
            below = "document.documentElement.scrollHeight - document.documentElement.clientHeight"
            assert await page.evaluate(below) == 0


async def test_an_answer_that_comes_after_the_user_has_moved_on_changes_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*[delta("long", n) for n in range(2000)])
        open_now, asked = asyncio.Event(), asyncio.Event()
        open_now.set()

        async def gate(route: Route) -> None:
            asked.set()
            await open_now.wait()
            await route.continue_()

        async with opened(browser, app.url, "#/session/long?at=300") as page:
            where, after = page.locator(".where"), page.locator(".raw pre").last
            await expect(where).to_contain_text("seq 300,")
            await page.get_by_role("button", name="Raw JSON").click()
            await page.route("**/api/deltas?session=long*", gate)
            # A jump is on its way; a step to a delta that is here comes after it.
            for key, seq, live in (("ArrowLeft", 299, "false"), ("l", 2000, "true")):
                open_now.clear()
                asked.clear()
                await slide(page, 450)
                await asked.wait()
                await page.keyboard.press(key)
                if key == "ArrowLeft":
                    await expect(where).to_contain_text("seq 299,")
                async with page.expect_response("**/api/deltas?session=long*"):
                    open_now.set()
                await expect(page.locator(".timeline .row[aria-selected='true'] .seq")).to_have_text(str(seq))
                await expect(where).to_contain_text(f"seq {seq},")
                await expect(after).to_have_text(f'{{"n":{seq - 1}}}')
                button = page.get_by_role("button", name="Live", exact=True)
                await expect(button).to_have_attribute("aria-pressed", live)


async def test_an_address_that_names_no_delta_says_which_one_is_shown(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(delta("other"), delta("s", 1), delta("other"), delta("s", 2))
        for at, told in (
            (3, "no delta with seq 3. Shown is seq 2, the last one before it."),
            (1, "no delta with seq 1. Shown is seq 2, the first one that is kept."),
            (99, "no delta with seq 99. Shown is seq 4, the last one before it."),
        ):
            async with opened(browser, app.url, f"#/session/s?at={at}") as page:
                await expect(page.locator(".elsewhere")).to_contain_text(told)
                await page.keyboard.press("Home")
                await expect(page.locator(".elsewhere")).to_be_hidden()
        async with opened(browser, app.url, "#/session/s?at=4") as page:
            await expect(page.locator(".where")).to_contain_text("seq 4")
            await expect(page.locator(".elsewhere")).to_be_hidden()
            await page.evaluate("location.hash = '#/session/s?at=3'")
            await expect(page.locator(".elsewhere")).to_contain_text("Shown is seq 2")


@pytest.mark.parametrize("nesting", [('{"a":', "}"), ("[", "]"), ('{"b":1,"a":[', "]}")])
async def test_a_state_nested_to_the_limit_is_shown_to_a_depth_and_opened_by_the_user(
    browser: Browser, tmp_path: Path, nesting: tuple[str, str]
) -> None:
    opening, closing = nesting
    times = 249 if opening.endswith(":[") else 498
    async with running_app(tmp_path) as app:
        for n in (1, 2):
            state = f"{opening * times}{n}{closing * times}"
            await app.recorder.publish(
                f'{{"type":"updated","sessionId":"deep","after":{state}}}'.encode(),
            )
        async with opened(browser, app.url, "#/session/deep") as page:
            await expect(page.locator(".tally")).to_have_text("1 change")
            rows = page.locator(".state-body li.field")
            assert 50 <= await rows.count() <= 101
            closed = page.locator(".state-body .fold[aria-expanded='false']").last
            before = await rows.count()
            await closed.click()
            assert 10 <= await rows.count() - before <= 50
            for way in ("2", "3", "1"):
                await page.keyboard.press(way)
                assert await rows.count() <= 101
            await page.keyboard.press("ArrowLeft")
            await expect(page.locator(".where")).to_contain_text("delta 1 of 2")


async def test_what_is_shown_of_a_wide_state_and_of_a_long_text_is_bounded(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_app(tmp_path) as app:
        for n in (1, 2):
            wide = {f"k{i}": {f"f{j}": {"x": n, "y": n} for j in range(60)} for i in range(60)}
            await app.publish({"type": "updated", "sessionId": "wide", "after": wide})
            text = f"{'ab'[n - 1]}" * 150_000
            await app.publish(
                {"type": "updated", "sessionId": "text", "after": {"text": text, "n" * 9000: n}}
            )
        async with opened(browser, app.url, "#/session/wide") as page:
            await expect(page.locator(".tally")).to_have_text("1,000 changes or more")
            rows = page.locator(".state-body li.field")
            assert 1000 < await rows.count() < 2400
            closed = page.locator(".state-body > .tree > li.field > .line > .fold[aria-expanded='false']")
            before = await closed.count()
            assert before > 10
            await closed.last.click()
            await expect(closed).to_have_count(before - 1)
            await page.goto(f"{app.url}/#/session/text")
            value = page.locator("li[data-path='/text'] ins")
            await expect(value).to_contain_text("more characters")
            shown = "node => node.textContent.length"
            assert await value.evaluate(shown) < 1000
            await value.get_by_role("button").click()
            assert 50_000 < await value.evaluate(shown) < 52_000
