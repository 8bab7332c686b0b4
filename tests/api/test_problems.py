"""Problem documents: what an error carries, for programs and for people."""

from __future__ import annotations

import orjson
import pytest

from recorder.api.problems import problem
from recorder.core.errors import BY_CODE, InvalidDelta, MessageTooLarge, NotFound, RecorderError, Unavailable


def body(error: RecorderError) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(problem(error).body)
    return found


def test_it_carries_the_code_the_reason_the_hint_and_the_place() -> None:
    error = InvalidDelta("[2].after: required", hint="send it", index=2, place="[2].after")
    assert body(error) == {
        "title": "invalid delta",
        "status": 422,
        "code": "invalid_delta",
        "detail": "[2].after: required",
        "hint": "send it",
        "index": 2,
        "place": "[2].after",
    }
    assert problem(error).media_type == "application/problem+json"


def test_what_an_error_does_not_know_is_left_out() -> None:
    assert body(NotFound("nothing")) == {
        "title": "not found",
        "status": 404,
        "code": "not_found",
        "detail": "nothing",
    }


def test_an_index_of_0_is_one() -> None:
    assert body(InvalidDelta("bad", index=0))["index"] == 0


@pytest.mark.parametrize("kind", BY_CODE.values())
def test_whoever_may_try_again_is_told_when(kind: type[RecorderError]) -> None:
    response = problem(kind("…"))
    assert response.status_code == kind.http_status
    assert response.headers.get("retry-after") == ("1" if kind.retry else None)


def test_a_connection_with_too_large_a_body_is_closed() -> None:
    assert problem(MessageTooLarge("…")).headers["connection"] == "close"
    assert "connection" not in problem(Unavailable("…")).headers
