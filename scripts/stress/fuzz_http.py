"""schemathesis on the HTTP API: every operation that the recorder describes, asked rightly and wrongly, as an admin.

What is answered must be what the description says: its status, its headers, its content type, its schema.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import orjson

from stress.fuzz_server import ADMIN, Server

BEARER = {"Authorization": f"Bearer {ADMIN}"}
CONFIG = """[checks]
enabled = true
# A cursor is opaque: no schema can tell one that was given out from one that was not. Everything else is checked there.
{operations}"""
_WITH_CURSOR = ("GET /api/deltas", "GET /api/deltas/{sessionId}", "GET /api/sessions")
_OPERATION = """
[[operations]]
include-name = "{name}"
checks.positive_data_acceptance.enabled = false
"""


async def for_seconds(seconds: float, folder: Path, schemathesis: Path) -> bool:
    """Run it; whether something was found.

    Args:
        seconds: For how long.
        folder: For the recorder, and for what schemathesis writes.
        schemathesis: The program.
    """
    async with Server(folder, tokens=True) as server:
        await _fill(server.url)
        command = [
            str(schemathesis), "run", f"{server.url}/api/openapi.json",
            # A stream has no end.
            "--exclude-path", "/api/stream",
            "--header", f"Authorization: Bearer {ADMIN}", "--max-time", str(max(1, int(seconds))),
            "--continue-on-failure", "--request-timeout", "30",
        ]  # fmt: skip
        operations = "".join([_OPERATION.format(name=name) for name in _WITH_CURSOR])
        (folder / "schemathesis.toml").write_text(CONFIG.format(operations=operations))
        # It reads that where it runs, and leaves a cache there.
        process = await asyncio.create_subprocess_exec(*command, cwd=folder)
        found = bool(await process.wait())
        faults = server.faults()
        print("\n".join(["fuzz: schemathesis has ended", *faults]), flush=True)
        return found or bool(faults)


async def _fill(url: str) -> None:
    """Record something, so that there is something to be asked for."""
    async with httpx.AsyncClient(base_url=url, headers=BEARER, trust_env=False) as http:
        deltas = [
            {"type": "updated", "sessionId": f"s{n % 9}", "after": {"n": n, "list": [n]}} for n in range(300)
        ]
        answer = await http.post(
            "/api/deltas", content=orjson.dumps(deltas), headers={"content-type": "application/json"}
        )
        answer.raise_for_status()
