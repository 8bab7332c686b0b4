"""Recorder: a flight recorder for agent sessions.

Silent as a library: its log lines appear only after `logger.enable("recorder")`, which the command line does.
"""

from __future__ import annotations

from loguru import logger

__version__ = "0.1.0"

logger.disable("recorder")

from recorder.app import Recorder, open_recorder  # noqa: E402 - the modules below ask for the version above
from recorder.client import Client, NewDelta  # noqa: E402
from recorder.config.settings import Settings, load_settings  # noqa: E402
from recorder.core.errors import RecorderError  # noqa: E402

__all__ = [
    "Client",
    "NewDelta",
    "Recorder",
    "RecorderError",
    "Settings",
    "__version__",
    "load_settings",
    "open_recorder",
]
