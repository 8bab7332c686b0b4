"""Problem documents: what an error carries, for programs and for people."""

from __future__ import annotations

import orjson
import pytest

from recorder.core.errors import BY_CODE, InvalidDelta, MessageTooLarge, NotFound, RecorderError, Unavailable
from recorder.wire.problems import MEDIA_TYPE, problem_body, problem_headers, raw_problem


def body(error: RecorderError) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(problem_body(error))
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
    assert body(kind("…"))["status"] == kind.http_status
    assert problem_headers(kind("…")).get("Retry-After") == ("1" if kind.retry else None)


def test_a_connection_with_too_large_a_body_is_closed() -> None:
    assert problem_headers(MessageTooLarge("…"))["Connection"] == "close"
    assert "Connection" not in problem_headers(Unavailable("…"))


def test_a_whole_answer_has_the_length_of_its_document_and_closes_the_connection() -> None:
    head, _, document = raw_problem(Unavailable("später")).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 503 Service Unavailable"
    assert headers == {
        "Retry-After": "1",
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(document)),
        "Connection": "close",
    }
    assert orjson.loads(document)["detail"] == "später"
