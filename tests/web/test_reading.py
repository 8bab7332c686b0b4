"""Reading what was recorded with the JavaScript client, in Node, from a recorder that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.app import delta, running_app
from tests.support.node import running
from tests.support.tokens import SUBSCRIBER

READ = Path(__file__).parent / "read.mjs"
ODD = '{"n" : 123456789012345678901234567890}'


async def read(url: str, name: str, *args: Any, token: str | None = None) -> dict[str, Any]:
    async with running(READ, json.dumps([url, token, name, *args])) as script:
        said: dict[str, Any] = await script.line()
        return said


async def test_it_reads_what_was_recorded(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        await app.recorder.publish(f'[{{"type":"created","sessionId":"a/b é","after":{ODD}}}]'.encode())
        await app.publish(delta("a/b é", 1), *[delta("c", n) for n in range(600)])
        deltas = (await read(app.url, "history"))["found"]
        assert [one["seq"] for one in deltas] == list(range(1, 603))
        assert deltas[0]["rawAfter"] == ODD
        assert deltas[0]["position"] == f"{app.at(1)}:{deltas[0]['hash']}"
        some = (await read(app.url, "history", {"sessions": "a/b é", "order": "desc", "before": 2}))["found"]
        assert [one["seq"] for one in some] == [1]
        assert [one["sessionId"] for one in (await read(app.url, "sessions"))["found"]] == ["c", "a/b é"]
        state = (await read(app.url, "state", "a/b é", 1))["found"]
        assert (state["seq"], state["rawState"], state["deleted"]) == (1, ODD, False)
        assert (await read(app.url, "diff", "c"))["found"] == [{"op": "replace", "path": "/n", "value": 599}]
        assert (await read(app.url, "diff", "c", {"as": "merge"}))["found"] == {"n": 599}
        touches = (await read(app.url, "blame", "c", "/n"))["found"]
        assert len(touches) == 600
        assert (touches[0]["before"], touches[0]["rawAfter"]) == (598, "599")
        assert (await read(app.url, "stats"))["found"]["head"] == 602
        assert (await read(app.url, "head"))["found"]["seq"] <= 602
        lines = (await read(app.url, "export", {"sessions": "a/b é"}))["found"].splitlines()
        assert [json.loads(line)["seq"] for line in lines] == [1, 2]


async def test_what_is_answered_is_thrown_with_its_code(tmp_path: Path) -> None:
    async with running_app(tmp_path, subscribe_tokens=SUBSCRIBER) as app:
        await app.publish(delta("a"))
        failed = await read(app.url, "state", "nobody", token=SUBSCRIBER)
        assert (failed["failed"], failed["code"]) == ("ClientError", "not_found")
        assert (await read(app.url, "state", "a", token=SUBSCRIBER))["found"]["seq"] == 1
        failed = await read(app.url, "history", token="another-token")
        assert (failed["failed"], failed["code"]) == ("TokenRefused", "not_authenticated")
        failed = await read(app.url, "history", {"sessions": []}, token=SUBSCRIBER)
        assert "sessions is empty" in failed["message"]
    failed = await read("http://127.0.0.1:9", "stats")
    assert "cannot be reached" in failed["message"]
    assert "is a recorder running there" in failed["message"]
