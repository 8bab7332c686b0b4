"""A reader that resumes from the beginning: counts what comes until it is live, as cheaply as it can.

The clock starts with the first piece that holds a delta and ends with the one that says `live`; where nothing says
so, with the one that holds the last delta.
"""

from __future__ import annotations

import time
from typing import Any

from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.frames import MarkerCounter
from bench_suite.polling import counter_of
from bench_suite.workers.commands import obey

PIECE_BYTES = 1 << 18
LAST_BYTES = 300
NEVER = b"\0nothing says that it is live\0"


def resume(
    opening: dict[str, Any], marker: str, live_marker: str, timeout_s: float, rows_due: int = 0
) -> dict[str, Any]:
    """Subscribes with this opening, up to the moment where it is live.

    Args:
        opening: how one gets everything that is recorded.
        marker: once in every delta.
        live_marker: in what says that it is live; empty where nothing does.
        timeout_s: how long nothing may come.
        rows_due: with an empty `live_marker`, how many deltas there are.
    Returns:
        `rows` that came before, and `seconds` from the first of them to `live`.
    Raises:
        BenchError: closed before that.
    """
    live = MarkerCounter(live_marker.encode() or NEVER, bytearray(2 * LAST_BYTES))
    made = Opening.from_json(opening)
    sock, rest = made.connect()
    sock.settimeout(timeout_s)
    rows = counter_of(made.polling, marker.encode(), bytearray(2 * PIECE_BYTES), sock)
    first_ns, data = 0, rest
    with sock:
        while True:
            # Taken before the piece is counted: what came with the first delta is on the clock, too.
            came_ns = time.monotonic_ns()
            rows.feed(data)
            # It is the last thing that is said, but for a heartbeat now and then.
            live.feed(data[-LAST_BYTES:])
            if not first_ns and rows.count:
                first_ns = came_ns
            if live.count or (not live_marker and rows.count >= rows_due):
                return {"rows": rows.count, "seconds": (time.monotonic_ns() - first_ns) / 1e9}
            if not (data := sock.recv(PIECE_BYTES)):
                raise BenchError(f"closed after {rows.count} deltas, before it was live")


if __name__ == "__main__":
    obey({"resume": resume})
