"""Verifying what is served by something that is no recorder, or a bad one: a verdict, never a traceback, and an end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.app import running_app

Answers = dict[str, Any]
PATHS = ("/api/head", "/api/receipts", "/api/stats", "/api/sessions", "/api/deltas")


async def served(folder: Path) -> Answers:
    """What a recorder answers that has erased something."""
    async with (
        running_app(folder) as app,
        httpx.AsyncClient(base_url=app.url, trust_env=False) as http,
    ):
        for session in ("a", "b"):
            await app.publish({"type": "created", "sessionId": session, "after": 1})
        await app.recorder.eraser.erase("a", "because")
        params = {"order": "asc"}
        return {
            path: (await http.get(path, params=params if "deltas" in path else {})).json() for path in PATHS
        }


class Impostor:
    """A server that answers so, whatever is asked.

    Args:
        answers: By path; one that is missing is not found.
    """

    def __init__(self, answers: Answers) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(urlsplit(self.path).path)
                body = json.dumps(answer).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Impostor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def put(*way: str | int, value: Any) -> Callable[[Answers], None]:
    """Puts a value into the answers; `...` takes what is there away."""

    def change(answers: Answers) -> None:
        at: Any = answers
        for step in way[:-1]:
            at = at[step]
        if value is ...:
            del at[way[-1]]
        else:
            at[way[-1]] = value

    return change


ENTRY = ("/api/deltas", "deltas", 0)
CHANGES = {
    "no entry": put(*ENTRY, value=7),
    "no delta": put(*ENTRY, "delta", value=...),
    "a session that is no text": put(*ENTRY, "delta", "sessionId", value=7),
    "a type that is no text": put(*ENTRY, "delta", "type", value=None),
    "a time that is no text": put(*ENTRY, "recordedAt", value=[]),
    "a number that is none": put(*ENTRY, "seq", value="1"),
    "a hash that is no text": put(*ENTRY, "hash", value=7),
    "digests that are none": put(*ENTRY, "erased", value=[]),
    "a digest that is no text": put(*ENTRY, "erased", "after", value=7),
    "a cursor that is no text": put("/api/deltas", "next", value=7),
    "no cursor": put("/api/deltas", "next", value=...),
    "the same page for ever": put("/api/deltas", "next", value="more"),
    "a cursor of sessions that is no text": put("/api/sessions", "next", value=7),
    "the same sessions for ever": put("/api/sessions", "next", value="more"),
    "no sessions": put("/api/sessions", "sessions", value=...),
    "sessions that are none": put("/api/sessions", "sessions", value=[7]),
    "a session without a name": put("/api/sessions", "sessions", 0, "sessionId", value=...),
    "a session with a count that is none": put("/api/sessions", "sessions", 0, "count", value="1"),
    "receipts that are none": put("/api/receipts", "prunes", value=7),
    "epochs that are none": put("/api/receipts", "epochs", value=[{"epoch": []}]),
    "a head that is none": put("/api/head", value={"seq": "x"}),
    "nothing at all": put("/api/receipts", value=...),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As JSON, to be taken apart anew by each test."""
    return json.dumps(asyncio.run(served(tmp_path_factory.mktemp("served"))))


def test_what_a_recorder_serves_is_intact_whoever_serves_it(
    invoke: Any, answers: str, tmp_path: Path
) -> None:
    (tmp_path / "head").write_text(json.dumps(json.loads(answers)["/api/head"]) + "\n")
    with Impostor(json.loads(answers)) as server:
        code, out, _ = invoke("doctor", "--url", server.url, "--expect", str(tmp_path / "head"), "--json")
    report = json.loads(out)
    assert (code, report["verdict"], report["checked"], report["erased"]) == (0, "intact", 2, 1), report


@pytest.mark.parametrize("name", CHANGES)
def test_what_no_recorder_answers_cannot_be_told_and_is_no_crash(
    invoke: Any, answers: str, name: str
) -> None:
    changed = json.loads(answers)
    CHANGES[name](changed)
    with Impostor(changed) as server:
        code, out, err = invoke("doctor", "--url", server.url, "--json")
    assert (code, json.loads(out)["verdict"], err) == (3, "cannot tell", "")


def test_a_bad_digest_of_a_served_entry_is_a_broken_chain(invoke: Any, answers: str) -> None:
    changed = json.loads(answers)
    put(*ENTRY, "erased", "after", value="00" * 32)(changed)
    with Impostor(changed) as server:
        code, out, _ = invoke("doctor", "--url", server.url, "--json")
    assert (code, json.loads(out)["firstBad"]["seq"]) == (1, 1)
