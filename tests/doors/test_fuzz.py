"""The fuzzing script's own wire: its frames are frames, it reads close codes, and a short run finds nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from doorlib import fuzz_wire

from tests.support.app import running_app


def test_it_reads_the_code_that_a_connection_was_closed_with() -> None:
    head = b"HTTP/1.1 101 x\r\n\r\n"
    text = fuzz_wire.frame(0x81, b"x" * 200, is_masked=False)
    assert fuzz_wire.close_code(head + text) is None
    assert fuzz_wire.close_code(head + text + fuzz_wire.frame(0x88, b"\x03\xea", is_masked=False)) == 1002


async def test_in_a_hundred_connections_nothing_is_found(tmp_path: Path) -> None:
    # By their count, not by the clock: a busy machine may need a second to make the first one up.
    async with running_app(tmp_path) as app:
        assert await asyncio.to_thread(fuzz_wire.run, app.url, lambda count: count < 100) == 100
        await app.until_gone()
