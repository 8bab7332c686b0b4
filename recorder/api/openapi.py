"""The description of the HTTP interface (OpenAPI 3.1), served at `/api/openapi.json`."""

from __future__ import annotations

from typing import Any

from recorder import __version__


def description() -> dict[str, Any]:
    """The whole document."""
    return {"openapi": "3.1.0", "info": {"title": "Recorder", "version": __version__}, "paths": {}}
