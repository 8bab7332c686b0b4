"""The client of a recorder: one object for subscribing and publishing, which closes all it has opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

from recorder.client.connection import Dialer, Token, parse_address
from recorder.client.encode import Publishable, encode_frame, raw_frame
from recorder.client.events import Ack, Delta, Freshness, decode_value, worst
from recorder.client.options import ClientOptions
from recorder.client.publisher import Publisher
from recorder.client.reading import Order, Point, Reader, SessionInfo, SessionState, Touch, filters
from recorder.client.subscription import Subscription, Wanted
from recorder.core.errors import BadSubscription, ClientError, Closed
from recorder.core.position import Position
from recorder.wire.subscribe import check_sessions, check_types, names_of, parse_since


class Client:
    """A client of one recorder.

        async with Client("http://127.0.0.1:8765") as client:
            await client.publish(NewDelta("created", "s1", after={"plan": []}))
            async for event in client.subscribe(since="earliest"):
                ...

    Nothing is connected before it is needed, and everything reconnects by itself. It belongs to the event loop on which
    it is first used; on another one it raises ClientError.

    Args:
        url: The recorder's `http://`, `https://`, `ws://` or `wss://` URL.
        token: Sent as `Authorization: Bearer …`. Where tokens expire: a function that returns one, async or not, which
            is asked at every connection (one that is not async runs in a thread). A refused token then ends the client
            only where it gives the same one again and again.
        options: Limits and times.

    Raises:
        ClientError: The URL is none.
    """

    def __init__(self, url: str, token: Token = None, *, options: ClientOptions | None = None) -> None:
        self._options = options or ClientOptions()  # limits and times
        self._dialer = Dialer(parse_address(url), token, self._options)  # opens every connection
        self._publisher = Publisher(self._dialer, self._options)  # the one connection that publishes
        self._reader = Reader(self._dialer, self._options)  # asks over HTTP
        self._subscriptions: set[Subscription] = set()  # open ones
        self._is_closed = False  # whether aclose was called

    def subscribe(
        self,
        sessions: Iterable[str] | str | None = None,
        types: Iterable[str] | str | None = None,
        since: str | int | Position | datetime = "latest",
        *,
        notices: bool = False,
        verify: bool = False,
        slow: Literal["close", "conflate"] = "close",
    ) -> Subscription:
        """Yield events as they arrive, across reconnections, each delta once and in order.

        Args:
            sessions: Only these sessions; None: all.
            types: Only these delta types; None: all.
            since: Where to begin: `latest`, `earliest`, `state` (a `State` for each session first), a
                position (or its `epoch:seq` or `epoch:seq:hash`), a seq of the current epoch, a time (RFC 3339
                text, or a datetime with an offset).
            notices: Whether to yield `Hello`, `Heartbeat` and `Disconnected` too.
            verify: Whether to recompute each delta's hash from what was received. `delta.proof` says what
                came of it: `Proof.LINKED`, or why that one could not be verified.
            slow: What the server does where this reader is too slow: `close` the connection, which resumes and
                yields everything; or `conflate`: leave deltas out and yield the latest states (`Conflated`).

        Returns:
            An async iterator of events, and an async context manager. Iterating raises ClientError where the
            server refuses for good, and with `verify` ChainBroken where a hash is wrong.

        Raises:
            ClientError: An argument is not valid.
            Closed: The client is closed.
        """
        if self._is_closed:
            raise Closed("the client is closed")
        if slow not in ("close", "conflate"):
            raise ClientError(f"slow: {slow!r} is neither close nor conflate")
        conflate = slow == "conflate"
        wanted = replace(_wanted(sessions, types, since), notices=notices, verify=verify, conflate=conflate)
        subscription = Subscription(self._dialer, self._options, wanted, self._subscriptions.discard)
        self._subscriptions.add(subscription)
        return subscription

    async def publish(self, deltas: Publishable | Sequence[Publishable]) -> Ack:
        """Publish a delta, or several that are recorded all or none; wait until they are recorded.

        Many calls may be under way at once (`asyncio.gather`); they are sent and recorded in the order of
        the calls. While there is no connection, or too much is under way, it waits.

        Args:
            deltas: A `NewDelta`, a mapping with the names of the wire, or a sequence of these.

        Returns:
            Where they were recorded.

        Raises:
            PublishRefused: The server refused them; `code`, `message` and `index` say why.
            OutcomeUnknown: The connection was lost before the answer, and a delta has no id.
            ClientError: They cannot be written as JSON, or the server refuses connections for good.
            Closed: The client is closed.

        What the server did not take because it is stopping or starting is sent again once it is back.
        """
        new_id = self._options.new_id if self._options.idempotent else None
        return await self._publisher.publish(encode_frame(deltas, new_id))

    async def publish_raw(self, text: bytes | str) -> Ack:
        """Publish JSON text that is a delta or an array of deltas; it is sent as it is.

        Without an id in each delta it is not sent again after a cut.

        Args:
            text: JSON, UTF-8.

        Raises:
            As `publish`.
        """
        return await self._publisher.publish(raw_frame(text))

    # Reading what was recorded. Each raises what the recorder answers (`NotFound`, `Pruned`, `NotRecording`, …),
    # `Unavailable` where it cannot be reached, and `TokenRefused`.

    def history(
        self,
        sessions: Iterable[str] | str | None = None,
        types: Iterable[str] | str | None = None,
        *,
        after: int | None = None,
        before: int | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        order: Order = "asc",
    ) -> AsyncIterator[Delta]:
        """Read the deltas that were recorded, page by page, up to the last one.

        Args:
            sessions, types: Only these, or only this one; None for all.
            after, before: Only those between these seqs.
            since, until: Only those recorded between these times.
            order: `asc`, the oldest first, or `desc`.
        """
        chosen = filters(sessions, types, after=after, before=before, since=since, until=until)
        return self._reader.history([*chosen, ("order", order)])

    def sessions(self) -> AsyncIterator[SessionInfo]:
        """List the sessions, the one that moved last first."""
        return self._reader.sessions()

    async def state(self, session_id: str, at: Point | None = None) -> SessionState:
        """Read a session's state, now or as of a seq or a time.

        Args:
            session_id: The session.
            at: When; None for now.
        """
        return await self._reader.state(session_id, at)

    async def diff(
        self,
        session_id: str,
        since: Point | None = None,
        to: Point | None = None,
        *,
        form: Literal["patch", "merge"] = "patch",
    ) -> Any:
        """Read what makes a session's state at one point into that at another.

        Args:
            session_id: The session.
            since: A seq or a time; None: what the last delta up to `to` changed.
            to: A seq or a time; None for now.
            form: `patch` (RFC 6902: a list of operations) or `merge` (RFC 7396).
        """
        return await self._reader.diff(session_id, since, to, form)

    def blame(self, session_id: str, path: str = "") -> AsyncIterator[Touch]:
        """Read which deltas changed one place in a session's state, the newest first.

        Args:
            session_id: The session.
            path: A JSON Pointer, such as `/plan/3/status`; empty for the whole state.
        """
        return self._reader.blame(session_id, path)

    async def stats(self) -> dict[str, Any]:
        """Read what the recorder says of itself: head, durable head, connections, memory, recording."""
        found: dict[str, Any] = decode_value(await self._reader.get("/api/stats"))
        return found

    async def head(self) -> dict[str, Any]:
        """Read where the recording ends, signed; keep it to prove later what was recorded."""
        found: dict[str, Any] = decode_value(await self._reader.get("/api/head"))
        return found

    def export(
        self,
        sessions: Iterable[str] | str | None = None,
        types: Iterable[str] | str | None = None,
        *,
        format: Literal["ndjson", "json", "csv"] = "ndjson",  # noqa: A002 - the wire's name
    ) -> AsyncIterator[bytes]:
        """Read everything that was recorded when it is asked, oldest first, as pieces of one file.

        Args:
            sessions, types: Only these, or only this one; None for all.
            format: Of the file.
        """
        return self._reader.export([*filters(sessions, types), ("format", format)])

    @property
    def freshness(self) -> Freshness | None:
        """The freshness of the subscription that lies behind most; None where there is none."""
        return worst(subscription.freshness for subscription in self._subscriptions)

    async def aclose(self, *, drain: bool = True) -> None:
        """Close every subscription, let publishes under way end, disconnect. May be called again.

        Args:
            drain: Whether to wait for answers that are due, up to `drain_timeout_s`.

        Raises:
            ClientError: It is used on another event loop, which has to close it.
        """
        if self._dialer.loop_is_closed:
            self._is_closed = True
            return  # its connections and tasks ended with its loop
        self._dialer.bind()
        self._is_closed = True
        async with asyncio.TaskGroup() as group:
            for subscription in list(self._subscriptions):
                group.create_task(subscription.aclose(), name="client-close-subscription")
            group.create_task(self._publisher.aclose(drain=drain), name="client-close-publisher")
            group.create_task(self._reader.aclose(), name="client-close-reader")

    async def __aenter__(self) -> Self:
        self._dialer.bind()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose(drain=kind is None)


def _wanted(
    sessions: Iterable[str] | str | None,
    types: Iterable[str] | str | None,
    since: str | int | Position | datetime,
) -> Wanted:
    try:
        named, kinds = names_of("sessions", sessions), names_of("types", types)
        check_sessions(named)
        check_types(kinds)
        text = since.isoformat() if isinstance(since, datetime) else str(since)
        parsed = parse_since(text)
    except BadSubscription as error:
        raise ClientError(error.message, hint=error.hint, place=error.place) from None
    return Wanted(tuple(named), tuple(kinds), parsed, parsed.time or text, notices=False)
