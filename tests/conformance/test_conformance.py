"""The clients held to one list of cases: Python's, and JavaScript's in Node and in Chromium."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from recorder.client import (
    ChainBroken,
    Client,
    ClientOptions,
    Conflated,
    Delta,
    Disconnected,
    Erasure,
    Event,
    Heartbeat,
    Hello,
    Live,
    Reset,
    State,
)
from recorder.core.errors import ClientError
from tests.conformance.cases import CASES as FIRST_CASES
from tests.conformance.cases import Case
from tests.conformance.moving_on import MOVING_ON
from tests.conformance.script import ScriptedServer
from tests.support.browser import needs_chromium, running_browser
from tests.support.node import node
from tests.support.wire import PATIENCE

CASES = [*FIRST_CASES, *MOVING_ON]
NAMES = [case["name"] for case in CASES]
CHECKED = ("gets", "fails", "seq", "position", "duplicates", "violations", "status")


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedServer]:
    async with asyncio.timeout(2 * PATIENCE), ScriptedServer(CASES) as server:
        yield server


def compare(server: ScriptedServer, results: list[dict[str, Any]]) -> None:
    """That each case went as it must, and the server was asked what it must be."""
    wrong = {}
    for number, (case, result) in enumerate(zip(CASES, results, strict=True)):
        wanted = {name: case.get(name) for name in CHECKED if name in case or name in ("gets", "fails")}
        wanted["asked"] = [connection["since"] for connection in case["connections"]]
        # More may be asked once everything was heard: the client is not closed in the same instant.
        found = {**result, "asked": server.asked[number][: len(wanted["asked"])]}
        if found | wanted != found:
            wrong[case["name"]] = {"wanted": wanted, "found": found}
    assert wrong == {}, json.dumps(wrong, indent=2, ensure_ascii=False)


def test_the_cases_have_names_of_their_own() -> None:
    assert len(set(NAMES)) == len(NAMES) > 40
    assert json.loads(json.dumps(CASES)) == CASES


async def test_the_python_client() -> None:
    async with scripted() as server:
        results = await asyncio.gather(
            *[run_case(f"{server.url}/{number}", case) for number, case in enumerate(CASES)]
        )
        compare(server, list(results))


async def test_the_javascript_client_in_node() -> None:
    async with scripted() as server:
        process = await asyncio.create_subprocess_exec(
            *node(),
            str(Path(__file__).parent / "run.mjs"),
            server.url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            output, _ = await process.communicate(json.dumps(CASES).encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        compare(server, json.loads(output))


@needs_chromium
async def test_the_javascript_client_in_chromium() -> None:
    async with scripted() as server, running_browser() as browser:
        page = await browser.new_page()
        await page.goto(server.url)
        script = """async ([url, cases]) => {
            const { runAll } = await import("/run.mjs");
            return JSON.stringify(await runAll(await import("/client.js"), url, cases));
        }"""
        compare(server, json.loads(await page.evaluate(script, [server.url, CASES])))


async def run_case(url: str, case: Case) -> dict[str, Any]:
    """A case with the Python client."""
    options = ClientOptions(backoff_base_s=0.0, backoff_cap_s=0.0)
    got: list[str] = []
    result: dict[str, Any] = {"gets": got, "fails": None, "seq": None}
    async with Client(url, options=options) as client:
        events = client.subscribe(**case["options"])
        try:
            while len(got) < len(case["gets"]) or case.get("fails"):
                got.append(shown(await anext(events)))
        except ClientError as error:
            result["fails"] = type(error).__name__
            if isinstance(error, ChainBroken):
                result["seq"] = error.seq
        position = None if events.position is None else str(events.position)
        result |= {"position": position, "status": str(events.freshness)}
        return result | {"duplicates": events.duplicates, "violations": events.violations}


def shown(event: Event) -> str:
    """An event in short, as the cases have it."""
    match event:
        case Hello():
            return f"hello {event.epoch} {event.head}"
        case Delta():
            after = "-" if event.after_raw is None else event.after_raw.decode()
            proof = "" if event.proof is None else f" {event.proof}"
            return f"delta {event.seq} {event.session_id} {after}{proof}"
        case State():
            return f"state {event.seq} {event.session_id} {event.state_raw.decode()}"
        case Live():
            return f"live {event.seq}"
        case Reset():
            oldest = "-" if event.oldest is None else event.oldest
            return f"reset {event.reason} {event.epoch} {oldest} {event.head}"
        case Heartbeat():
            return f"heartbeat {event.head} {event.durable}"
        case Erasure():
            return f"erased {event.session_id} {event.through} {event.count}"
        case Conflated():
            return f"conflated {event.since} {event.to} {event.count}"
        case Disconnected():
            return "disconnected"
        case _:
            return type(event).__name__.lower()
