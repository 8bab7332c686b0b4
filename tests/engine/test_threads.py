"""A pool of threads that run before they are needed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from recorder.engine.threads import started_pool


def test_a_started_pool_works_where_no_further_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with started_pool(3, "test") as pool:
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        together = threading.Barrier(3)
        done = [pool.submit(together.wait, 30) for _ in range(3)]
        assert sorted(future.result() for future in done) == [0, 1, 2]


def test_a_pool_that_cannot_start_all_its_threads_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    real, started = threading.Thread.start, []

    def two_at_most(self: threading.Thread, *args: Any) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(self)
        real(self, *args)

    monkeypatch.setattr(threading.Thread, "start", two_at_most)
    with pytest.raises(RuntimeError, match="can't start"):
        started_pool(3, "test")
    for thread in started:
        thread.join(30)
        assert not thread.is_alive()
