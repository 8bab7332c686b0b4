"""The worker's end of the JSON lines: reads a command, calls its function, answers with what that returns."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from typing import Any

from bench_suite.errors import BenchError


def reply(answer: dict[str, Any]) -> None:
    """Sends one answer."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def obey(commands: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Runs commands until stdin ends. BenchError and OSError are answered; anything else ends the worker."""
    # A collection in the middle of a measurement would be seen as the server's latency.
    gc.disable()
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            reply(commands[arguments.pop("op")](**arguments))
        except (BenchError, OSError) as error:
            reply({"error": f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)})
