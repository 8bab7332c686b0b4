"""`GET /api/head` and `GET /api/receipts`: signed by the key that KEY_FILE names, and true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from recorder.auth.signing import known_keys
from recorder.core.statements import Head, PruneReceipt
from recorder.verify.statements import holds
from recorder.wire.statements import signed_of
from tests.support.app import running_app, some
from tests.support.http import client, get, refused


async def test_the_head_is_where_the_recording_ends_and_says_what_is_on_disk(tmp_path: Path) -> None:
    async with running_app(tmp_path, key_file=tmp_path / "k") as app, client(app) as http:
        empty = signed_of(Head, await get(http, "/api/head"))
        assert (empty.said.seq, empty.said.count, empty.said.hash, empty.said.durable) == (0, 0, None, 0)
        await app.publish(*some(2))
        await http.post("/api/admin/snapshot")
        await app.publish(*some(3))
        head = signed_of(Head, await get(http, "/api/head"))
        (last,) = (await get(http, "/api/deltas", limit=1))["deltas"]
        assert (head.said.epoch, head.said.seq, head.said.count, head.said.durable) == (app.epoch, 5, 5, 2)
        assert head.said.hash == bytes.fromhex(last["hash"])
        assert holds(head)
        assert head.by is not None
        assert {head.by.key_id} == known_keys(tmp_path / "k")


async def test_what_was_pruned_has_a_receipt_that_is_signed_once_it_is_on_disk(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app, client(app) as http:
        await app.publish(*some(5))
        assert await get(http, "/api/receipts") == {
            "epochs": [{"epoch": app.epoch, "firstSeq": 1}],
            "prunes": [],
            "erasures": [],
        }
        await app.recorder.upkeep.snapshot()
        await app.recorder.recording.prune(3, "3 deltas")
        (unsigned,) = (await get(http, "/api/receipts"))["prunes"]
        assert (unsigned["signature"], unsigned["basesDigest"]) == (None, None)
        await app.recorder.upkeep.snapshot()
        (receipt,) = (await get(http, "/api/receipts"))["prunes"]
        assert holds(signed_of(PruneReceipt, receipt))
        assert (receipt["firstSeq"], receipt["lastSeq"], receipt["count"], receipt["policy"]) == (
            1,
            3,
            3,
            "3 deltas",
        )
        assert receipt["basesDigest"] is not None
        head: Any = await get(http, "/api/head")
        assert (head["seq"], head["count"]) == (5, 2)


async def test_where_nothing_is_signed_or_recorded_it_is_said(tmp_path: Path) -> None:
    async with running_app(tmp_path, key_file="none") as app, client(app) as http:
        assert (
            "KEY_FILE" in orjson.dumps(await refused(await http.get("/api/head"), 404, "not_found")).decode()
        )
        await refused(await http.get("/api/receipts?x=1"), 400, "invalid_query")
    async with running_app(None) as app, client(app) as http:
        for path in ("/api/head", "/api/receipts"):
            await refused(await http.get(path), 409, "not_recording")
