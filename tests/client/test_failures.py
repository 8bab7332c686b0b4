"""Tests of what publishing can end with."""

from __future__ import annotations

from recorder.client.failures import OutcomeUnknown, PublishRefused
from recorder.core.errors import BY_CODE, ClientError


def test_a_refusal_carries_the_servers_code_message_and_index() -> None:
    refused = PublishRefused("invalid_delta", "[2].after: required", 2)
    assert isinstance(refused, ClientError)
    assert (refused.code, refused.message, refused.index, refused.retry) == (
        "invalid_delta",
        "[2].after: required",
        2,
        False,
    )


def test_a_refusal_is_worth_another_try_where_the_servers_reason_is() -> None:
    assert PublishRefused("unavailable", "loading").retry
    assert not PublishRefused("a_code_of_the_future", "?").retry


def test_the_codes_of_the_classes_stay_what_they_are() -> None:
    PublishRefused("conflict", "x")
    assert BY_CODE["client_error"] is ClientError
    assert ClientError.code == PublishRefused.code == OutcomeUnknown.code == "client_error"
