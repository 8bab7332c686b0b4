"""Filters: what was typed becomes query parameters."""

from __future__ import annotations

import pytest

from recorder.cli.options import Filters, filters
from recorder.core.errors import InvalidQuery


def test_nothing_typed_is_no_parameter() -> None:
    assert filters() == Filters()
    assert Filters().params() == []


def test_every_filter_becomes_the_parameter_of_its_name() -> None:
    wanted = filters(["a", "b", "a"], ["created"], "2026-11-20T12:00:00Z", "2026-11-21T12:00:00Z", (0, 9))
    assert wanted.params() == [
        ("session", "a"),
        ("session", "b"),
        ("type", "created"),
        ("since", "2026-11-20T12:00:00.000Z"),
        ("until", "2026-11-21T12:00:00.000Z"),
        ("after", "0"),
        ("before", "9"),
    ]


def test_an_empty_session_does_not_mean_all() -> None:
    with pytest.raises(InvalidQuery, match="--session"):
        filters([""])


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="'made' is not one of created, updated, deleted"):
        filters(None, ["made"])
