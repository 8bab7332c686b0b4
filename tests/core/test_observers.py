"""Observers: one that raises keeps neither the others nor whoever tells from their work."""

from __future__ import annotations

import pytest

from recorder.core.metrics import Metrics
from recorder.core.observers import Observers
from tests.support.log_lines import log_lines


def test_one_that_raises_does_not_keep_the_others_from_being_told() -> None:
    told: list[int] = []
    metrics = Metrics()
    observers: Observers[int] = Observers("test", metrics)
    observers.add(told.append)
    observers.add(lambda value: 1 // 0)
    observers.add(lambda value: told.append(-value))
    for value in (1, 2, 3):
        observers.tell(value)
    assert told == [1, -1, 2, -2, 3, -3]
    assert metrics.callback_errors == {"test": 3}
    assert 'recorder_callback_errors_total{where="test"} 3.0' in metrics.render().decode()


def test_what_fails_again_and_again_is_logged_once_until_it_works_again() -> None:
    broken = True

    def maybe() -> None:
        if broken:
            raise ZeroDivisionError("by accident")

    metrics = Metrics()
    observers: Observers[()] = Observers("test", metrics)
    observers.add(maybe)
    with log_lines() as lines:
        for _ in range(5):
            observers.tell()
        broken = False
        observers.tell()
        broken = True
        observers.tell()
    assert [line["message"] for line in lines] == ["a callback failed"] * 2
    assert metrics.callback_errors == {"test": 6}


def test_what_stops_the_program_is_not_held_back() -> None:
    observers: Observers[()] = Observers("test", Metrics())

    def leave() -> None:
        raise KeyboardInterrupt

    observers.add(leave)
    with pytest.raises(KeyboardInterrupt):
        observers.tell()


def test_one_that_raises_is_harmless_also_where_its_report_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    told: list[int] = []
    metrics = Metrics()
    observers: Observers[int] = Observers("test", metrics)
    observers.add(lambda value: 1 // 0)
    observers.add(told.append)
    monkeypatch.setattr(metrics, "count_callback_error", no_memory)
    for value in (1, 2):
        observers.tell(value)
    assert told == [1, 2]
