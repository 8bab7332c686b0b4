"""The original design as a system: Node, `ws` and sql.js, in a process of its own (`bench_suite/node/server.mjs`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench_suite.errors import BenchError
from bench_suite.frames import publish_frames
from bench_suite.needs import Needs, find_program, node_modules
from bench_suite.processes import Server, child_environment
from bench_suite.systems.base import About
from bench_suite.systems.obvious import RunningObvious

SCRIPT = Path(__file__).resolve().parents[1] / "node" / "server.mjs"
# Out of the way of a run, as that of the recorder is; the latency that an export costs is not in these figures.
SNAPSHOT_MS = 3_600_000


class NodeWs:
    """The Node.js server that the recorder has replaced."""

    name = "node-ws"
    needs = Needs(program="node", apt="nodejs", npm=("ws@8.23.0", "sql.js@1.16.0"))
    about = About(
        records="yes, one INSERT a delta, three indexes, in memory",
        durable="snapshots, each the whole database over the old file",
        ordered="yes, numbered",
        resumes="no",
        note="Node with ws and sql.js; no chain, no limits or checks, no current states, no pruning",
    )

    @contextmanager
    def start(self, workdir: Path) -> Iterator[RunningObvious]:
        """A server with an empty database, and its snapshots in `workdir`.

        Raises:
            BenchError: Node is not installed, or it did not come up.
        """
        node = find_program("node")
        if node is None:
            raise BenchError("node is not installed (Debian: apt-get install nodejs)")
        snapshots = [str(workdir / "sessions.sqlite"), str(SNAPSHOT_MS)]
        argv = [node, str(SCRIPT), str(node_modules()), *snapshots]
        with Server(argv, child_environment(), workdir) as server:
            # It speaks the obvious build's language.
            yield RunningObvious(server, *server.wait_listening())

    def encode(self, deltas: Iterable[bytes], per_frame: int) -> list[bytes]:
        """Text frames of a delta or an array of deltas."""
        return list(publish_frames(deltas, per_frame))
