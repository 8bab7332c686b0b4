"""What changed between two points of a session, and who changed one place in its state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recorder.api import sessions
from recorder.core.clock import FakeClock
from tests.support.app import delta, running_app
from tests.support.http import client, get, refused

PLAN = [
    {"type": "created", "sessionId": "s", "after": {"plan": [{"status": "pending"}]}},
    {"type": "updated", "sessionId": "other", "after": {"plan": [{"status": "done"}]}},
    {"type": "updated", "sessionId": "s", "after": {"plan": [{"status": "pending"}, {"status": "new"}]}},
    {"type": "updated", "sessionId": "s", "after": {"plan": [{"status": "done"}, {"status": "new"}]}},
    {"type": "deleted", "sessionId": "s"},
]
BIG = "123456789012345678901234567890"


async def test_a_difference_is_a_json_patch_with_its_own_media_type(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*PLAN)
        answer = await http.get("/api/sessions/s/diff", params={"from": 1, "to": 4})
        assert answer.headers["content-type"] == "application/json-patch+json"
        assert answer.json() == [
            {"op": "replace", "path": "/plan/0/status", "value": "done"},
            {"op": "add", "path": "/plan/1", "value": {"status": "new"}},
        ]
        back = await get(http, "/api/sessions/s/diff", **{"from": 4, "to": 1})
        assert [operation["op"] for operation in back] == ["replace", "remove"]
        assert await get(http, "/api/sessions/s/diff", **{"from": 2, "to": 1}) == []


async def test_before_a_session_began_and_after_it_was_deleted_its_state_is_null(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*PLAN)
        whole = PLAN[0]["after"]
        assert await get(http, "/api/sessions/s/diff", **{"from": 0, "to": 1}) == [
            {"op": "replace", "path": "", "value": whole}
        ]
        assert await get(http, "/api/sessions/s/diff") == [{"op": "replace", "path": "", "value": None}]
        assert await get(http, "/api/sessions/s/diff", to=3) == [
            {"op": "add", "path": "/plan/1", "value": {"status": "new"}}
        ]


async def test_a_merge_patch_is_one_too_and_says_what_it_cannot(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.recorder.publish(
            b'[{"type":"created","sessionId":"s","after":{"a":1,"b":{"c":1}}},'
            b'{"type":"updated","sessionId":"s","after":{"b":{"c":%b}}},'
            b'{"type":"updated","sessionId":"s","after":{"b":null}}]' % BIG.encode()
        )
        answer = await http.get("/api/sessions/s/diff", params={"from": 1, "to": 2, "as": "merge"})
        assert answer.headers["content-type"] == "application/merge-patch+json"
        assert answer.text == f'{{"a":null,"b":{{"c":{BIG}}}}}'
        problem = await refused(
            await http.get("/api/sessions/s/diff", params={"to": 3, "as": "merge"}), 400, "invalid_query"
        )
        assert "null" in problem["detail"]
        assert problem["hint"] == "as=patch can"


async def test_a_point_may_be_a_time_of_recording(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_app(tmp_path, clock=clock) as app, client(app) as http:
        times = []
        for number in range(3):
            await app.publish(delta("s", number))
            times.append((await get(http, "/api/deltas"))["deltas"][0]["recordedAt"])
            clock.advance(60)
        assert await get(http, "/api/sessions/s/diff", **{"from": times[0], "to": times[1]}) == [
            {"op": "replace", "path": "/n", "value": 1}
        ]


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("nobody/diff", 404, "not_found"),
        ("nobody/blame", 404, "not_found"),
        ("s/diff?from=0&to=0", 404, "not_found"),
        ("s/diff?from=x", 400, "invalid_query"),
        ("s/diff?as=text", 400, "invalid_query"),
        ("s/diff?at=1", 400, "invalid_query"),
        ("s/blame?path=plan", 400, "invalid_query"),
        ("s/blame?path=/a~", 400, "invalid_query"),
        ("s/blame?limit=0", 400, "invalid_query"),
        ("s/blame?before=x", 400, "invalid_query"),
        ("%01/diff", 400, "invalid_query"),
    ],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, target: str, status: int, code: str) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*PLAN)
        await refused(await http.get(f"/api/sessions/{target}"), status, code)


@pytest.mark.parametrize("target", ["s?at=x", "s/diff?from=x", "s/diff?to=-1"])
async def test_what_is_no_point_is_told_that_a_seq_is_one(tmp_path: Path, target: str) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        response = await http.get(f"/api/sessions/{target}")
        assert (response.status_code, response.json()["hint"]) == (400, "a seq does, too")


async def test_a_session_named_like_the_route_is_itself_where_its_slash_is_encoded(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta("a/diff", 7), delta("a", 1))
        assert (await get(http, "/api/sessions/a%2Fdiff"))["state"] == {"n": 7}
        assert (await get(http, "/api/sessions/a%2Fdiff/diff"))[0]["value"] == {"n": 7}
        assert (await get(http, "/api/sessions/a/diff"))[0]["value"] == {"n": 1}
        assert (await get(http, "/api/sessions/a%2Fdiff/blame"))["sessionId"] == "a/diff"


async def test_who_changed_a_field_is_found_newest_first(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*PLAN)
        answer = await get(http, "/api/sessions/s/blame", path="/plan/0/status")
        assert [(t["seq"], t.get("before"), t.get("after")) for t in answer["touches"]] == [
            (5, "done", None),
            (4, "pending", "done"),
            (1, None, "pending"),
        ]
        assert (answer["next"], answer["end"], answer["path"]) == (None, "begun", "/plan/0/status")
        early = await get(http, "/api/sessions/s/blame", path="/plan/0/status", before=4)
        assert [touch["seq"] for touch in early["touches"]] == [1]
        assert (await get(http, "/api/sessions/s/blame", path="/none"))["touches"] == []
        whole = await get(http, "/api/sessions/s/blame")
        assert [touch["seq"] for touch in whole["touches"]] == [5, 4, 3, 1]


async def test_a_walk_by_next_meets_each_touch_once_however_short_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [{"n": number // 3, "m": number} for number in range(40)]
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*[{"type": "updated", "sessionId": "s", "after": state} for state in states])
        expected = [
            seq for seq in range(40, 0, -1) if seq == 1 or states[seq - 1]["n"] != states[seq - 2]["n"]
        ]
        for slice_rows, look_rows, limit in ((1, 2, 100), (2, 2, 1), (3, 5, 3), (200, 5000, 1), (7, 1, 2)):
            monkeypatch.setattr(sessions, "SLICE_ROWS", slice_rows)
            monkeypatch.setattr(sessions, "LOOK_ROWS", look_rows)
            found: list[int] = []
            params: dict[str, Any] = {"path": "/n", "limit": limit}
            while True:
                answer = await get(http, "/api/sessions/s/blame", **params)
                found += [touch["seq"] for touch in answer["touches"]]
                if answer["next"] is None:
                    break
                assert answer["end"] is None
                assert answer["next"] < params.get("before", 1000)
                params["before"] = answer["next"]
            assert found == expected, (slice_rows, look_rows, limit)
            assert answer["end"] == "begun"


async def test_one_request_looks_at_no_more_than_so_many_deltas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SLICE_ROWS", 10)
    monkeypatch.setattr(sessions, "LOOK_ROWS", 20)
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*[{"type": "updated", "sessionId": "s", "after": {"n": 1}} for _ in range(100)])
        reads = []
        read = app.recorder.recording.read

        async def counted(query: Any, limit: int) -> Any:
            piece = await read(query, limit)
            reads.append(len(piece.items))
            return piece

        monkeypatch.setattr(app.recorder.recording, "read", counted)
        answer = await get(http, "/api/sessions/s/blame", path="/n")
        assert (answer["touches"], answer["next"], answer["end"]) == ([], 82, None)
        assert sum(reads) == 20


async def test_what_was_pruned_ends_the_walk_with_the_state_that_was_kept(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(delta("s", 1), delta("s", 2), delta("s", 2), delta("s", 3))
        await app.recorder.recording.snapshot()
        assert await app.recorder.recording.prune(2, "test") == 2
        answer = await get(http, "/api/sessions/s/blame", path="/n")
        assert [(t["seq"], t["before"]) for t in answer["touches"]] == [(4, 2)]
        assert (answer["next"], answer["end"]) == (None, "pruned")
        await refused(await http.get("/api/sessions/s/diff?from=1"), 404, "pruned")
        assert json.loads((await http.get("/api/sessions/s/diff?from=2")).text)[0]["value"] == 3
