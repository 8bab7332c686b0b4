"""Smoke test of an installed recorder: serve, publish a delta, read it back, stop, find it in the file; the dashboard
and the JavaScript client with everything that they import.

    python scripts/smoke.py path/to/recorder

Knows the recorder only from outside (its program, HTTP, the file it leaves), and needs the standard library
alone, so that it can run in an environment that holds the wheel and nothing else. Leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

TIMEOUT_S = 30.0
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
SESSION = "smoke"
# A number that a detour through floats or a re-encoding would change, and spaces that it would drop.
AFTER = '{"n": 123456789012345678901234567890, "e": 1.0e+2}'
DELTA = f'{{"type":"created","sessionId":"{SESSION}","after":{AFTER}}}'
ROWS = "SELECT id, session_id, delta_type, after_state FROM session_deltas"

# What a page loads, and what a module imports; comments may speak of other modules and are left out.
LOADS = re.compile(r"""<(?:link|script|img)\b[^>]*\b(?:href|src)="([^"]+)""")
IMPORTS = re.compile(
    r"""^\s*(?:import\s*|(?:import|export)\b[^;"'=]*?\bfrom\s*)["']([^"']+)["'];""", re.MULTILINE
)
COMMENTS = re.compile(r"/\*.*?\*/|^\s*//.*?$", re.DOTALL | re.MULTILINE)


class Failed(Exception):
    """A check that failed: the expected result and the actual one."""


class Server:
    """A `recorder serve` of our own, its output kept for the report of a failure."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url: str | None = None
        # Set when the address is known, and when there is no more output to find it in.
        self.settled = threading.Event()

    def read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            found = LISTENING.search(line)
            if found and self.url is None:
                self.url = found[1]
                self.settled.set()
        self.settled.set()

    def wait_until_ready(self) -> str:
        """The base url, once `/readyz` is green."""
        if not self.settled.wait(TIMEOUT_S) or self.url is None:
            raise Failed("no line `listening on http://127.0.0.1:PORT` in the server's output")
        deadline = time.monotonic() + TIMEOUT_S
        while (answer := get(f"{self.url}/readyz"))[0] != 200:
            if time.monotonic() > deadline:
                raise Failed(f"/readyz is still {answer[0]} after {TIMEOUT_S:.0f} s: {answer[1]}")
            time.sleep(0.05)
        return self.url

    def stop(self) -> None:
        """SIGTERM, and the exit code must be 0."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"still running {TIMEOUT_S:.0f} s after SIGTERM") from None
        if code != 0:
            raise Failed(f"exit code {code} after SIGTERM")


def get(url: str) -> tuple[int, str]:
    """Status and body of a GET that no proxy of the environment gets to see."""
    return get_typed(url)[:2]


def get_typed(url: str) -> tuple[int, str, str]:
    """Return the same, and the kind of content."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read().decode(), answer.headers.get_content_type()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers.get_content_type()


@contextmanager
def running(program: str, folder: Path, environment: dict[str, str]) -> Iterator[Server]:
    """A server in `folder`; ended by force when the block fails, its output shown then."""
    process = subprocess.Popen(
        [program, "serve", "--port", "0"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process)
    reader = threading.Thread(target=server.read_output, name="smoke-output")
    reader.start()
    try:
        yield server
    except BaseException:
        process.kill()
        reader.join()
        print("".join(server.lines), end="", file=sys.stderr)
        raise
    finally:
        process.kill()
        process.wait()
        reader.join()


def publish(program: str, url: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [program, "publish", "-", "--url", url],
        cwd=folder,
        env=environment,
        input=DELTA + "\n",
        text=True,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"`recorder publish -` ended with {done.returncode}: {done.stderr or done.stdout}")


def check_history(url: str) -> None:
    status, body = get(f"{url}/api/deltas/{SESSION}")
    if status != 200:
        raise Failed(f"GET /api/deltas/{SESSION}: {status} {body}")
    seqs = [row["seq"] for row in json.loads(body)["deltas"]]
    if seqs != [1] or AFTER not in body:
        raise Failed(f"GET /api/deltas/{SESSION}: not the one delta, byte for byte: {body}")


def check_page(url: str) -> int:
    """The page, the client, and whatever they load or import, are served as what they are; how many files that is."""
    waiting, seen = [f"{url}/", f"{url}/client.js"], set()
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        status, body, kind = get_typed(address)
        wanted = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        if status != 200 or kind != wanted.get(os.path.splitext(address)[1], "text/html"):
            raise Failed(f"GET {address}: {status} {kind}")
        found = LOADS.findall(body) if kind == "text/html" else IMPORTS.findall(COMMENTS.sub("", body))
        waiting += [urllib.parse.urljoin(address, name) for name in found if not kind.startswith("image/")]
    if f"{url}/assets/main.js" not in seen or f"{url}/client/subscription.js" not in seen:
        raise Failed(f"the page or the client loads nothing: {sorted(seen)}")
    return len(seen)


def check_file(path: Path) -> None:
    if not path.exists():
        raise Failed(f"no {path.name} after the stop")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT id, session_id, delta_type, after_state FROM session_deltas"
        ).fetchall()
    if rows != [(1, SESSION, "created", AFTER)]:
        raise Failed(f"{path.name} holds {rows}")


def smoke(program: str) -> int:
    """The whole way of one delta, and the page; of how many files that is made.

    Raises:
        Failed: Where something is not as a user has it promised.
    """
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment["PERSIST"] = "1"
    with tempfile.TemporaryDirectory(prefix="recorder-smoke-") as name:
        folder = Path(name)
        with running(program, folder, environment) as server:
            url = server.wait_until_ready()
            publish(program, url, folder, environment)
            check_history(url)
            files = check_page(url)
            server.stop()
        check_file(folder / "data" / "sessions.sqlite")
    return files


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python scripts/smoke.py path/to/recorder", file=sys.stderr)
        return 2
    try:
        files = smoke(os.path.abspath(sys.argv[1]))
    except Failed as failure:
        print(f"smoke: {failure}", file=sys.stderr)
        return 1
    print(
        f"smoke: served, published, read back, stopped, found on disk; the dashboard and its client: {files} files"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
