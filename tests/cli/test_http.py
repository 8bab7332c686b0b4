"""Speaking to a server, in particular to one that misbehaves: real sockets with canned answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from recorder.cli.http import Remote, checked_url
from recorder.core.errors import ClientError, Conflict, InvalidSetting, RecorderError, Unavailable


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives this answer to its first request and hangs up; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=work)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(timeout=30)


def http(status: str, body: bytes, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


def refusal(answer: bytes) -> RecorderError:
    with answering(answer) as url, Remote(url) as remote, pytest.raises(RecorderError) as caught:
        remote.get_json("/api/stats")
    return caught.value


def test_a_problem_becomes_the_error_of_its_code() -> None:
    body = b'{"title":"Conflict","code":"conflict","detail":"[3].id: used","index":3,"hint":"take another"}'
    error = refusal(http("409 Conflict", body, "Content-Type: application/problem+json"))
    assert isinstance(error, Conflict)
    assert (str(error), error.index) == ("[3].id: used (take another)", 3)


def test_a_503_without_a_problem_is_unavailable() -> None:
    error = refusal(http("503 Service Unavailable", b"nginx says no"))
    assert isinstance(error, Unavailable)
    assert str(error).endswith("/api/stats: HTTP 503")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff", b""])
def test_an_answer_of_something_else_is_said_to_be_that(body: bytes) -> None:
    error = refusal(http("200 OK", body))
    assert isinstance(error, ClientError)
    assert "is something else listening at --url?" in str(error)


def test_an_answer_that_breaks_off_is_an_error() -> None:
    assert "was lost" in str(refusal(http("200 OK", b'{"a":1}')[:-3]))
    assert "was lost" in str(refusal(b""))


def test_a_stream_that_breaks_off_gives_what_came_and_then_the_error() -> None:
    got = []
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo"
    with answering(answer) as url, Remote(url) as remote, pytest.raises(Unavailable, match="was lost"):
        got += remote.stream("/api/export")
    with answering(answer) as url, Remote(url) as remote:
        assert next(remote.stream("/api/export")) == b"hello"


def test_a_refused_stream_is_the_error_of_its_code() -> None:
    body = b'{"code":"invalid_query","detail":"format: no"}'
    with answering(http("400 Bad Request", body)) as url, Remote(url) as remote:
        pieces = remote.stream("/api/export")
        with pytest.raises(RecorderError, match="format: no"):
            next(pieces)


def test_a_server_that_is_not_there_is_named_with_what_to_do(free_port: int) -> None:
    with Remote(f"http://127.0.0.1:{free_port}") as remote, pytest.raises(Unavailable) as caught:
        remote.get("/api/stats")
    assert f"127.0.0.1:{free_port}" in str(caught.value)
    assert "recorder serve" in str(caught.value)


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with answering(http("200 OK", b'{"a":1}')) as url, Remote(url) as remote:
        assert remote.get_json("/") == {"a": 1}


@pytest.mark.parametrize(
    "url", ["", "no url", "ftp://a", "ws://a", "http://", "http://a/?x", "http://[x", "http://a:b"]
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(InvalidSetting, match="--url"):
        checked_url(url)


def test_a_slash_at_the_end_does_not_count() -> None:
    assert checked_url("https://a.example/recorder/") == "https://a.example/recorder"


@pytest.mark.parametrize("typed", ["127.0.0.1:46883", "localhost:8765/", "[::1]:80/base"])
def test_a_url_without_a_scheme_is_taken_as_http(typed: str) -> None:
    assert checked_url(typed) == f"http://{typed.rstrip('/')}"
