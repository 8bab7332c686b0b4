"""Run the tests of transports on both event loops: they differ in what a closing transport does and when it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

ON_BOTH = {
    "test_connections",
    "test_uvicorn_contract",
    "test_websocket",
    "test_publisher",
    "test_slow_readers",
    "test_seam",
    "test_partial_messages",
    "test_peer_state",
    "test_tls_handshake",
}

Factory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    if item.path.stem in ON_BOTH:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
