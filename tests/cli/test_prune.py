"""`recorder prune` of a running recorder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

Invoke = Callable[..., tuple[int, bytes, str]]


def publish(url: str, count: int) -> None:
    deltas = [{"type": "created", "sessionId": f"s{n}", "after": n} for n in range(count)]
    assert httpx.post(f"{url}/api/deltas", json=deltas, trust_env=False).status_code == 201


def test_what_is_older_is_removed_and_counted(invoke: Invoke, server: Any) -> None:
    publish(server.url, 3)
    code, out, _ = invoke("prune", "--older-than", "1d", "--url", server.url)
    assert (code, json.loads(out)["deleted"]) == (0, 0)
    code, out, _ = invoke("prune", "--older-than", "9999-01-01T00:00:00Z", "--url", server.url)
    assert (code, json.loads(out)["deleted"]) == (0, 3)
    assert invoke("query", "--url", server.url) == (0, b"", "")


def test_without_a_time_the_settings_decide(invoke: Invoke, start_server: Callable[..., Any]) -> None:
    server = start_server("--persist", "--max-deltas", "2")
    publish(server.url, 5)
    # It may have pruned by itself a moment earlier: what counts is what is left.
    assert invoke("prune", "--url", server.url)[0] == 0
    left = [json.loads(line)["seq"] for line in invoke("query", "--url", server.url)[1].splitlines()]
    assert left == [5, 4]
