"""Reading what was recorded over HTTP, with the client's token: pages are followed, bodies bounded, states left as text.

What a recorder answers with a problem document is raised as the error that its code names (`NotFound`, `Pruned`,
`NotRecording`, …); where it cannot be reached, `Unavailable`. Nothing is tried again but a refused token that a function
can replace: a question that is asked again costs its asker nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from recorder.client.connection import Dialer, Unreachable
from recorder.client.decode import DeltaWire, Violation, decode
from recorder.client.events import Delta, TokenRefused, decode_value
from recorder.client.options import ClientOptions
from recorder.client.resume import delta_of
from recorder.core import json_text
from recorder.core.errors import BY_CODE, BadSubscription, ClientError, Closed, Unavailable
from recorder.wire.subscribe import names_of

if TYPE_CHECKING:
    import httpx

PAGE = 500
"""Entries that are asked for at once."""

Point = int | str | datetime
"""A place in the order: a seq, or a time (RFC 3339 text, or a datetime with an offset)."""

Params = list[tuple[str, str | int | float | bool | None]]
"""Names and values of a query, as httpx takes them."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session that is recorded.

    Args:
        session_id: Its id.
        seq: The number of its last delta.
        recorded_at: When that was recorded: UTC, milliseconds, `Z`.
        count: How many of its deltas are kept.
        deleted: Whether the last one deleted it.
    """

    session_id: str
    seq: int
    recorded_at: str
    count: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session's state as of a point.

    Args:
        session_id: The session.
        seq: The number of the delta that made it.
        state_raw: JSON text of the state; `null` where it was deleted or erased.
        deleted: Whether the session was deleted then.
        erased: Whether its content was erased since.
    """

    session_id: str
    seq: int
    state_raw: bytes
    deleted: bool
    erased: bool

    @property
    def state(self) -> Any:
        """The state, decoded anew at each access; None where it was deleted or erased."""
        return decode_value(self.state_raw)


@dataclass(frozen=True, slots=True)
class Touch:
    """A delta that changed a place in a session's state.

    Args:
        seq: Its number.
        recorded_at, timestamp: When it was recorded, and when it happened.
        type: `created`, `updated` or `deleted`.
        lineage: `broken` where its `before` is not what was recorded last, else None.
        before_raw: JSON text of the value at the place until then, None where there was none.
        after_raw: The same from then on.
    """

    seq: int
    recorded_at: str
    timestamp: str
    type: str
    lineage: str | None
    before_raw: bytes | None
    after_raw: bytes | None

    @property
    def before(self) -> Any:
        """The value until then, decoded anew at each access."""
        return None if self.before_raw is None else decode_value(self.before_raw)

    @property
    def after(self) -> Any:
        """The value from then on, decoded anew at each access."""
        return None if self.after_raw is None else decode_value(self.after_raw)


class Reader:
    """Asks one recorder over HTTP.

    Args:
        dialer: Knows its address and the token.
        options: The client's.
    """

    def __init__(self, dialer: Dialer, options: ClientOptions) -> None:
        self._dialer = dialer  # the address and the token
        self._options = options  # limits and times
        self._http: httpx.AsyncClient | None = None  # opened with the first question
        self._is_closed = False  # whether aclose was called

    async def aclose(self) -> None:
        """Close its connections. May be called again."""
        self._is_closed = True
        if self._http is not None:
            await self._http.aclose()

    # What can be asked

    async def history(self, params: Params) -> AsyncIterator[Delta]:
        """Yield the deltas that filters choose, page by page."""
        cursor: str | None = None
        while True:
            more: Params = params if cursor is None else [("cursor", cursor)]
            page = _object(await self.get("/api/deltas", [*more, ("limit", PAGE)]))
            epoch = str(decode_value(page["epoch"]))
            for item in json_text.elements(page["deltas"]):
                yield _delta(item, epoch)
            cursor = decode_value(page["next"])
            if cursor is None:
                return

    async def sessions(self) -> AsyncIterator[SessionInfo]:
        """Yield the sessions, the one that moved last first."""
        params: Params = [("limit", PAGE)]
        while True:
            page = decode_value(await self.get("/api/sessions", params))
            for one in page["sessions"]:
                yield SessionInfo(
                    one["sessionId"], one["seq"], one["recordedAt"], one["count"], one["deleted"]
                )
            if page["next"] is None:
                return
            params = [("limit", PAGE), ("cursor", page["next"])]

    async def state(self, session_id: str, at: Point | None) -> SessionState:
        """Return a session's state."""
        fields = _object(await self.get(_session_path(session_id), _points(at=at)))
        deleted, erased = fields["deleted"] == b"true", fields.get("erased") == b"true"
        return SessionState(session_id, int(fields["seq"]), fields["state"], deleted, erased)

    async def diff(self, session_id: str, since: Point | None, to: Point | None, form: str) -> Any:
        """Return what changed between two points, as a patch."""
        params: Params = [*_points(**{"from": since, "to": to}), ("as", form)]
        return decode_value(await self.get(f"{_session_path(session_id)}/diff", params))

    async def blame(self, session_id: str, path: str) -> AsyncIterator[Touch]:
        """Yield the deltas that changed a place, newest first."""
        before: int | None = None
        while True:
            params: Params = [("path", path), *_points(before=before)]
            page = _object(await self.get(f"{_session_path(session_id)}/blame", params))
            for text in json_text.elements(page["touches"]):
                yield _touch(text)
            before = decode_value(page["next"])
            if before is None:
                return

    async def export(self, params: Params) -> AsyncIterator[bytes]:
        """Yield the body of an export in pieces, as they come."""
        import httpx

        async with (
            self._asking(),
            self._client().stream(
                "GET", "/api/export", params=params, headers=await self._headers()
            ) as answer,
        ):
            if answer.status_code >= 400:
                await answer.aread()
                raise self._problem(answer)
            try:
                async for piece in answer.aiter_bytes():
                    yield piece
            except httpx.HTTPError as error:
                raise Unavailable(f"the export was interrupted: {error!r}", hint="begin it again") from error

    async def get(self, path: str, params: Params | None = None) -> bytes:
        """Return the body of an answer."""
        async with self._asking():
            answer = await self._client().get(path, params=params, headers=await self._headers())
            if answer.status_code == 401 and isinstance(self._refused(answer), Unreachable):
                answer = await self._client().get(path, params=params, headers=await self._headers())
        if answer.status_code >= 400:
            raise self._problem(answer)
        self._dialer.accepted()
        return answer.content

    # How it is asked

    def _client(self) -> httpx.AsyncClient:
        self._dialer.bind()
        if self._is_closed:
            raise Closed("the client is closed")
        if self._http is None:
            import httpx

            address = self._dialer.address
            self._http = httpx.AsyncClient(
                base_url="http" + address.base.removeprefix("ws"),
                timeout=self._options.read_timeout_s,
                trust_env=not address.is_loopback,
                verify=self._options.ssl_context or True,
                headers={"User-Agent": "recorder-client"},
            )
        return self._http

    async def _headers(self) -> dict[str, str]:
        try:
            return await self._dialer.headers()
        except Unreachable as error:
            raise Unavailable(str(error)) from error

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        import httpx

        base = self._dialer.address.base
        try:
            yield
        except httpx.TimeoutException as error:
            raise Unavailable(f"{base} did not answer in time") from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{base} cannot be reached: {error}",
                hint="is a recorder running there, and is the address right?",
            ) from error

    def _refused(self, answer: httpx.Response) -> Exception:
        return self._dialer.refused(
            TokenRefused(f"{self._dialer.address.base} answered 401: {_said(answer)[0]}")
        )

    def _problem(self, answer: httpx.Response) -> Exception:
        """Return the error that an answer tells of."""
        if answer.status_code == 401:
            return TokenRefused(f"{self._dialer.address.base} answered 401: {_said(answer)[0]}")
        text, code, hint = _said(answer)
        kind = BY_CODE.get(code, Unavailable if answer.status_code >= 500 else ClientError)
        return kind(text, hint=hint)


