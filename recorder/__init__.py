"""Recorder: a flight recorder for agent sessions.

Silent as a library: its log lines appear only after `logger.enable("recorder")`, which the command line does.
"""

from __future__ import annotations

from loguru import logger

__version__ = "0.1.0"

logger.disable("recorder")
