"""Publishing over one connection: the shell around `InFlight` that connects, sends and matches answers.

One task ("client-publisher") owns the connection while there is something to send or an answer due; a second
one ("client-publish-send") writes while the first reads. `publish` waits for room, then for its own answer.
A connection that is lost while nothing is under way is made again only when something is published.

Left out: what may be sent twice, which is `InFlight`'s, and what a frame looks like, which is `encode`'s.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from recorder.client.connection import (
    ConnectionLog,
    Dialer,
    Unreachable,
    close_code,
    connection_closed,
    hang_up,
)
from recorder.client.decode import AckWire, ErrorWire, HelloWire, Violation, decode
from recorder.client.encode import Frame
from recorder.client.events import Ack, OutcomeUnknown, PublishRefused, TokenRefused
from recorder.client.in_flight import Entry, InFlight
from recorder.client.options import Backoff, ClientOptions
from recorder.client.resume import (
    BROKEN_CLOSE_CODES,
    FINAL_CLOSE_CODES,
    MAX_STRIKES,
    PROTOCOL_VERSION,
    Fail,
    Retry,
    Verdict,
    final_error,
)
from recorder.core.errors import BY_CODE, ClientError, Closed, RateLimited, RecorderError, Unavailable

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

PING_S = 20.0
"""Interval of pings. A pong may take three times that: a server with a full queue reads nothing."""

_TOO_LONG = 1009
_NOT_NOW = (Unavailable, RateLimited)
"""Refusals of which the server says that nothing was taken, and that end by themselves: it stops, starts, is ahead."""

_log = logging.getLogger("recorder.client")

Waiting = Entry[asyncio.Future[Ack]]


class _NotNow(Exception):
    """The server takes nothing for now, and no answer is due any more. The message says why."""


class Publisher:
    """Publishes frames, in order.

    Args:
        dialer: Opens its connections.
        options: The client's.
    """

    def __init__(self, dialer: Dialer, options: ClientOptions) -> None:
        self._dialer = dialer  # opens connections
        self._options = options  # limits, times, clock
        self._in_flight: InFlight[asyncio.Future[Ack]] = InFlight(
            options.max_frames, options.max_bytes
        )  # under way
        self._backoff = Backoff(
            options.backoff_base_s, options.backoff_cap_s, options.backoff_stable_s, options.random
        )  # delays between tries
        self._admission = asyncio.Lock()  # locked while waiting for capacity, so that frames keep their order
        self._room = asyncio.Event()  # set when there may be capacity again
        self._work = asyncio.Event()  # set when there may be something to send
        self._idle = asyncio.Event()  # set while nothing is under way
        self._idle.set()
        self._task: asyncio.Task[None] | None = None  # owns the connection
        self._is_closing = False  # whether aclose was called
        self._failure: RecorderError | None = None  # what ended it for good
        self._outages = ConnectionLog(dialer.address.base, "publish")  # what is said of connections
        self._complaint = ""  # what the server said in an `error` that was no answer
        self._strikes = 0  # times the server broke the protocol since the last answer

    async def publish(self, frame: Frame) -> Ack:
        """Send a frame and wait for its answer.

        Raises:
            PublishRefused: The server refused it.
            OutcomeUnknown: The connection was lost before the answer, and it must not be sent again.
            ClientError: The server refuses connections for good.
            Closed: The client is closed.
        """
        self._dialer.bind()
        size = len(frame.text)
        if size > self._options.max_frame_bytes:
            raise PublishRefused(
                "message_too_large",
                f"the frame has {size} bytes, at most {self._options.max_frame_bytes} are sent",
            )
        async with self._admission:
            self._check_open()
            while not self._in_flight.has_room(size):
                self._room.clear()
                await self._room.wait()
                self._check_open()
            entry = self._in_flight.add(frame, asyncio.get_running_loop().create_future())
        self._idle.clear()
        self._work.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="client-publisher")
        try:
            return await entry.owner
        except asyncio.CancelledError:
            self._abandon(entry)
            raise

    async def aclose(self, *, drain: bool = True) -> None:
        """Take no more, let what is under way end within a deadline, disconnect. May be called again."""
        self._is_closing = True
        self._room.set()
        try:
            if drain and self._task is not None and not self._task.done():
                async with asyncio.timeout(self._options.drain_timeout_s):
                    await self._idle.wait()
        except TimeoutError:
            _log.warning("closing with %d frames unanswered", len(self._in_flight))
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
            self._give_up(Closed("the client was closed"))

    # The task

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_closing:
            raise Closed("the client is closed")

    def _abandon(self, entry: Waiting) -> None:
        if entry.owner.done() and not entry.owner.cancelled():
            entry.owner.exception()  # no caller retrieves the error, which is intended
        self._in_flight.abandon(entry)
        self._settled()

    def _settled(self) -> None:
        """Wake whoever waits: a frame is no longer under way."""
        self._room.set()
        self._work.set()
        if len(self._in_flight) == 0:
            self._idle.set()

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        except ClientError as error:
            self._failure = error
            self._give_up(error)
        # The boundary of the task: a mistake of ours must not leave publishers waiting for ever.
        except Exception as error:
            self._failure = ClientError(f"publishing failed: {type(error).__name__}: {error}")
            self._failure.__cause__ = error
            self._give_up(self._failure)

    def _give_up(self, error: RecorderError) -> None:
        for entry in self._in_flight.clear():
            if not entry.owner.done():
                entry.owner.set_exception(_unknown(str(error)) if entry.was_sent else error)
        self._settled()

    async def _stay_connected(self) -> None:
        options = self._options
        while True:
            while len(self._in_flight) == 0:
                self._work.clear()
                await self._work.wait()
            verdict = await self._one_connection()
            if isinstance(verdict, Fail):
                raise verdict.error
            delay = self._backoff.failed(options.clock.monotonic())
            self._outages.failed(verdict.why, delay, broken=verdict.broken)
            if options.max_tries is not None and self._backoff.tries >= options.max_tries:
                raise ClientError(verdict.why, hint=f"gave up after {self._backoff.tries} tries")
            await options.sleep(delay)

    async def _one_connection(self) -> Verdict:
        try:
            socket = await self._dialer.dial(self._dialer.address.publish_url(), ping_s=PING_S)
        except Unreachable as error:
            return Retry(str(error))
        except ClientError as error:
            return Fail(error)
        try:
            self._backoff.connected(self._options.clock.monotonic())
            verdict = await self._talk(socket)
            self._cut(verdict.why if isinstance(verdict, Retry) else str(verdict.error))
            return verdict
        finally:
            await hang_up(socket, limit_s=self._options.close_timeout_s)

    async def _talk(self, socket: ClientConnection) -> Verdict:
        async with asyncio.TaskGroup() as group:
            sending: asyncio.Task[None] | None = None
            self._complaint = ""
            try:
                await self._greet(socket)
                sending = group.create_task(self._send(socket), name="client-publish-send")
                while True:
                    self._answer(await socket.recv(decode=False))
            except connection_closed() as closed:
                return self._closed(*close_code(closed))
            except Violation as violation:
                return self._strike(str(violation))
            except (_NotNow, Unreachable) as reason:
                return Retry(str(reason))
            except ClientError as error:
                return Fail(error)
            finally:
                if sending is not None:
                    sending.cancel()

    async def _greet(self, socket: ClientConnection) -> None:
        """Wait for `hello` before sending: a rejected connection has certainly recorded nothing."""
        limit_s = self._options.open_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                wire = await self._hello(socket)
        except TimeoutError:
            raise Unreachable(f"it was connected to, and said no hello within {limit_s:g} s") from None
        if wire.protocol != PROTOCOL_VERSION:
            raise ClientError(
                f"the server speaks protocol {wire.protocol}, this client speaks {PROTOCOL_VERSION}",
                hint="use a client of the server's version",
            )
        self._dialer.accepted()
        self._outages.greeted()

    async def _hello(self, socket: ClientConnection) -> HelloWire:
        while True:
            wire = decode(await socket.recv(decode=False))
            if isinstance(wire, HelloWire):
                return wire
            if isinstance(wire, ErrorWire):
                self._complaint = wire.message
            elif wire is not None:
                raise Violation("the first event is not hello")

    async def _send(self, socket: ClientConnection) -> None:
        try:
            while True:
                entry = self._in_flight.next()
                if entry is None:
                    self._work.clear()
                    await self._work.wait()
                else:
                    await socket.send(entry.frame.text, text=True)
        except connection_closed():
            return  # the reading side says why

    def _answer(self, data: bytes) -> None:
        wire, entry = decode(data), self._in_flight.oldest
        if isinstance(wire, AckWire):
            if entry is None:
                raise Violation("an ack, and no frame was sent")
            if entry.frame.count not in (None, wire.count):
                raise Violation(f"an ack of {wire.count} deltas for a frame of {entry.frame.count}")
            self._settle(Ack(wire.epoch, wire.first_seq, wire.seq, wire.count, wire.durable))
        elif isinstance(wire, ErrorWire):
            if entry is None:
                self._complaint = wire.message
            elif issubclass(BY_CODE.get(wire.code, RecorderError), _NOT_NOW):
                self._in_flight.not_taken()
                self._settled()
                self._complaint = wire.message
            else:
                self._settle(PublishRefused(wire.code, wire.message, wire.index))
        if self._in_flight.is_stalled:
            raise _NotNow(f"the server rejects publishes for now: {self._complaint}")

    def _settle(self, answer: Ack | PublishRefused) -> None:
        self._strikes = 0
        self._outages.works()
        owner = self._in_flight.answered().owner
        if not owner.done():
            if isinstance(answer, Ack):
                owner.set_result(answer)
            else:
                owner.set_exception(answer)
        self._settled()

    def _cut(self, why: str) -> None:
        for entry in self._in_flight.cut():
            if not entry.owner.done():
                entry.owner.set_exception(_unknown(why))
        self._settled()

    def _closed(self, code: int, reason: str) -> Verdict:
        said = self._complaint or reason
        why = f"closed with {code}" + (f": {said}" if said else "")
        if code in FINAL_CLOSE_CODES:
            return self._refused(final_error(code, f"the server {why}"))
        if code == _TOO_LONG:
            refused = self._in_flight.cut_too_long()
            if refused is not None and not refused.owner.done():
                size = len(refused.frame.text)
                refused.owner.set_exception(
                    PublishRefused("message_too_large", f"the server rejects frames of {size} bytes: {why}")
                )
            return Retry(why)
        return self._strike(why) if code in BROKEN_CLOSE_CODES else Retry(why)

    def _refused(self, error: ClientError) -> Verdict:
        judged = self._dialer.refused(error) if isinstance(error, TokenRefused) else error
        return Fail(judged) if isinstance(judged, ClientError) else Retry(str(judged))

    def _strike(self, why: str) -> Verdict:
        self._strikes += 1
        if self._strikes < MAX_STRIKES:
            return Retry(why, broken=True)
        return Fail(ClientError(f"the server keeps breaking the protocol: {why}"))


def _unknown(why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"no answer came: {why}", hint="it may be recorded or not; with ids it can be published again safely"
    )
