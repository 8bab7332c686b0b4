"""What one publish may hold: refused whole, with the place named, before any of it gets a place in the order."""

from __future__ import annotations

import pytest

from recorder.config.settings import load_settings
from recorder.core.delta import MAX_DEPTH
from recorder.core.errors import InvalidDelta, TooManyDeltas
from recorder.engine.prepare import PublishLimits
from recorder.wire.decode import decode_lines, decode_text
from recorder.wire.subscribe import MAX_SESSIONS
from tests.support.app import running_app, some
from tests.support.http import NDJSON, client, refused


def nested(depth: int, field: str = "after") -> str:
    return f'{{"type":"updated","sessionId":"s","after":1,"{field}":{"[" * depth}{"]" * depth}}}'


def check(limits: PublishLimits, text: str, *, lines: bool = False) -> None:
    data = text.encode()
    decode = decode_lines if lines else decode_text
    limits.check(decode(data, 10_000, limits.max_deltas), data, lines=lines)


def test_as_many_deltas_as_allowed_are_taken_and_one_more_is_not() -> None:
    limits = PublishLimits(max_deltas=3)
    check(limits, f"[{','.join([nested(1)] * 3)}]")
    check(limits, "\n".join([nested(1)] * 3), lines=True)
    for text, lines in ((f"[{','.join([nested(1)] * 4)}]", False), ("\n".join([nested(1)] * 4), True)):
        with pytest.raises(TooManyDeltas, match="more than 3 deltas in one publish"):
            check(limits, text, lines=lines)


@pytest.mark.parametrize("field", ["before", "after"])
def test_a_state_that_nests_deeper_than_allowed_is_refused_by_its_place(field: str) -> None:
    limits = PublishLimits(max_depth=20)
    deep, fine = nested(21, field), nested(20, field)
    check(limits, fine)
    for text, lines, place, index in (
        (deep, False, field, None),
        (f"[{fine},{deep}]", False, f"[1].{field}", 1),
        (f"{fine}\n\n{deep}", True, f"line 3: {field}", 1),
    ):
        with pytest.raises(InvalidDelta, match="must not nest deeper than 20") as caught:
            check(limits, text, lines=lines)
        assert (caught.value.place, caught.value.index) == (place, index)
        assert str(caught.value).startswith(place)


def test_the_settings_go_as_far_as_the_code_does() -> None:
    settings = load_settings()
    assert (settings.max_json_depth, settings.max_subscription_sessions) == (MAX_DEPTH, MAX_SESSIONS)
    assert settings.max_deltas_per_message == PublishLimits().max_deltas


async def test_over_the_wire_too_many_are_told_so_and_the_connection_goes_on() -> None:
    async with running_app(None, max_deltas_per_message=5) as app, app.connect("/publish") as wire:
        await wire.event()
        await wire.text(some(6))
        error = await wire.event()
        assert (error["event"], error["code"]) == ("error", "too_many_deltas")
        assert "MAX_DELTAS_PER_MESSAGE" in error["message"]
        await wire.text(some(5))
        assert (await wire.event())["count"] == 5
        assert app.gateway.metrics.refused == {"too_many_deltas": 1}
        async with client(app) as http:
            body = b"\n".join([nested(1).encode()] * 6)
            await refused(
                await http.post("/api/deltas", content=body, headers=NDJSON), 413, "too_many_deltas"
            )
        assert app.head == 5
