"""The clocks: the machine's, and the one that moves only when told."""

from __future__ import annotations

import time

from recorder.core.clock import Clock, FakeClock, SystemClock


def test_the_system_clock_gives_milliseconds_of_the_wall_and_seconds_that_never_go_back() -> None:
    clock: Clock = SystemClock()
    before, began = time.time(), clock.monotonic()
    shown = clock.now_ms()
    assert before * 1000 - 1 <= shown <= time.time() * 1000 + 1
    assert isinstance(shown, int)
    assert clock.monotonic() >= began


def test_a_fake_clock_stands_still_until_told() -> None:
    clock: Clock = FakeClock(start_ms=5)
    assert [clock.now_ms() for _ in range(3)] == [5, 5, 5]
    assert clock.monotonic() == 0.0


def test_a_fake_clock_advances_both_times() -> None:
    clock = FakeClock(start_ms=1000)
    clock.advance(1.5)
    assert (clock.now_ms(), clock.monotonic()) == (2500, 1.5)


def test_setting_the_wall_leaves_the_monotonic_clock_alone() -> None:
    clock = FakeClock(start_ms=1000)
    clock.advance(2)
    clock.set_wall_ms(10)
    assert (clock.now_ms(), clock.monotonic()) == (10, 2.0)


def test_a_thousand_small_steps_lose_no_millisecond() -> None:
    clock = FakeClock(start_ms=0)
    for _ in range(1000):
        clock.advance(0.001)
    assert clock.now_ms() == 1000
