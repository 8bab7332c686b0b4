"""A recorder that runs out of memory records all of a publish or none of it, and goes on when there is memory again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from recorder.core.chain import GENESIS
from tests.support.store import file_rows, verify_chain

CHILD = """
import asyncio, json, resource, sys
from pathlib import Path
from recorder.app import open_recorder
from recorder.config.settings import load_settings
from recorder.core.errors import RecorderError

def used():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

async def main(path):
    outcomes = {"acked": 0, "refused": 0}
    settings = load_settings(persist="1", db_path=path, key_file="none", max_memory="1000000000")
    async with open_recorder(settings) as recorder:
        frame = json.dumps([{"type": "updated", "sessionId": f"s{n}", "after": "x" * 20_000} for n in range(100)])
        await recorder.publish(frame.encode())
        for room in range(0, 40, 2):
            # A little more each time, so that it fails at ever another place.
            resource.setrlimit(resource.RLIMIT_AS, (used() + room * 300_000, resource.RLIM_INFINITY))
            try:
                for _ in range(3):
                    accepted = await recorder.publish(frame.encode())
                    outcomes["acked"] = accepted.seq
            except (MemoryError, RecorderError) as error:
                outcomes["refused"] += 1
                last = error
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            if recorder.recording.fatal_error is not None:
                break
        try:
            accepted = await recorder.publish(b'{"type":"updated","sessionId":"after","after":1}')
            outcomes["acked"] = accepted.seq
            result = await recorder.recording.snapshot()
            outcomes["durable"] = result.head
        except RecorderError as error:
            outcomes["failed"] = str(error)
        print(json.dumps(outcomes), flush=True)

asyncio.run(main(sys.argv[1]))
"""


def test_what_a_lack_of_memory_broke_off_leaves_no_hole_in_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "data" / "x.sqlite"
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, timeout=300
    )
    assert child.stdout, child.stderr[-2000:]
    outcomes = json.loads(child.stdout)
    assert outcomes["refused"] > 0, outcomes
    rows = file_rows(path)
    # Either it recovered, and everything acked is there, or it stopped and said so; a hole there is never.
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    verify_chain(rows, GENESIS)
    if "failed" not in outcomes:
        assert len(rows) == outcomes["durable"] == outcomes["acked"]