def filters(
    sessions: Iterable[str] | str | None, types: Iterable[str] | str | None, **more: Point | None
) -> Params:
    """Return the parameters of filters.

    Args:
        sessions, types: As `Client.subscribe` takes them.
        more: `after`, `before`, `since`, `until`.

    Raises:
        ClientError: A value is not valid.
    """
    try:
        names: Params = [("session", one) for one in names_of("sessions", sessions)]
        names += [("type", one) for one in names_of("types", types)]
    except BadSubscription as error:
        raise ClientError(error.message, hint=error.hint, place=error.place) from None
    return [*names, *_points(**more)]


def _points(**named: Point | None) -> Params:
    return [(name, _point(name, value)) for name, value in named.items() if value is not None]


def _point(name: str, value: Point) -> str:
    if not isinstance(value, datetime):
        return str(value)
    if value.utcoffset() is None:
        raise ClientError(f"{name}: a datetime must have an offset, such as tzinfo=UTC", place=name)
    return value.isoformat()


def _session_path(session_id: str) -> str:
    try:
        return f"/api/sessions/{quote(session_id, safe='')}"
    except UnicodeEncodeError:
        raise ClientError(f"a session id cannot be written as UTF-8: {session_id!r}") from None


def _object(body: bytes) -> dict[str, bytes]:
    try:
        return json_text.members(body)
    except json_text.BadJson as error:
        raise ClientError(f"the answer is not a recorder's: {error.message}") from None


def _delta(item: bytes, epoch: str) -> Delta:
    try:
        wire = decode(b'{"event":"delta",' + item[1:])
    except Violation as error:
        raise ClientError(f"the answer is not a recorder's: {error}") from None
    assert isinstance(wire, DeltaWire)
    return delta_of(wire, epoch, item)


def _touch(text: bytes) -> Touch:
    fields = json_text.members(text)
    known = {name: decode_value(fields[name]) for name in ("seq", "recordedAt", "timestamp", "type")}
    lineage = decode_value(fields["lineage"]) if "lineage" in fields else None
    return Touch(
        known["seq"],
        known["recordedAt"],
        known["timestamp"],
        known["type"],
        lineage,
        fields.get("before"),
        fields.get("after"),
    )


def _said(answer: httpx.Response) -> tuple[str, str, str | None]:
    """Return the words, the code and the hint of a problem document, or the beginning of what it is instead."""
    try:
        problem = decode_value(answer.content)
    except ClientError:
        problem = None
    if not isinstance(problem, dict):
        said = answer.text[:300].strip()
        return f"{answer.url} answered {answer.status_code}: {said}", "", "is this the URL of a recorder?"
    hint = problem.get("hint")
    text = problem.get("detail") or problem.get("title") or f"{answer.url} answered {answer.status_code}"
    return str(text), str(problem.get("code")), hint if isinstance(hint, str) else None


Order = Literal["asc", "desc"]
