"""A running recorder, spoken to over HTTP by the commands.

Every failure becomes a `RecorderError` that a person can act on: the server's own problem document where
there is one, otherwise what kept us from reaching it. Nothing is retried here: whether a POST that broke
off was recorded cannot be known, and only the caller knows whether its deltas carry ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import orjson
import typer

from recorder.cli import console
from recorder.cli.credentials import bearer
from recorder.config.variables import TOKEN_VARIABLE, URL_VARIABLE
from recorder.core.errors import (
    BY_CODE,
    ClientError,
    InvalidSetting,
    NotAuthenticated,
    RecorderError,
    Unavailable,
)

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8765"
PANEL = "Which recorder"

UrlOption = Annotated[
    str,
    typer.Option(
        "--url",
        envvar=URL_VARIABLE,
        metavar="URL",
        help="The running recorder to speak to.",
        rich_help_panel=PANEL,
    ),
]
"""The option of commands that need a server."""

OptionalUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=URL_VARIABLE,
        metavar="URL",
        help=f"The running recorder to read from (default {DEFAULT_URL}).",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
"""The option of commands that read from a server or from a file."""

Params = Sequence[tuple[str, str]]

# Connecting takes no time on one machine. An answer may: the server stops reading while recording falls
# behind.
_ANSWER_SECONDS, _CONNECT_SECONDS = 300.0, 5.0


START_HINT = f"start it with 'recorder serve', or name another with --url or {URL_VARIABLE}"


NOT_RECORDING = (
    "NOT RECORDING: what is published is passed on and then gone"
    " (start the recorder with --persist, or PERSIST=1, to keep it)"
)


def not_a_recorder() -> ClientError:
    """Return the error for an answer that no recorder gives."""
    return ClientError("the answer is not a recorder's", hint="is something else listening at --url?")


def checked_url(url: str) -> str:
    """Return the base URL without a slash at its end; a missing scheme is http.

    Raises:
        InvalidSetting: It is not the URL of a server.
    """
    given = url
    if url and "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        is_known = parts.port != 0
        url.encode()
    except (
        ValueError
    ):  # brackets that do not match, a port that is no number, or not UTF-8 (from the environment)
        is_known = False
    if (
        not is_known
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or not url.isprintable()
        or " " in url
        or parts.query
        or parts.fragment
    ):
        raise InvalidSetting(f"--url: {ascii(given)[:200]} is not of the form {DEFAULT_URL}")
    return url.rstrip("/")


class Remote:
    """One recorder and the connection to it; use it in `with`.

    Args:
        url: Its base URL.
        show_token: Whether to show it the token of the command.
    """

    def __init__(self, url: str, *, show_token: bool = True) -> None:
        # Not at the top: a command's help should not wait for it.
        import httpx

        self.url = checked_url(url)  # for messages too
        # A proxy from the environment is for the outside world; it cannot reach this machine's loopback.
        outside = self.url.startswith("https://")
        # Closed in __exit__.
        self._http = httpx.Client(
            base_url=self.url,
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            trust_env=outside,
            headers=bearer() if show_token else None,
        )

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, params: Params = ()) -> bytes:
        """Return the whole body of a response."""
        with self._reaching():
            return _good(self._http.get(path, params=list(params)))

    def get_json(self, path: str, params: Params = ()) -> dict[str, Any]:
        """Return the body of a response that is a JSON object."""
        return _object(self.get(path, params))

    def warn_if_not_recording(self) -> None:
        """Print a warning to stderr if the server does not record; print nothing if the token does not
        permit asking.
        """
        with suppress(RecorderError):
            self._warn_if_not_recording()

    def _warn_if_not_recording(self) -> None:
        if self.get_json("/api/stats").get("enabled") is False:
            console.print_status(NOT_RECORDING)

    def post(self, path: str, body: bytes, media_type: str) -> dict[str, Any]:
        """Send a body; the answer's JSON object."""
        with self._reaching():
            answer = self._http.post(path, content=body, headers={"content-type": media_type})
            return _object(_good(answer))

    def post_json(self, path: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Send a JSON object; the answer's."""
        return self.post(path, orjson.dumps(value), "application/json")

    def stream(self, path: str, params: Params = ()) -> Iterator[bytes]:
        """Yield the body of a response in pieces, as they arrive; raise if it ends early."""
        with self._reaching(), self._http.stream("GET", path, params=list(params)) as answer:
            if answer.status_code >= 400:
                answer.read()
                _good(answer)
            yield from answer.iter_bytes()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.ConnectError as error:
            raise Unavailable(f"cannot reach {self.url}: {_reason(error)}", hint=START_HINT) from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"{self.url} did not answer in time") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"the connection to {self.url} was lost: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = re.sub(r"\[Errno -?\d+\] ", "", " ".join(str(error).split()))
    return text or type(error).__name__


def _good(answer: httpx.Response) -> bytes:
    """Return the body; raise the error that the code of a problem response names."""
    if answer.status_code < 400:
        return answer.content
    try:
        problem = _object(answer.content)
    except ClientError:
        problem = {}
    kind = BY_CODE.get(str(problem.get("code")), Unavailable if answer.status_code == 503 else ClientError)
    text = problem.get("detail") or problem.get("title") or f"{answer.url}: HTTP {answer.status_code}"
    raise _error(kind, " ".join(str(text).split()), problem)


def _error(kind: type[RecorderError], text: str, problem: Mapping[str, Any]) -> RecorderError:
    index, hint = problem.get("index"), problem.get("hint")
    if kind is NotAuthenticated:
        hint = f"set {TOKEN_VARIABLE}, or name a file with --token-file"
    return kind(
        text,
        index=index if isinstance(index, int) else None,
        hint=hint if isinstance(hint, str) else None,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise not_a_recorder()
    return value
