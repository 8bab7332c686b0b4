"""The measure of what slow readers cost, in short."""

from __future__ import annotations

from stress import slow_readers

SOON_SLOW = ("--slow-soft-bytes=65536", "--slow-hard-bytes=262144")


async def test_it_measures_while_readers_are_found_slow_and_from_then_on() -> None:
    first, then = await slow_readers.one("conflate", 3, 1000, SOON_SLOW)
    assert (first.deltas >= 1000, then.deltas) == (True, 1000)
    assert min(first.wall, then.wall, first.rate, then.rate) > 0


def test_each_figure_stands_beside_that_without_readers() -> None:
    shown = slow_readers.table(
        {
            "none": [(slow_readers.Stretch(1000, 0.1, 0.02), slow_readers.Stretch(1000, 0.2, 0.02))],
            "close": [(slow_readers.Stretch(1000, 0.2, 0.03), slow_readers.Stretch(1000, 0.2, 0.02))],
        },
        3,
    )
    assert "| close | at first | 5,000 | 0.50 | 30.0 | 1.50 |" in shown
    assert "| close | from then on | 5,000 | 1.00 | 20.0 | 1.00 |" in shown
