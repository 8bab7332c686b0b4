"""Log lines about strangers: a few of each kind, and the number of those left out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loguru import logger

from recorder.core.clock import FakeClock
from recorder.core.sampled_log import LINES_AT_ONCE, LINES_PER_SECOND, SampledLog


@pytest.fixture
def lines() -> Iterator[list[tuple[str, dict[str, object]]]]:
    found: list[tuple[str, dict[str, object]]] = []
    logger.enable("recorder")
    logger.enable("tests")
    sink = logger.add(
        lambda message: found.append((message.record["message"], dict(message.record["extra"]))),
        level="TRACE",
    )
    yield found
    logger.remove(sink)
    logger.disable("recorder")


def test_a_flood_of_one_kind_gets_a_few_lines_and_then_its_number(
    lines: list[tuple[str, dict[str, object]]],
) -> None:
    clock = FakeClock()
    log = SampledLog(clock)
    for number in range(1000):
        log.write("INFO", "refused", code="not_authenticated", number=number)
    assert len(lines) == LINES_AT_ONCE
    clock.advance(1 / LINES_PER_SECOND)
    log.write("INFO", "refused", code="not_authenticated")
    assert lines[-1] == ("refused", {"code": "not_authenticated", "left_out": 1000 - LINES_AT_ONCE})
    clock.advance(1 / LINES_PER_SECOND)
    log.write("INFO", "refused", code="not_authenticated")
    assert lines[-1] == ("refused", {"code": "not_authenticated"})


def test_one_kind_does_not_use_up_the_lines_of_another(lines: list[tuple[str, dict[str, object]]]) -> None:
    log = SampledLog(FakeClock())
    for _ in range(100):
        log.write("INFO", "refused", code="not_authenticated")
    log.write("INFO", "refused", code="not_allowed")
    log.write("INFO", "another")
    assert [fields.get("code") for _, fields in lines[-2:]] == ["not_allowed", None]
