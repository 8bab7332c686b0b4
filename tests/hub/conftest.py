"""Where transports are at work the hub's tests run on both event loops: they differ in what a closing one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

ON_BOTH = {
    "test_uvicorn_contract",
    "test_socket",
    "test_publisher",
    "test_slow_readers",
    "test_seam",
    "test_hub",
    "test_unfinished",
    "test_vanished",
}

Factory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    if item.path.stem in ON_BOTH:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
