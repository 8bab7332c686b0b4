"""With DURABILITY=commit a publisher is told "not recorded" only where that stays true after a crash."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from recorder.crashtest.strace import NoStrace, attached
from recorder.store.sqlite.commit_log import segment_files
from tests.support.server import ServerProcess

DELTA = {"type": "updated", "sessionId": "s", "after": 1}


def post(server: ServerProcess, **fields: object) -> httpx.Response:
    return httpx.post(f"{server.url}/api/deltas", json=DELTA | fields, timeout=60)


def recorded(server: ServerProcess) -> list[tuple[int, int]]:
    answer = httpx.get(f"{server.url}/api/deltas", timeout=60).json()
    return sorted((each["seq"], each["delta"]["after"]) for each in answer["deltas"])


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("cut_fails", [True, False])
async def test_a_delta_that_a_crash_may_bring_back_is_not_called_not_recorded(
    tmp_path: Path, cut_fails: bool
) -> None:
    with ServerProcess(tmp_path, "--persist", "--durability", "commit") as server:
        assert post(server, after=1, id="one").status_code == 201
        (segment,) = segment_files(server.database)
        calls = ("fdatasync", "ftruncate") if cut_fails else ("fdatasync",)
        try:
            async with attached(server.pid, tmp_path, [segment.path], calls, f"{','.join(calls)}:error=EIO"):
                answer = post(server, after=2, id="two").json()
                server.kill()
        except NoStrace as error:
            pytest.skip(str(error))
        assert answer["status"] == 503
        if cut_fails:
            assert answer["code"] == "outcome_unknown"
            assert "not known whether this is recorded" in answer["detail"]
            assert "same ids" in answer["hint"]
        else:
            assert answer["code"] == "store_error"
            assert "not recorded" in answer["detail"]
        server.start()
        assert recorded(server) == ([(1, 1), (2, 2)] if cut_fails else [(1, 1)])
        # Who follows the hint has it once, in either case.
        again = post(server, after=2, id="two").json()
        assert again["seq"] == 2
        assert again.get("duplicates", 0) == int(cut_fails)
        assert recorded(server) == [(1, 1), (2, 2)]
