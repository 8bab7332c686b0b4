"""The JavaScript client verifies what is recorded: whole, after a prune, and up to the first bad place."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from recorder.store.sqlite.store import SqliteStore
from tests.support.app import App, delta, running_app, some
from tests.support.node import running
from tests.support.tokens import LISTED

VERIFY = Path(__file__).parent / "verify.mjs"
ODD = [
    {"type": "created", "sessionId": "é", "after": {"s": "\U0001f600"}, "id": "one"},
    {"type": "updated", "sessionId": "é", "before": {"n": 1}, "after": []},
    {"type": "updated", "sessionId": "é", "after": [0.1]},
    {"type": "deleted", "sessionId": "é"},
]


async def report(app: App, **options: Any) -> dict[str, Any]:
    async with running(VERIFY, json.dumps({"url": app.url, **options})) as script:
        found: dict[str, Any] = await script.line()
        return found


async def tamper(store: SqliteStore, sql: str) -> None:
    """Change what is recorded, behind the recorder's back."""

    def work(conn: sqlite3.Connection) -> None:
        conn.execute(sql)

    await store._memory.run(work)


async def test_a_whole_recording_is_proven(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.recorder.publish(
            b'{"type":"created","sessionId":"s","after":{ "a" :\n1e2, "n":123456789012345678901234567890 }}'
        )
        await app.publish(*ODD, *some(1200))
        found = await report(app)
        assert (found["checked"], found["proven"], found["first"], found["last"]) == (1205, 1205, 1, 1205)
        assert (found["bad"], found["unproven"], found["progress"]) == (None, {}, [500, 1000, 1205])
        part = await report(app, after=1200)
        assert (part["checked"], part["proven"]) == (5, 4)
        assert part["unproven"] == {"the hash before the start is not known": 1}


async def test_after_a_prune_it_goes_on_from_the_receipt(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*ODD, *some(6))
        store = app.recorder.recording
        await store.snapshot()
        assert await store.prune(4, "test") == 4
        found = await report(app)
        assert (found["first"], found["checked"], found["proven"], found["bad"]) == (5, 6, 6, None)


async def test_the_first_bad_place_is_named(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.publish(*some(20), delta("s", 1))
        store = app.recorder.recording
        await store.snapshot()
        await tamper(store, "UPDATE session_deltas SET after_state = '{\"n\":666}' WHERE id IN (7, 9)")
        found = await report(app)
        assert (found["bad"]["seq"], found["checked"], found["proven"]) == (7, 7, 6)
        await tamper(store, "DELETE FROM session_deltas WHERE id = 3")
        found = await report(app)
        assert found["bad"] == {"seq": 3, "why": "it is missing: what follows is 4"}


async def test_without_a_chain_there_is_nothing_to_prove(tmp_path: Path) -> None:
    async with running_app(tmp_path, hash_chain="off") as app:
        await app.publish(*some(3))
        found = await report(app)
        assert (found["checked"], found["proven"], found["bad"]) == (3, 0, None)
        assert found["unproven"] == {"the chain is off": 3}


async def test_what_refuses_says_why_in_words(tmp_path: Path) -> None:
    async with running_app(tmp_path, **LISTED) as app:
        found = await report(app, token="wrong")
        where = f"{app.url}/api/receipts answered 401"
        assert found == {
            "failed": f"{where}: the token is not known here (give the right token; where tokens expire, give a "
            "function that gets one)",
            "name": "TokenRefused",
        }
