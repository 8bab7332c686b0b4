"""Tests of a client's options."""

from __future__ import annotations

from typing import Any

import pytest

from recorder.client import ClientOptions
from recorder.core.errors import ClientError


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_s": 0},
        {"max_waiting_events": 0},
        {"backoff_base_s": -1},
        {"max_tries": 0},
        {"max_frames": -1},
    ],
)
def test_an_option_out_of_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match=next(iter(wrong))):
        ClientOptions(**wrong)


def test_ids_given_by_default_are_never_the_same() -> None:
    options = ClientOptions()
    assert len({options.new_id() for _ in range(100)}) == 100
