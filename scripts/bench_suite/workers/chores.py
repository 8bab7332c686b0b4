"""The load on a server while latency is measured: snapshots, prunes, exports, resumes from the start.

Each kind runs in a thread of its own, again and again until the time is over; none is cut short. The process
is niced, so that on a small machine what is measured is the server's contention and not this client's. Left
out: any look at what an export or a resume carries, beyond counting it.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.frames import MarkerCounter
from bench_suite.workers.commands import obey

REQUEST_TIMEOUT_S = 60.0
PAUSE_S = 0.25
PIECE_BYTES = 1 << 18


class Chores:
    """The kinds of work, and what came of each run of them."""

    def __init__(self, host: str, port: int, resume: dict[str, Any], marker: str, live_marker: str) -> None:
        """Takes where the server is, how a resume is opened, and what a delta and history's end look like."""
        self._address = (host, port)
        self._resume = Opening.from_json(resume)
        self._marker = marker.encode()
        self._live_marker = live_marker.encode()
        # One entry a run: what, how long, and what it came to.
        self.done: list[dict[str, Any]] = []
        self.problems: list[str] = []

    def again_and_again(self, kind: str, job: Callable[[], dict[str, Any]], until: float) -> None:
        """Runs `job` until the time is over (monotonic seconds), and at least once."""
        while True:
            begin = time.monotonic()
            try:
                came_to = job()
            # The thread's boundary: whatever fails is the run's problem, and is told as one.
            except Exception as error:
                self.problems.append(f"{kind}: {type(error).__name__}: {error}")
                return
            self.done.append({"kind": kind, "seconds": time.monotonic() - begin, **came_to})
            if time.monotonic() + PAUSE_S >= until:
                return
            time.sleep(PAUSE_S)

    def post(self, target: str, body: dict[str, Any]) -> dict[str, Any]:
        """POSTs JSON.

        Returns:
            The answer, as `answer`.
        Raises:
            BenchError: any status but a 2xx.
        """
        connection = http.client.HTTPConnection(*self._address, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request("POST", target, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status // 100 != 2:
            raise BenchError(f"POST {target}: {answer.status} {text[:300]}")
        return {"answer": text[:300]}

    def export(self) -> dict[str, Any]:
        """Takes a whole export.

        Returns:
            Its `rows`.
        """
        connection = http.client.HTTPConnection(*self._address, timeout=REQUEST_TIMEOUT_S)
        rows = 0
        try:
            connection.request("GET", "/api/export")
            answer = connection.getresponse()
            if answer.status != 200:
                raise BenchError(f"GET /api/export: {answer.status} {answer.read(300)!r}")
            while data := answer.read1(PIECE_BYTES):
                rows += data.count(b"\n")
        finally:
            connection.close()
        return {"rows": rows}

    def resume(self) -> dict[str, Any]:
        """Subscribes from the beginning, up to the moment where it is live.

        Returns:
            How many `rows` came before.
        """
        sock, rest = self._resume.connect()
        sock.settimeout(REQUEST_TIMEOUT_S)
        buffer = bytearray(PIECE_BYTES)
        rows, live = (
            MarkerCounter(self._marker, buffer),
            MarkerCounter(self._live_marker, bytearray(PIECE_BYTES)),
        )
        rows.feed(rest)
        live.feed(rest)
        with sock:
            while not live.count:
                if not (data := sock.recv(PIECE_BYTES - 64)):
                    raise BenchError(f"closed after {rows.count} deltas, before it was live")
                rows.feed(data)
                live.feed(data)
        return {"rows": rows.count}


def run(
    server: dict[str, Any], seconds: float, prunes: list[tuple[float, str]], begin_ns: int
) -> dict[str, Any]:
    """Keeps a server busy from `begin_ns` (monotonic clock) for `seconds`.

    Args:
        server: the arguments of `Chores`.
        seconds: how long; what has begun by then is brought to its end.
        prunes: (seconds after the beginning, older than this time) of each prune.
        begin_ns: when.
    """
    chores = Chores(**server)
    begin = begin_ns / 1e9
    until = begin + seconds

    def all_prunes() -> None:
        for delay, older_than in prunes:
            time.sleep(max(0.0, begin + delay - time.monotonic()))
            body = {"olderThan": older_than}
            # Until the past: once.
            chores.again_and_again("prune", partial(chores.post, "/api/admin/prune", body), 0)

    jobs = {
        "snapshot": partial(chores.post, "/api/admin/snapshot", {}),
        "export": chores.export,
        "resume": chores.resume,
    }
    threads = [threading.Thread(target=chores.again_and_again, args=(*job, until)) for job in jobs.items()]
    threads.append(threading.Thread(target=all_prunes))
    time.sleep(max(0.0, begin - time.monotonic()))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"done": chores.done, "problems": chores.problems}


if __name__ == "__main__":
    os.nice(10)
    obey({"run": run})
