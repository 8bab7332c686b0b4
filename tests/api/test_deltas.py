"""Reading what was recorded: pages that meet each entry once, exact bounds, sessions, and states at any point."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from recorder.api.deltas import collect, following
from recorder.core.clock import FakeClock
from recorder.core.errors import StoreError
from recorder.core.timestamps import format_ms
from recorder.store.contract import Query
from recorder.store.sqlite import history as reading
from tests.support.app import App, delta, running_app, some
from tests.support.http import client, get, refused, seqs, walk
from tests.support.trouble import break_recording

ODD_IDS = [
    "a/b",
    "/a",
    "a/",
    "a//b",
    "a%2Fb",
    "100%",
    "a?b=c&d",
    "a#b",
    "ä € 🤖",
    "a+b c",
    " ",
    "...",
    "a;b",
    '"\\',
    "x" * 256,
    "🤖" * 256,
    "openapi.json",
]


@asynccontextmanager
async def running(
    folder: Path, clock: FakeClock | None = None
) -> AsyncIterator[tuple[App, httpx.AsyncClient]]:
    async with running_app(folder, clock=clock) as app, client(app) as http:
        yield app, http


def path_of(session_id: str, under: str = "/api/deltas") -> str:
    return f"{under}/{quote(session_id, safe='')}"


# Pages


@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_a_walk_meets_each_entry_once_while_more_is_recorded_and_old_ones_are_pruned(
    order: str, tmp_path: Path
) -> None:
    clock = FakeClock()
    async with running(tmp_path, clock) as (app, http):
        for _ in range(10):
            await app.publish(*some(20))
            clock.advance(1)
        pages = walk(http, "/api/deltas", "deltas", order=order, limit=15)
        met = [item["seq"] for _ in range(3) for item in await anext(pages)]
        # 1 to 60 go; a walk from the oldest has met 1 to 45 by now.
        older_than = format_ms(clock.now_ms() - 7_000)
        response = await http.post("/api/admin/prune", json={"olderThan": older_than})
        assert response.json() == {"deleted": 60, "oldest": 61, "olderThan": older_than}
        await app.publish(*some(30))
        met += [item["seq"] async for page in pages for item in page]
    if order == "desc":
        assert met == list(range(200, 60, -1))
    else:
        assert met == [*range(1, 46), *range(61, 231)]


@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_pages_of_any_size_hold_everything_once(order: str, tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(*some(30))
        expected = list(range(1, 31)) if order == "asc" else list(range(30, 0, -1))
        for limit in (7, 10, 1000):
            assert await seqs(http, order=order, limit=limit) == expected
        # There is a next page only where there is something on it.
        assert (await get(http, "/api/deltas", order=order, limit=30))["next"] is None
        assert (await get(http, "/api/deltas", order=order, limit=29))["next"] is not None


async def test_without_a_question_it_is_the_newest_100(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(*some(130))
        page = await get(http, "/api/deltas")
        assert [item["seq"] for item in page["deltas"]] == list(range(130, 30, -1))
        assert page["epoch"] == app.epoch


async def test_a_page_of_large_entries_ends_before_its_limit_and_nothing_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, _):
        await app.publish(*some(3000, size=10))
        for descending in (True, False):
            query = Query(descending=descending)
            found: list[bytes] = []
            through: int | None = 0
            pages, store, clock = 0, app.recorder.recording, app.recorder.clock
            while through is not None:
                items, through = await collect(store, query, 2000, clock=clock, seconds=60, max_bytes=50_000)
                found += items
                pages += 1
                query = query if through is None else following(query, through)
            assert pages > 2
            assert len(set(found)) == len(found) == 3000


async def test_an_entry_is_in_history_as_soon_as_a_subscriber_has_seen_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http), app.connect() as wire:
        await wire.until("live")
        for number in range(5):
            app.publish_nowait(*some(200, f"s{number}"))
            seen = (await wire.deltas(200 * (number + 1)))[-1]
            assert (await get(http, "/api/deltas", limit=1))["deltas"][0]["seq"] == seen
            assert (await get(http, f"/api/sessions/s{number}"))["seq"] == seen
            assert (await get(http, "/api/sessions", limit=1))["sessions"][0]["seq"] == seen


# Filters


async def test_bounds_of_time_are_exact_to_the_millisecond_with_ties(tmp_path: Path) -> None:
    clock = FakeClock()
    start = clock.now_ms()
    async with running(tmp_path, clock) as (app, http):
        for _ in range(3):
            await app.publish(*some(3))
            clock.advance(0.001)
        before, first, second, third, after = (format_ms(start + ms) for ms in (-1, 0, 1, 2, 3))
        for since, until, expected in (
            (second, None, [4, 5, 6, 7, 8, 9]),
            (None, second, [1, 2, 3, 4, 5, 6]),
            (second, second, [4, 5, 6]),
            (third, first, []),
            (before, first, [1, 2, 3]),
            (before, after, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (None, before, []),
            (after, None, []),
        ):
            asked = {name: time for name, time in (("since", since), ("until", until)) if time}
            assert await seqs(http, order="asc", limit=4, **asked) == expected
            assert await seqs(http, limit=100, **asked) == expected[::-1]


async def test_a_time_is_compared_as_a_time_whatever_its_form(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path, clock) as (app, http):
        await app.publish(delta())
        clock.advance(1)
        await app.publish(delta())
        moment = format_ms(clock.now_ms())
        other_zone = format_ms(clock.now_ms() + 19_800_000).replace(".000Z", "+05:30")
        for since in (moment, other_zone, moment.replace("T", "t").replace("Z", "z"), moment[:-1] + "000Z"):
            assert await seqs(http, since=since) == [2]


async def test_order_is_that_of_recording_whatever_the_timestamps_say(tmp_path: Path) -> None:
    clock = FakeClock()
    times = [
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.05Z",
        "2026-01-01T09:00:00+09:00",
        "2025-12-31T23:59:59.999-00:00",
    ]
    async with running(tmp_path, clock) as (app, http):
        for time in times:
            await app.publish(delta(timestamp=time))
            # Somebody sets the machine's clock back.
            clock.set_wall_ms(clock.now_ms() - 60_000)
        page = await get(http, "/api/deltas", order="asc")
        assert [item["seq"] for item in page["deltas"]] == [1, 2, 3, 4, 5]
        recorded = [item["recordedAt"] for item in page["deltas"]]
        assert recorded == sorted(recorded)
        exact = {"happenedSince": "2026-01-01T00:00:00Z", "happenedUntil": "2026-01-01T00:00:00.050Z"}
        assert await seqs(http, order="asc", **exact) == [2, 3, 4]


async def test_after_and_before_leave_out_what_they_name(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(*some(10))
        assert await seqs(http, after=3, before=7, limit=2) == [6, 5, 4]
        assert await seqs(http, after=3, before=7, limit=2, order="asc") == [4, 5, 6]
        assert await seqs(http, after=6, before=7) == []
        assert await seqs(http, after=10) == []
        assert await seqs(http, before=0) == []
        assert await seqs(http, after=2**63 - 1) == []
        assert await seqs(http, before=2**63 - 1, after=9) == [10]


async def test_sessions_and_types_are_combined(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        for session in ("a", "b", "c"):
            await app.publish(
                delta(session, type="created"), delta(session), {"type": "deleted", "sessionId": session}
            )
        assert await seqs(http, session=["a", "c"], type=["created", "deleted"], order="asc") == [1, 3, 7, 9]
        assert await seqs(http, session=["a", "nobody"], limit=1) == [3, 2, 1]
        assert await seqs(http, type="updated", limit=1) == [8, 5, 2]
        assert await seqs(http, session="nobody") == []
        assert await seqs(http, "/api/deltas/b", type="created") == [4]


@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_many_sessions_are_found_among_more(order: str, tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(*[delta(f"s{number % 150}", number) for number in range(600)])
        named = [f"s{number}" for number in range(0, 150, 2)]
        expected = [number + 1 for number in range(600) if number % 150 % 2 == 0]
        found = await seqs(http, session=named, order=order, limit=70)
        assert found == (expected if order == "asc" else expected[::-1])


async def test_broken_lineages_can_be_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(
            delta(type="created", after=1),
            delta(before=1, after=2),
            delta(before=1, after=3),
            delta("other", before=9, after=3),
            delta(after=4),
        )
        page = await get(http, "/api/deltas", lineage="broken")
        assert [(item["seq"], item["lineage"]) for item in page["deltas"]] == [(3, "broken")]
        assert (await get(http, "/api/stats"))["lineageBreaks"] == 1


async def test_a_session_of_any_name_is_found_by_path_and_by_query(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(delta("a"), *[delta(session_id, n) for n, session_id in enumerate(ODD_IDS, 2)])
        for seq, session_id in enumerate(ODD_IDS, 2):
            assert await seqs(http, path_of(session_id)) == [seq]
            assert await seqs(http, session=session_id) == [seq]
            state = await get(http, path_of(session_id, "/api/sessions"))
            assert state == {"sessionId": session_id, "seq": seq, "state": {"n": seq}, "deleted": False}


async def test_an_empty_session_id_is_refused_everywhere(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(delta())
        for target in (
            "/api/deltas/",
            "/api/sessions/",
            "/api/deltas?session=",
            "/api/deltas?session=s&session=",
            "/api/export?session=",
        ):
            await refused(await http.get(target), 400, "invalid_query")


async def test_limits_are_checked_on_every_list(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, http):
        for path in ("/api/deltas", "/api/sessions", "/api/jobs"):
            for limit in ("0", "-1", "1001", "x", ""):
                problem = await refused(await http.get(path, params={"limit": limit}), 400, "invalid_query")
                assert problem["place"] == "limit"


async def test_falsy_states_come_back_as_they_were(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        for number, state in enumerate((0, "", False, {}, [])):
            await app.publish(delta(f"s{number}", type="created", after=state))
            found = (await get(http, f"/api/deltas/s{number}"))["deltas"][0]["delta"]
            assert found["after"] == state
            assert "before" not in found
            assert (await get(http, f"/api/sessions/s{number}"))["state"] == state


async def test_states_come_back_byte_for_byte(tmp_path: Path) -> None:
    state = b'{ "n" : 123456789012345678901234567890, "e":1.0E+2,\n "dup":1,"dup":2, "s":"\\ud83d \\u00e9\xc3\xa9" }'
    async with running(tmp_path) as (_, http):
        body = b'{"type":"created","sessionId":"s","after":' + state + b"}"
        assert (await http.post("/api/deltas", content=body)).status_code == 201
        for target in ("/api/deltas", "/api/deltas/s", "/api/sessions/s"):
            assert state in (await http.get(target)).content


async def test_cursors_are_refused_in_words_over_http(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(*some(5, "a"), *some(5, "b"))
        of_a = (await get(http, "/api/deltas/a", limit=2))["next"]
        of_sessions = (await get(http, "/api/sessions", limit=1))["next"]
        for path, cursor in (
            ("/api/deltas/b", of_a),
            ("/api/deltas", of_a),
            ("/api/deltas", of_sessions),
            ("/api/sessions", of_a),
            ("/api/sessions", "5"),
            ("/api/deltas", "made-by-hand"),
        ):
            problem = await refused(await http.get(path, params={"cursor": cursor}), 400, "invalid_cursor")
            assert problem["hint"]


async def test_a_cursor_does_not_outlive_its_epoch(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(*some(5))
        cursor = (await get(http, "/api/deltas", limit=2))["next"]
    async with running(tmp_path) as (app, http):
        # After an orderly stop the epoch goes on, and so does the walk.
        assert await seqs(http, cursor=cursor) == [3, 2, 1]
    (tmp_path / "sessions.sqlite").unlink()
    async with running(tmp_path) as (app, http):
        await app.publish(*some(5))
        problem = await refused(
            await http.get("/api/deltas", params={"cursor": cursor}), 400, "invalid_cursor"
        )
        assert app.epoch in problem["detail"]


async def test_a_session_nobody_knows_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(delta("a"))
        for target in ("/api/deltas/b", "/api/sessions/b", "/api/sessions/b?at=1", "/api/deltas/A"):
            problem = await refused(await http.get(target), 404, "not_found")
            assert "/".join(target.partition("?")[0].split("/")[3:]) in problem["detail"]


# Sessions


async def test_sessions_are_listed_by_their_last_move(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path, clock) as (app, http):
        await app.publish(delta("a"), delta("b"), delta("a"), {"type": "deleted", "sessionId": "b"})
        found = (await get(http, "/api/sessions"))["sessions"]
        at = format_ms(clock.now_ms())
        assert found == [
            {"sessionId": "b", "seq": 4, "recordedAt": at, "count": 2, "deleted": True},
            {"sessionId": "a", "seq": 3, "recordedAt": at, "count": 2, "deleted": False},
        ]


async def test_a_walk_through_sessions_that_stay_meets_each_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(*[delta(f"s{number}") for number in range(10)])
        for limit in (3, 10, 11):
            pages = [page async for page in walk(http, "/api/sessions", "sessions", limit=limit)]
            assert [item["seq"] for page in pages for item in page] == list(range(10, 0, -1))


async def test_a_walk_through_sessions_misses_none_that_moves_meanwhile(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(*[delta(f"s{number}") for number in range(30)])
        met: list[dict[str, Any]] = []
        move = 0
        async for page in walk(http, "/api/sessions", "sessions", limit=4):
            met += page
            # Those that are not met yet come to the front, and a new one is there.
            if move < 6:
                await app.publish(delta(f"s{move}"), delta(f"s{move + 10}"), delta(f"new{move}"))
                move += 1
        assert {item["sessionId"] for item in met} >= {f"s{number}" for number in range(30)}
        assert {item["sessionId"] for item in met} >= {f"new{number}" for number in range(6)}
        # What was met last about each is what is true.
        now = {item["sessionId"]: item for item in (await get(http, "/api/sessions"))["sessions"]}
        assert {item["sessionId"]: item for item in met} == now


# States


async def test_the_state_at_a_seq_is_the_one_as_of_then(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(
            delta("other"),
            delta("s", type="created", after="first"),
            delta("other"),
            delta("s", after="second"),
            {"type": "deleted", "sessionId": "s"},
            delta("other"),
            delta("s", type="created", after="again"),
        )
        await refused(await http.get("/api/sessions/s?at=0"), 404, "not_found")
        await refused(await http.get("/api/sessions/s?at=1"), 404, "not_found")
        for at, seq, state in (
            (2, 2, "first"),
            (3, 2, "first"),
            (4, 4, "second"),
            (5, 5, None),
            (6, 5, None),
            (7, 7, "again"),
            (8, 7, "again"),
            (2**63 - 1, 7, "again"),
        ):
            found = await get(http, "/api/sessions/s", at=at)
            assert found == {"sessionId": "s", "seq": seq, "state": state, "deleted": state is None}
        assert await get(http, "/api/sessions/s") == await get(http, "/api/sessions/s", at=7)


async def test_the_state_at_a_time_is_the_one_as_of_then(tmp_path: Path) -> None:
    clock = FakeClock()
    start = clock.now_ms()
    async with running(tmp_path, clock) as (app, http):
        for number in range(3):
            await app.publish(delta("s", 2 * number), delta("s", 2 * number + 1))
            clock.advance(1)

        async def at(ms: int) -> Any:
            return await http.get("/api/sessions/s", params={"at": format_ms(start + ms)})

        await refused(await at(-1), 404, "not_found")
        for ms, seq in ((0, 2), (999, 2), (1000, 4), (1999, 4), (2000, 6), (10**9, 6)):
            found = (await at(ms)).json()
            assert (found["seq"], found["state"]) == (seq, {"n": seq - 1})


async def test_a_point_that_is_neither_seq_nor_time_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, http):
        await app.publish(delta("s"))
        for at in ("-1", "1.5", "", "now", "2026-11-20", "01KAGJ5FG0:1", "9" * 30):
            response = await http.get("/api/sessions/s", params={"at": at})
            assert (await refused(response, 400, "invalid_query"))["place"] == "at"


async def test_states_survive_pruning_and_what_was_pruned_is_said_to_be(tmp_path: Path) -> None:
    clock = FakeClock()
    start = clock.now_ms()
    async with running(tmp_path, clock) as (app, http):
        await app.publish(delta("lives", 1), delta("dies"), {"type": "deleted", "sessionId": "dies"})
        clock.advance(1)
        await app.publish(delta("lives", 2))
        clock.advance(1)
        await app.publish(delta("other"))
        cut = format_ms(start + 2000)
        assert (await http.post("/api/admin/prune", json={"olderThan": cut})).json()["deleted"] == 4
        kept = {"sessionId": "lives", "seq": 4, "state": {"n": 2}, "deleted": False}
        for query in (
            "",
            "?at=4",
            "?at=5",
            f"?at={format_ms(start + 1000)}",
            f"?at={format_ms(start + 1999)}",
        ):
            assert (await http.get(f"/api/sessions/lives{query}")).json() == kept
        for query in ("?at=0", "?at=3", f"?at={format_ms(start + 999)}"):
            await refused(await http.get(f"/api/sessions/lives{query}"), 404, "pruned")
        # It is known, though none of its deltas is kept; the deleted one is forgotten.
        assert (await get(http, "/api/deltas/lives"))["deltas"] == []
        await refused(await http.get("/api/deltas/dies"), 404, "not_found")
        await refused(await http.get("/api/sessions/dies"), 404, "not_found")
        counts = {item["sessionId"]: item["count"] for item in (await get(http, "/api/sessions"))["sessions"]}
        assert counts == {"lives": 0, "other": 1}
        assert await seqs(http, since=format_ms(start)) == [5]


async def test_what_was_recorded_is_still_read_after_recording_has_failed(tmp_path: Path) -> None:
    async def fail() -> None:
        async with running(tmp_path) as (app, http):
            await app.publish(delta("s", 1))
            await break_recording(app)
            app.publish_nowait(delta("s", 2))
            assert await seqs(http) == [1]
            assert (await http.get("/api/export")).text.count("\n") == 1

    # Its last snapshot cannot be whole, and it says so.
    with pytest.raises(StoreError, match="nothing can be recorded"):
        await fail()


def test_the_rest_of_a_query_lies_behind_what_was_read() -> None:
    query = Query(after=2, before=9)
    assert following(query, 5) == replace(query, after=5)
    assert following(replace(query, descending=True), 5) == replace(query, descending=True, before=5)


async def test_a_page_that_takes_too_long_ends_with_what_was_found_and_says_where_to_look_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SCAN_ROWS", 100)
    async with running(tmp_path) as (app, _):
        await app.publish(*some(500))
        store, query = app.recorder.recording, Query(types=frozenset(["deleted"]), lineage="broken")
        pages, through = 0, 0
        while through is not None:
            items, through = await collect(store, query, 100, clock=FakeClock(), seconds=0)
            assert items == []
            pages += 1
            query = query if through is None else following(query, through)
        assert (pages, query.after) == (5, 400)
