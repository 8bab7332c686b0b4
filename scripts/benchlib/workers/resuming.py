"""A reader that resumes from the beginning: counts what comes until it is live, as cheaply as it can.

The clock starts with the first piece that holds a delta and ends with the one that says `live`.
"""

from __future__ import annotations

import time
from typing import Any

from benchlib.connecting import Opening
from benchlib.errors import BenchError
from benchlib.frames import MarkerCounter
from benchlib.workers.commands import obey

PIECE_BYTES = 1 << 18
LAST_BYTES = 300


def resume(opening: dict[str, Any], marker: str, live_marker: str, timeout_s: float) -> dict[str, Any]:
    """Subscribes with this opening, up to the moment where it is live.

    Returns:
        `rows` that came before, and `seconds` from the first of them to `live`.
    Raises:
        BenchError: closed before that.
    """
    rows = MarkerCounter(marker.encode(), bytearray(2 * PIECE_BYTES))
    live = MarkerCounter(live_marker.encode(), bytearray(2 * LAST_BYTES))
    sock, rest = Opening.from_json(opening).connect()
    sock.settimeout(timeout_s)
    first_ns, data = 0, rest
    with sock:
        while True:
            rows.feed(data)
            # It is the last thing that is said, but for a heartbeat now and then.
            live.feed(data[-LAST_BYTES:])
            now = time.monotonic_ns()
            if not first_ns and rows.count:
                first_ns = now
            if live.count:
                return {"rows": rows.count, "seconds": (now - first_ns) / 1e9}
            if not (data := sock.recv(PIECE_BYTES)):
                raise BenchError(f"closed after {rows.count} deltas, before it was live")


if __name__ == "__main__":
    obey({"resume": resume})
