"""Redis Streams as a peer: one XADD a delta, pipelined, with the append-only file on; read with XREAD.

`redis-everysec` syncs its file once a second (an answer does not mean that it is on disk: up to a second can be lost);
`redis-always` syncs before it answers. An entry carries the delta's JSON text in one field; an array of deltas is that
many XADDs in one write. The publisher gives the entries' ids, so that answers can be counted frame by frame: that of a
frame's last delta ends in `-7`, all others in `-5`. Nothing here validates, links or keeps states.

A stream pushes nothing: a reader waits in XREAD for what comes after the last id it has, gets up to CHUNK entries,
and asks again. In its favour: readers have their ids without looking for them, and the append-only file is not
rewritten during a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_suite.connecting import Opening
from bench_suite.errors import BenchError
from bench_suite.frames import groups
from bench_suite.needs import Needs, find_program
from bench_suite.payload import STAMP_DIGITS, STAMP_PREFIX
from bench_suite.polling import Polling
from bench_suite.processes import Server, child_environment
from bench_suite.systems.base import About
from bench_suite.systems.ports import await_answer, free_port

PROGRAM = "redis-server"
KEY = b"deltas"
# Ids are as long as those that Redis would give (milliseconds since 1970), and all of one length.
BEFORE_ANY = 10**12
CHUNK = 1000
ASK_TIMEOUT_S = 20.0


class RunningRedis:
    """A Redis that listens."""

    # What stands before the delta in every entry: its one field's name.
    delivery_marker = b"*2\r\n$1\r\nd\r\n"
    ack_marker = b"-7\r\n"
    error_marker = b"-ERR "
    history_marker = delivery_marker
    # It can't snapshot, prune, export or resume as the recorder does.
    chores: dict[str, Any] | None = None

    def __init__(self, server: Server, port: int) -> None:
        """Takes the process and where it listens."""
        self.server = server
        self.publish = Opening("127.0.0.1", port, ((command(b"PING"), b"+PONG\r\n"),))
        self.subscribe = replace(self.publish, polling=_polling())

    def history(self) -> Opening:
        """Return how one reads all entries from the first: as a reader that has none yet."""
        return self.subscribe

    def recorded_count(self) -> int | None:
        """XLEN of the stream."""
        sock, _ = self.publish.connect()
        with sock:
            sock.settimeout(ASK_TIMEOUT_S)
            sock.sendall(command(b"XLEN", KEY))
            return int(sock.recv(64).strip()[1:])


class Redis:
    """One way of syncing its append-only file.

    Args:
        policy: `everysec` or `always`.
    """

    needs = Needs(program=PROGRAM, apt="redis-server")

    def __init__(self, policy: str) -> None:
        """Takes the policy of `appendfsync`."""
        self._policy = policy
        self.name = f"redis-{policy}"
        self.about = About(
            records="yes, as entries of a stream",
            durable="a second may be lost" if policy == "everysec" else "each answer",
            ordered="yes, numbered",
            resumes="yes, by asking from an id",
            note="pushes nothing: readers ask again after each answer; no validation, no chain, no states, no history by"
            " session",
        )

    @contextmanager
    def start(self, workdir: Path) -> Iterator[RunningRedis]:
        """A Redis with its files in `workdir`, without snapshots of its own.

        Raises:
            BenchError: redis-server is not installed, or did not come up.
        """
        program = find_program(PROGRAM)
        if program is None:
            raise BenchError(f"{PROGRAM} is not installed (Debian: apt-get install redis-server)")
        port = free_port()
        argv = [
            program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(workdir), "--save", "",
            "--appendonly", "yes", "--appendfsync", self._policy, "--protected-mode", "no",
            "--auto-aof-rewrite-percentage", "0",
        ]  # fmt: skip
        with Server(argv, child_environment(), workdir) as server:
            running = RunningRedis(server, port)
            await_answer(server, running.publish)
            yield running

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """One write each: `per_frame` XADDs."""
        return [_frame(group) for group in groups(deltas, per_frame)]


def command(*words: bytes) -> bytes:
    """A command in Redis' protocol (RESP2): an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)]
    return b"".join(parts)


def _frame(deltas: list[bytes]) -> bytes:
    last = len(deltas) - 1
    return b"".join(
        command(
            b"XADD", KEY, b"%d-%d" % (BEFORE_ANY + 1 + _number(delta), 7 if at == last else 5), b"d", delta
        )
        for at, delta in enumerate(deltas)
    )


def _number(delta: bytes) -> int:
    start = delta.index(STAMP_PREFIX) + len(STAMP_PREFIX)
    return int(delta[start : start + STAMP_DIGITS])


def _polling() -> Polling:
    """XREAD for what comes after the last id that a reader has: the n-th one, when it has had n deltas."""
    zero = b"%d-7" % BEFORE_ANY
    ask = command(b"XREAD", b"COUNT", b"%d" % CHUNK, b"BLOCK", b"0", b"STREAMS", KEY, zero)
    # An array of one stream, which is its name and an array of entries.
    head = rb"\*1\r\n\*2\r\n\$6\r\ndeltas\r\n\*(\d+)\r\n"
    return Polling(ask.replace(zero, b"1%012d-7"), head, head_bytes=40, end=b"}\r\n")
