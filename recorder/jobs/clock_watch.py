"""The wall clock, watched: steps, a clock behind what is recorded, and a time that pruning should not believe.

Times of recording never go back. While the clock is behind the newest of them, every record gets that same time, so
searches by time find nothing: that is logged, counted and shown for as long as it lasts.

Pruning by age removes what is older than "now" minus the retention, so a clock that is years ahead would remove
everything. "Now" is believed only as far as something vouches for it: the newest record at the start, and from then on
the monotonic clock. Where it is more than `TOLERANCE_MS` ahead of that, pruning by age waits for a person's word.
The doubt outlives the process: a record made while the clock was wrong must not vouch for it at the next start.

Left out: who is right. Only a person can say, with TRUST_CLOCK or `recorder prune --trust-clock`.
"""

from __future__ import annotations

from collections.abc import Callable

from loguru import logger

from recorder.core.clock import Clock
from recorder.core.metrics import Metrics
from recorder.core.timestamps import format_ms, is_fixed, parse_ms

DAY_MS = 86_400_000
TOLERANCE_MS = 7 * DAY_MS
"""How far ahead of what vouches for it the clock may be: a week without a record is nothing unusual."""
STEP_MS = 1000
"""A wall clock that moves this much differently from the monotonic one between two looks was set."""
BEHIND_MS = 1000
"""From here on a clock behind the newest record is a warning: NTP sets clocks by less all the time."""


class ClockWatch:
    """A periodic comparison of the wall clock with the newest record.

    Args:
        clock: The clock that is watched.
        metrics: Counts steps.
        newest: Tells when the newest record was recorded (fixed-width form); "" where there is none.
        doubted_since: The time that was last believed, where an earlier process was in doubt; "" for none.
        is_trusted: Whether a person has said that the clock is right.
        on_step: Called after the clock was set.
    """

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        newest: Callable[[], str],
        *,
        doubted_since: str = "",
        is_trusted: bool = False,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._newest = newest
        self._is_trusted = is_trusted
        self._is_behind = False  # whether that was logged
        self._offset_ms = self._read_offset()  # between the two clocks, at the last look
        if not is_fixed(doubted_since):
            doubted_since = ""  # none, or the file was edited
        vouched = doubted_since or newest()
        # The latest wall time that something vouches for, and the monotonic time at which it did.
        self._believed_ms = parse_ms(vouched) if vouched else clock.now_ms()
        self._believed_at = clock.monotonic()
        self.doubted_since = doubted_since  # as it is kept for the next start
        self.on_step = on_step

    @property
    def behind_ms(self) -> int:
        """Milliseconds that the clock is behind the newest record; 0 where it is not."""
        newest = self._newest()
        return max(0, parse_ms(newest) - self._clock.now_ms()) if newest else 0

    @property
    def believed_until(self) -> str:
        """The latest time that is believed (fixed-width form)."""
        return format_ms(self._believed_ms + self._elapsed_ms())

    def doubt(self) -> str | None:
        """Return why "now" should not be believed, or None where it may be."""
        ahead = self._look_ahead()
        if self._is_trusted or ahead <= TOLERANCE_MS:
            return None
        return (
            f"the clock says {format_ms(self._clock.now_ms())}, {ahead // DAY_MS} days later than"
            f" {self.believed_until}, which is what the recording and the time since the start make likely"
        )

    def trust(self) -> None:
        """Trust the clock from now on: an operator has confirmed that it is right."""
        self._believed_ms, self._believed_at = self._clock.now_ms(), self._clock.monotonic()

    def look(self) -> None:
        """Check the clock for a step, and whether it is behind the newest record."""
        self._look_ahead()
        offset, before = self._read_offset(), self._offset_ms
        self._offset_ms = offset
        if abs(step := offset - before) >= STEP_MS:
            self._note_step(step)
        self._note_behind()

    def _note_step(self, step_ms: int) -> None:
        direction = "forward" if step_ms > 0 else "back"
        self._metrics.clock_steps[direction] += 1
        # Forward may be a machine that slept: the monotonic clock stands still meanwhile.
        logger.bind(seconds=step_ms / 1000).warning(f"the clock was set {direction}")
        self.on_step()

    def _note_behind(self) -> None:
        behind = self.behind_ms
        if behind > BEHIND_MS and not self._is_behind:
            self._is_behind = True
            logger.bind(seconds=behind / 1000, newest=self._newest()).warning(
                "the clock is behind the newest record: until it has caught up, every record gets that time"
            )
        elif behind == 0 and self._is_behind:
            self._is_behind = False
            logger.info("the clock has caught up with the newest record")

    def _look_ahead(self) -> int:
        """Return the milliseconds that the clock is ahead of what is believed; where that is plausible, believe it."""
        now = self._clock.now_ms()
        ahead = now - self._believed_ms - self._elapsed_ms()
        if 0 < ahead <= TOLERANCE_MS:
            self.trust()
        return ahead

    def _elapsed_ms(self) -> int:
        return round((self._clock.monotonic() - self._believed_at) * 1000)

    def _read_offset(self) -> int:
        return self._clock.now_ms() - round(self._clock.monotonic() * 1000)
