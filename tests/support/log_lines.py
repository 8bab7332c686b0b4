"""The recorder's own log, caught for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from loguru import logger


@contextmanager
def log_lines(level: str = "INFO") -> Iterator[list[dict[str, Any]]]:
    """Yield a list that gets each line as `level`, `message` and its fields, while the block lasts."""
    lines: list[dict[str, Any]] = []
    sink = logger.add(
        lambda message: lines.append(
            {
                "level": message.record["level"].name,
                "message": message.record["message"],
                **message.record["extra"],
            }
        ),
        level=level,
    )
    logger.enable("recorder")
    try:
        yield lines
    finally:
        logger.disable("recorder")
        logger.remove(sink)
