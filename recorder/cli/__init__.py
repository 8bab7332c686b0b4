"""The command line: one file per command, put together in `main`."""

from recorder.cli.main import main

__all__ = ["main"]
