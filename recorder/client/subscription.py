"""A subscription: the shell around `Resume` that connects, reads, waits and hands events to whoever iterates.

One task ("client-subscription") owns the connection from its opening to its close; within a connection a
second one ("client-watch") cuts it when nothing is heard. Events wait in a queue that is
bounded in count and bytes: a caller that does not take them leaves the server to wait, and is
closed by it with 4408 when that lasts, which costs nothing: what was read is handed out, and the rest is
resumed from there.

Cancelling an iteration loses no event. Left out: what to do about what is said, which is `Resume`'s.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import orjson

from recorder.client.bounded_queue import BoundedQueue
from recorder.client.connection import (
    ConnectionLog,
    Dialer,
    Unreachable,
    close_code,
    connection_closed,
    hang_up,
)
from recorder.client.decode import LiveWire, Violation, decode
from recorder.client.events import (
    STALE_INTERVALS,
    Delta,
    Disconnected,
    Event,
    Freshness,
    Heartbeat,
    Hello,
    Live,
    Reset,
    State,
    TokenRefused,
    assess,
)
from recorder.client.options import Backoff, ClientOptions
from recorder.client.resume import Fail, Phase, Resume, Retry, Verdict
from recorder.core.errors import ClientError
from recorder.core.position import Position
from recorder.wire.subscribe import Since

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

DEAD_INTERVALS = 2.5
"""After this many heartbeat intervals of silence a connection is cut and made anew."""

MAX_URL = 4000
"""A longer URL does not pass everywhere (8 KiB is a common limit): then it goes as a message."""

_PING = b'{"op":"ping"}'
_NOTICES = (Hello, Heartbeat, Disconnected)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parameters of a subscription.

    Args:
        sessions: Their ids; none: all.
        types: Delta types; none: all.
        since: Where to begin.
        since_text: The same as it is spelled on the wire.
        notices: Whether `Hello`, `Heartbeat` and `Disconnected` are handed out too.
        verify: Whether each delta's hash is computed anew.
        conflate: Whether to be moved on to the latest states where it is too slow.
    """

    sessions: tuple[str, ...]
    types: tuple[str, ...]
    since: Since
    since_text: str
    notices: bool
    verify: bool = False
    conflate: bool = False


