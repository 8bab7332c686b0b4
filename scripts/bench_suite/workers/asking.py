"""Asks over HTTP, one question after the other on one connection that is kept, and notes how long each answer took."""

from __future__ import annotations

import http.client
import re
import time
from typing import Any

from bench_suite.errors import BenchError
from bench_suite.figures import percentile
from bench_suite.workers.commands import obey

TIMEOUT_S = 60.0
NEXT = "next"
"""Instead of a target: the page behind the last answer, by its cursor."""
_CURSOR = re.compile(rb'"next":"([^"]+)"}$')


def ask(host: str, port: int, targets: list[str], marker: str) -> dict[str, Any]:
    """GETs each target, whole.

    Args:
        host, port: where.
        targets: paths with queries, in this order; or NEXT.
        marker: counted in the answers.

    Returns:
        `p50_ms`, `p99_ms` and `max_ms` from the request to the last byte of its answer, and how often the marker was
        `found`.
    Raises:
        BenchError: any answer but a 200, or no further page.
    """
    times_ms, found, wanted, target, body = [], 0, marker.encode(), "", b""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        for asked in targets:
            target = _following(target, body) if asked == NEXT else asked
            begin = time.monotonic_ns()
            connection.request("GET", target)
            answer = connection.getresponse()
            body = answer.read()
            times_ms.append((time.monotonic_ns() - begin) / 1e6)
            if answer.status != 200:
                raise BenchError(f"GET {target}: {answer.status} {body[:300]!r}")
            found += body.count(wanted)
    finally:
        connection.close()
    times_ms.sort()
    return {
        "p50_ms": percentile(times_ms, 50),
        "p99_ms": percentile(times_ms, 99),
        "max_ms": times_ms[-1],
        "found": found,
    }


def _following(target: str, body: bytes) -> str:
    match = _CURSOR.search(body)
    if match is None:
        raise BenchError(f"no page follows GET {target}")
    return f"{target.partition('&cursor=')[0]}&cursor={match[1].decode()}"


if __name__ == "__main__":
    obey({"ask": ask})
