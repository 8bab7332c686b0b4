"""Redaction on the way in: what is recorded, broadcast and filled in has the marker, and nothing has the secret."""

from __future__ import annotations

from pathlib import Path

import orjson

from recorder.core.redaction import MARKER
from tests.support.app import delta, running_app
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


def assert_nowhere(folder: Path) -> None:
    for path in folder.iterdir():
        assert SECRET.encode() not in path.read_bytes()


async def test_it_is_off_unless_asked_for() -> None:
    async with running_app(None) as app, app.connect() as wire:
        await wire.until("live")
        app.publish_nowait(delta(after={"password": SECRET}))
        assert (await wire.event())["delta"]["after"] == {"password": SECRET}