class Subscription:
    """An async iterator of events; made by `Client.subscribe`.

    It connects at the first iteration, or when it is entered: `async with client.subscribe() as events`
    returns when the first event is at hand, so that with `since="latest"` nothing published from then on is
    missed.

    Args:
        dialer: Opens its connections.
        options: The client's.
        wanted: What it asks for.
        on_closed: Called once when it is closed.
    """

    def __init__(
        self,
        dialer: Dialer,
        options: ClientOptions,
        wanted: Wanted,
        on_closed: Callable[[Subscription], None],
    ) -> None:
        self._dialer = dialer  # opens connections
        self._options = options  # limits, times, clock
        self._wanted = wanted  # what is asked for
        self._on_closed = on_closed  # tells the client
        is_filtered = bool(wanted.sessions or wanted.types)
        self._resume = Resume(
            wanted.since, wanted.since_text, filtered=is_filtered, verify=wanted.verify
        )  # the state machine
        self._backoff = Backoff(
            options.backoff_base_s, options.backoff_cap_s, options.backoff_stable_s, options.random
        )  # delays between tries
        self._waiting: BoundedQueue[Event] = BoundedQueue(
            options.max_waiting_events, options.max_waiting_bytes
        )  # read, not taken
        self._outages = ConnectionLog(dialer.address.base, "subscribe")  # what is said of connections
        self._task: asyncio.Task[None] | None = None  # owns the connection
        self._ready = asyncio.Event()  # set when the first event is at hand, or when it has ended
        self._heard = options.clock.monotonic()  # when something was heard last
        self._held = False  # whether reading waits for the caller
        self._is_silent = False  # whether the connection was cut because nothing was heard
        self._is_closed = False  # whether aclose was called
        self._failure: Exception | None = None  # what ended it for good
        self._position: Position | None = None  # where to resume after what the caller took
        self._passed: Position | None = None  # the same, once the caller has taken all that waits
        self._hello: Hello | None = None  # of the current or last connection
        self.reconnects = 0  # connections lost or failed so far

    # For callers

    @property
    def position(self) -> Position | None:
        """The position to resume from after the last event taken; None before the first event and within a
        list of states.

        It moves with heartbeats, too: where nothing that matches was recorded for long, it must not stay behind what
        retention removes.
        """
        return self._position

    @property
    def hello(self) -> Hello | None:
        """The server's `hello` message of the last connection."""
        return self._hello

    @property
    def duplicates(self) -> int:
        """Deltas that came again and were dropped."""
        return self._resume.duplicates

    @property
    def violations(self) -> int:
        """Times the server broke the protocol (a gap is one); each was followed by a new connection."""
        return self._resume.violations

    @property
    def freshness(self) -> Freshness:
        """The freshness of what the caller has taken."""
        resume = self._resume
        waiting = len(self._waiting)
        is_live = resume.phase is Phase.LIVE
        if not (is_live and resume.is_filtered):
            waiting += resume.head - (resume.position.seq if resume.position is not None else 0)
        return assess(
            connected=resume.phase not in (Phase.DOWN, Phase.GREETING),
            is_live=is_live,
            behind=waiting,
            silent_s=self._silent_s(),
            heartbeat_s=self._options.heartbeat_s,
        )

    async def start(self) -> None:
        """Connect, and wait for the first event to be at hand; it is not taken.

        Raises:
            ClientError: The server refused for good.
        """
        self._begin()
        await self._ready.wait()
        if self._failure is not None:
            raise self._failure

    async def aclose(self) -> None:
        """Disconnect; whoever iterates is at the end. May be called again."""
        self._is_closed = True
        if self._dialer.loop_is_closed:
            self._on_closed(self)
            return  # its task ended with its loop
        self._dialer.bind()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._waiting.clear()
        self._waiting.end()
        self._ready.set()
        self._on_closed(self)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        self._begin()
        event = await self._waiting.get()
        if isinstance(event, Delta | Live):
            self._position = event.position
        elif isinstance(event, Reset):
            self._position = None
        elif isinstance(event, Heartbeat):
            self._position = event.position or self._position
        self._pass_on()
        return event

    # The task

    def _begin(self) -> None:
        self._dialer.bind()
        if self._task is None and not self._is_closed:
            self._task = asyncio.create_task(self._run(), name="client-subscription")

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        # The boundary of the task: the caller waiting for events must get any error.
        except Exception as error:
            self._failure = error
            self._waiting.end(error)
            self._ready.set()
        finally:
            self._resume.phase = Phase.DOWN

    async def _stay_connected(self) -> None:
        options = self._options
        while True:
            verdict = await self._one_connection()
            if isinstance(verdict, Fail):
                raise verdict.error
            self.reconnects += 1
            delay = self._backoff.failed(options.clock.monotonic())
            self._outages.failed(verdict.why, delay, broken=verdict.broken)
            if options.max_tries is not None and self._backoff.tries >= options.max_tries:
                raise ClientError(f"{verdict.why}", hint=f"gave up after {self._backoff.tries} tries")
            if self._wanted.notices:
                await self._hand_over(Disconnected(verdict.why, delay))
            await options.sleep(delay)

    async def _one_connection(self) -> Verdict:
        wanted, options = self._wanted, self._options
        address, since = self._dialer.address, self._resume.query
        url = address.subscribe_url(wanted.sessions, wanted.types, since, conflate=wanted.conflate)
        message = None
        if len(url) > MAX_URL:
            # Nothing has this name, so what comes after `live` is the answer to the message alone.
            nothing = (f"nothing-{uuid.uuid4().hex}",)
            url = address.subscribe_url(nothing, (), "latest", conflate=wanted.conflate)
            message = orjson.dumps(
                {"op": "subscribe", "sessions": wanted.sessions, "types": wanted.types, "since": since}
            )
        try:
            socket = await self._dialer.dial(url, ping_s=None)
        except Unreachable as error:
            return Retry(str(error))
        except ClientError as error:
            return Fail(error)
        verdict: Verdict | None = None
        try:
            self._resume.connected()
            self._backoff.connected(options.clock.monotonic())
            verdict = await self._read(socket, message)
            return verdict
        finally:
            broken = isinstance(verdict, Retry) and verdict.broken
            await hang_up(socket, 1002 if broken else 1000, limit_s=options.close_timeout_s)

    async def _read(self, socket: ClientConnection, message: bytes | None) -> Verdict:
        self._heard, self._is_silent = self._options.clock.monotonic(), False
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(socket), name="client-watch")
            try:
                if message is not None:
                    await self._ask(socket, message)
                while True:
                    await self._receive(await socket.recv(decode=False))
            except connection_closed() as closed:
                if self._is_silent:
                    return self._resume.disconnected(1006, "nothing was heard for too long")
                return self._judged(self._resume.disconnected(*close_code(closed)))
            except Violation as violation:
                return self._resume.violated(violation)
            except ClientError as error:
                return self._judged(Fail(error))
            finally:
                watch.cancel()

    def _judged(self, verdict: Verdict) -> Verdict:
        """Try again where only the token was refused, and there may be another one."""
        if not (isinstance(verdict, Fail) and isinstance(verdict.error, TokenRefused)):
            return verdict
        judged = self._dialer.refused(verdict.error)
        return verdict if judged is verdict.error else Retry(str(judged))

    async def _ask(self, socket: ClientConnection, message: bytes) -> None:
        """Subscribe by message, once the placeholder in the URL has become live."""
        data = await socket.recv(decode=False)
        while not isinstance(decode(data), LiveWire):
            await self._receive(data)
            data = await socket.recv(decode=False)
        await socket.send(message, text=True)

    async def _receive(self, data: bytes) -> None:
        self._heard = self._options.clock.monotonic()
        for event in self._resume.receive(data):
            if isinstance(event, Hello):
                self._hello = event
                self._dialer.accepted()
                self._outages.works()
            if self._wanted.notices or not isinstance(event, _NOTICES):
                await self._hand_over(event)
            elif isinstance(event, Heartbeat) and event.position is not None:
                self._passed = event.position
                self._pass_on()

    def _pass_on(self) -> None:
        """Advance the caller's position with the last heartbeat, once everything before it was taken."""
        if self._passed is not None and not len(self._waiting):
            self._position, self._passed = self._passed, None

    async def _hand_over(self, event: Event) -> None:
        if isinstance(event, Delta | Live | Reset | Heartbeat):
            self._passed = None  # this event's own position counts
        self._held = self._waiting.is_full
        try:
            await self._waiting.put(event, len(event.raw) if isinstance(event, Delta | State) else 0)
        finally:
            if self._held:
                # What came meanwhile has not been read: that was not the server's silence.
                self._heard = self._options.clock.monotonic()
            self._held = False
        self._ready.set()

    async def _watch(self, socket: ClientConnection) -> None:
        """Close the connection when nothing arrives, not even an answer to a ping."""
        patience = STALE_INTERVALS * self._options.heartbeat_s
        while True:
            while (left := patience - self._silent_s()) > 0:
                await self._options.sleep(left)
            # Asked before it is given up: the server's heartbeat may be slower than ours is set to.
            heard = self._heard
            try:
                await socket.send(_PING, text=True)
            except connection_closed():
                return  # the reading side says why
            await self._options.sleep(DEAD_INTERVALS * self._options.heartbeat_s - patience)
            if self._heard == heard and not self._held:
                self._is_silent = True
                socket.transport.abort()
                return

    def _silent_s(self) -> float:
        """Return the seconds since the last message; 0 while the caller does not take events."""
        return 0.0 if self._held else self._options.clock.monotonic() - self._heard
