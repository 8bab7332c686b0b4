"""Real sessions in the page: what it shows beside what the logs themselves say, read here with `json` alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.app import running_app
from tests.support.browser import needs_chromium, opened
from tests.support.logs import Told, expected, import_logs, logged

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

RUN, PLAN = "session_5", "todowrite_session"
"""A coding agent's run, and a log in which a plan is followed."""

# What the page tells of a difference: every field that was changed, and whole what was added or removed.
TELLS = """() => [...document.querySelectorAll(".state-body li.field")].flatMap((item) => {
    const what = ["changed", "added", "removed"].find((one) => item.classList.contains(one));
    const told = what === "changed"
        ? item.querySelector("li.field") : item.parentElement.closest(`li.field.${what}`);
    return told ? [] : [`${what} ${item.dataset.path}`];
})"""


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """What differs between two values whose lists only grow at their end."""
    if isinstance(before, dict) and isinstance(after, dict):
        fields = list(after) + [name for name in before if name not in after]
        pairs = [(name, before.get(name, ...), after.get(name, ...)) for name in fields]
    elif isinstance(before, list) and isinstance(after, list):
        assert len(before) <= len(after)
        pairs = [(str(n), before[n] if n < len(before) else ..., after[n]) for n in range(len(after))]
    else:
        return [] if before == after else [f"changed {path}"]
    found: list[str] = []
    for name, old, new in pairs:
        if old is ... or new is ...:
            found.append(f"{'added' if old is ... else 'removed'} {path}/{name}")
        else:
            found += changes(old, new, f"{path}/{name}")
    return found


def of(wanted: list[Told], session: str) -> list[Told]:
    """The deltas of a session."""
    found = [one for one in wanted if one.session == session]
    assert found
    return found


def session_of_run(wanted: list[Told]) -> str:
    """The session of the run, which is named after its file and its content."""
    return next(one.session for one in wanted if one.session.startswith(f"{RUN}~"))


async def go(page: Page, one: Told, place: int, count: int) -> str:
    """Step to a delta of the session that is shown; the text of its state, as sent."""
    await page.keyboard.press("ArrowRight")
    await expect(page.locator(".where")).to_have_text(f"delta {place} of {count} · seq {one.seq}")
    after = await page.locator(".raw").last.locator("pre").text_content()
    assert after is not None
    return after


async def test_real_sessions_are_listed_and_every_state_of_them_is_what_the_log_says(
    browser: Browser, tmp_path: Path, shared_data: Path
) -> None:
    wanted = expected(list(logged(shared_data)))
    run = session_of_run(wanted)
    steps = json.loads((shared_data / "swe_agent" / f"{RUN}.traj").read_text())["trajectory"]
    log = (shared_data / "claude_code" / "todowrite_examples.jsonl").read_text().splitlines()
    async with running_app(tmp_path) as app:
        await asyncio.to_thread(import_logs, shared_data, app.url)
        async with opened(browser, app.url, viewport={"width": 1280, "height": 1600}) as page:
            counts = {one.session: len(of(wanted, one.session)) for one in wanted}
            rows = page.locator(".session-list .row")
            await expect(rows).to_have_count(len(counts))
            names = await rows.locator(".name").all_text_contents()
            told = await rows.locator(".count").all_text_contents()
            assert dict(zip(names, map(int, told), strict=True)) == counts
            await page.locator(".session-list .row", has_text=RUN).click()
            await page.get_by_role("button", name="Raw JSON").click()
            await page.keyboard.press("Home")
            for place, one in enumerate(of(wanted, run)[1:], 2):
                after = await go(page, one, place, counts[run])
                assert after.encode() == one.after
                told_steps = json.loads(after)["steps"]
                assert [step["action"] for step in told_steps] == [
                    step["action"] for step in steps[: place - 1]
                ]
                assert told_steps[-1]["observation"] == steps[len(told_steps) - 1]["observation"]
            await page.goto(f"{app.url}/#/session/{PLAN}?at={of(wanted, PLAN)[0].seq}")
            await page.get_by_role("button", name="Raw JSON").click()
            await expect(page.locator(".where")).to_contain_text(f"delta 1 of {counts[PLAN]}")
            records = []
            for place, one in enumerate(of(wanted, PLAN)[1:], 2):
                after = await go(page, one, place, counts[PLAN])
                assert after.encode() == one.after
                records.append(json.loads(after)["record"])
            # The first of its records is of another file.
            assert records == [json.loads(line) for line in log]


async def test_a_difference_of_real_states_is_told_down_to_the_field_and_who_changed_it(
    browser: Browser, tmp_path: Path, shared_data: Path
) -> None:
    wanted = expected(list(logged(shared_data)))
    run = session_of_run(wanted)
    async with running_app(tmp_path) as app:
        await asyncio.to_thread(import_logs, shared_data, app.url)
        async with opened(browser, app.url, viewport={"width": 1280, "height": 1600}) as page:
            for session, within in ((run, ("/",)), (PLAN, ("/todos", "/planStatus", "/records", "/usage"))):
                for one in of(wanted, session)[1:]:
                    await page.goto(f"{app.url}/#/session/{session}?at={one.seq}")
                    await expect(page.locator(".where")).to_contain_text(f"seq {one.seq}")
                    told = await page.evaluate(TELLS)
                    # Of what is created, every field is added.
                    before, after = (json.loads(state or b"{}") for state in (one.before, one.after))
                    known = [
                        set(filter(lambda line: line.split()[1].startswith(within), lines))
                        for lines in (told, changes(before, after))
                    ]
                    assert known[0] == known[1] != set()
            # Who changed what the plan is at: told by the states alone.
            rows, last = [], None
            for one in of(wanted, PLAN):
                status = json.loads(one.after or b"null").get("planStatus")
                if status != last:
                    rows.append(" → ".join(filter(None, (last, status))))
                last = status
            await page.get_by_role("button", name="State", exact=True).click()
            await page.locator("li[data-path='/planStatus'] .key").click()
            shown = page.locator(".blame-row .values")
            await expect(shown).to_have_count(len(rows))
            assert await shown.all_text_contents() == rows[::-1]
