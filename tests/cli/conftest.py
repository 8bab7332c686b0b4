"""What the command line's tests share: running it, and a database file to read."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from recorder.store.sqlite import schema
from recorder.wire.export import COLUMNS, ExportRow

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def run(tmp_path: Path, project_root: Path) -> Run:
    """`run("query", "--json", stdin=b"", env={…})`: a process of its own, in a directory of its own."""

    def start(
        *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "recorder", *arguments],
            cwd=tmp_path,
            input=stdin,
            env={**os.environ, "PYTHONPATH": str(project_root), **(env or {})},
            capture_output=True,
            timeout=50,
            check=False,
        )

    return start


@pytest.fixture
def on_terminal(tmp_path: Path, project_root: Path) -> Callable[..., str]:
    """`on_terminal("-m", "recorder", …)`: what Python writes to a terminal of 120 columns, stdout and stderr."""

    def start(*arguments: str) -> str:
        master, slave = pty.openpty()
        try:
            subprocess.run(
                [sys.executable, *arguments],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(project_root), "COLUMNS": "120", "TERM": "xterm"},
                stdout=slave,
                stderr=slave,
                timeout=50,
                check=True,
            )
            return os.read(master, 65_536).decode()
        finally:
            os.close(master)
            os.close(slave)

    return start


@pytest.fixture
def ask(tmp_path: Path, project_root: Path) -> Callable[..., tuple[int, str]]:
    """`ask("y\\n", "erase", …)`: the command on a terminal on which that is typed; its exit code and what it wrote."""

    def start(typed: str, *arguments: str, columns: int = 120, pager: str | None = "cat") -> tuple[int, str]:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        paging = {} if pager is None else {"PAGER": pager}
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        with subprocess.Popen(
            [sys.executable, "-m", "recorder", *arguments],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(project_root), "TERM": "xterm", **paging},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        ) as process:
            os.close(slave)
            os.write(master, typed.encode())
            written = b""
            # Ends with EIO when the last process that had the terminal is gone.
            with suppress(OSError):
                while piece := os.read(master, 65_536):
                    written += piece
            code = process.wait(timeout=50)
        os.close(master)
        return code, written.decode().replace("\r\n", "\n")

    return start


AT = "2026-11-20T12:00:0{}.000Z"
BIG = "123456789012345678901234567890"
ROWS = [
    ExportRow(
        1, AT.format(0), "created", "a", None, '{"n":1}', AT.format(0), "i1", None, bytes(32), 0, b"\xd0" * 32
    ),
    ExportRow(
        2,
        AT.format(1),
        "updated",
        "b",
        '{\n"n": 1e2 }',
        '"x, \\"y\\""',
        AT.format(0),
        None,
        "broken",
        b"\xff" * 32,
    ),
    ExportRow(3, AT.format(2), "updated", "a", '{"n":1}', BIG, AT.format(0), None, None, None, 1),
    ExportRow(5, AT.format(3), "deleted", "ä,b", "[]", None, AT.format(0), None, None, None),
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file with `ROWS` and the recorder's own schema."""
    path = tmp_path / "sessions.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        schema.create(conn)
        insert(conn, ROWS)
    return path


def insert(conn: sqlite3.Connection, rows: list[ExportRow]) -> None:
    """Record rows as they are."""
    marks = ",".join("?" * len(COLUMNS))
    conn.executemany(
        f"INSERT INTO session_deltas({','.join(COLUMNS)}) VALUES ({marks})",
        [row[: len(COLUMNS)] for row in rows],
    )


@pytest.fixture
def free_port() -> int:
    """A port of the loopback nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def rows() -> list[ExportRow]:
    """What is in `database`."""
    return list(ROWS)


@pytest.fixture
def add_rows() -> Callable[[sqlite3.Connection, list[ExportRow]], None]:
    """Record more rows in a file."""
    return insert


class Server:
    """A recorder in a process of its own.

    Args:
        folder: Its working directory.
        root: The project's folder.
        flags: More flags of `serve`.
    """

    def __init__(self, folder: Path, root: Path, *flags: str) -> None:
        self.folder = folder
        self.errors = folder / "stderr"
        with self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recorder", "serve", "--port", "0", *flags],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(root)},
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self.process.stdout is not None
        self.payload = self.process.stdout.readline().decode()
        assert self.payload.startswith("listening on "), self.errors.read_text()
        self.url = self.payload.removeprefix("listening on ").strip()
        while httpx.get(f"{self.url}/readyz", trust_env=False).status_code != 200:
            assert self.process.poll() is None, self.errors.read_text()

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=30)
        finally:
            self.kill()


@pytest.fixture
def start_server(tmp_path: Path, project_root: Path) -> Iterator[Callable[..., Server]]:
    """`start_server("--persist")`: a recorder in `tmp_path`, which is stopped at the end."""
    started: list[Server] = []

    def start(*flags: str) -> Server:
        folder = tmp_path / f"server{len(started)}"
        folder.mkdir()
        started.append(Server(folder, project_root, *flags))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """A recorder that records."""
    return start_server("--persist")
