"""Redaction on the way in: what is recorded, broadcast and filled in has the marker, and nothing has the secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder.core.errors import Conflict
from recorder.core.redaction import MARKER
from recorder.engine import prepare
from recorder.store.contract import Query
from tests.support.app import App, delta, running_app
from tests.support.http import client

SECRET = "correct horse battery"


async def test_a_secret_is_nowhere_and_equal_ones_stay_equal(tmp_path: Path) -> None:
    options = {"redact_keys": "default,pin", "key_file": tmp_path / "recorder.key"}
    async with running_app(tmp_path, **options) as app, app.connect() as wire:
        await wire.until("live")
        state = {"env": {"PASSWORD": SECRET, "n": 1}, "pin": SECRET}
        await app.publish(delta(after=state, id="one"))
        first = (await wire.event())["delta"]["after"]
        assert first["env"]["PASSWORD"] == first["pin"]
        assert MARKER.fullmatch(first["pin"])
        # Sent again it is the same delta; with its true before the lineage holds.
        assert (await app.recorder.publish(orjson.dumps(delta(after=state, id="one")))).duplicates == 1
        await app.publish({"type": "updated", "sessionId": "s", "before": state, "after": {"n": 2}})
        event = await wire.event()
        assert (event["delta"]["before"], event.get("lineage")) == (first, None)
        assert app.gateway.metrics.redacted == 6
        async with client(app) as http:
            assert SECRET not in (await http.get("/api/export")).text
        await app.recorder.recording.snapshot()
    assert_nowhere(tmp_path)
    async with running_app(tmp_path, **options) as app:
        await app.publish(delta(after={"pin": SECRET}))
        async with client(app) as http:
            answer = await http.get("/api/sessions/s")
            assert answer.json()["state"] == {"pin": first["pin"]}


@pytest.mark.parametrize("change", ["restart", "new key", "older release"])
async def test_after_the_salt_has_changed_the_same_id_is_known_and_a_right_before_is_not_broken(
    tmp_path: Path, change: str
) -> None:
    key = "none" if change == "restart" else tmp_path / "keys" / "recorder.key"
    options = {"redact_keys": "pin", "persist": True, "key_file": key}
    first = delta(after={"pin": SECRET, "n": 1, "args": orjson.dumps({"pin": SECRET}).decode()}, id="one")
    with pytest.MonkeyPatch.context() as patch:
        if change == "older release":
            patch.setattr(prepare, "without_digests", lambda text: text)
        async with running_app(tmp_path, **options) as app:
            marker = (await published(app, first))["delta"]["after"]["pin"]
    if change == "new key" and isinstance(key, Path):
        key.unlink()
    async with running_app(tmp_path, **options) as app, app.connect() as wire:
        await wire.until("live")
        again = await app.recorder.publish(orjson.dumps(first))
        assert (again.duplicates, again.seq, app.head) == (1, 1, 1)
        with pytest.raises(Conflict):
            await app.recorder.publish(orjson.dumps(first | {"after": {"pin": SECRET, "n": 2}}))
        right = {"type": "updated", "sessionId": "s", "before": first["after"], "after": {"n": 2}}
        event = await published(app, right)
        assert event.get("lineage") is None
        assert (event["delta"]["before"]["pin"] == marker) == (change == "older release")
        wrong = right | {"before": {"n": 3, "pin": SECRET}}
        assert (await published(app, wrong))["lineage"] == "broken"


async def published(app: App, content: dict[str, Any]) -> dict[str, Any]:
    """Publish a delta; the entry that it became."""
    seq = (await app.recorder.publish(orjson.dumps(content))).seq
    piece = await app.recorder.recording.read(Query(after=seq - 1), 1)
    return orjson.loads(piece.items[0])


def assert_nowhere(folder: Path) -> None:
    for path in folder.iterdir():
        assert SECRET.encode() not in path.read_bytes()


async def test_it_is_off_unless_asked_for() -> None:
    async with running_app(None) as app, app.connect() as wire:
        await wire.until("live")
        app.publish_nowait(delta(after={"password": SECRET}))
        assert (await wire.event())["delta"]["after"] == {"password": SECRET}
