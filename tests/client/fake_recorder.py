"""A small honest recorder for tests, and ways to make it misbehave: no store, no limits, one list of deltas.

It speaks the protocol over real sockets. `on_subscriber` replaces what the next connections get by a script;
`cut_after` ends the next connections, without a goodbye, after so many messages. Everything is
deterministic: nothing sleeps.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from recorder.core.delta import Delta
from recorder.core.errors import BadSubscription, RecorderError
from recorder.wire.decode import decode_text
from recorder.wire.subscribe import Subscription, parse_op, parse_query

AT = "2026-11-20T12:00:00.000Z"
Script = Callable[[ServerConnection], Awaitable[None]]


class Cut(Exception):
    """The connection was ended on purpose."""


class FakeRecorder:
    """Serves `/ws` and `/publish` on a port of its own; `async with`."""

    def __init__(self) -> None:
        self.epoch = "EPOCH1"  # the current one
        self.deltas: list[Delta] = []  # of this epoch: seq is the index + 1
        self.oldest = 1  # first seq that can be replayed
        self.connections: list[str] = []  # path and query of each connection, in order
        self.headers: list[dict[str, str]] = []  # of each connection
        self.received: list[bytes] = []  # every frame published
        self.cut_after: deque[int] = deque()  # messages after which the next subscribers are cut
        self.cut_answers_after: deque[int] = deque()  # answers after which the next publishers are cut
        self.on_subscriber: deque[Script] = deque()  # what the next subscribers get instead
        self.on_publisher: deque[Script] = deque()  # what the next publishers get instead
        self.refusals: deque[int] = deque()  # HTTP statuses for the next connections
        self.more = asyncio.Condition()  # notified when there are more deltas
        self.connected = asyncio.Condition()  # notified when a connection is made
        self._ids: dict[str, int] = {}  # id -> seq
        self._server: Server | None = None
        self._open: set[ServerConnection] = set()

    @property
    def url(self) -> str:
        """Its base URL."""
        assert self._server is not None
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """Its port."""
        assert self._server is not None
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle,
            "127.0.0.1",
            0,
            process_request=self._refuse,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            max_size=1 << 20,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for connection in self._open:
            connection.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    async def publish(self, session: str = "a", kind: str = "updated", after: str | None = "{}") -> int:
        """Add a delta; its seq."""
        self.deltas.append(Delta(kind, session, None, None if kind == "deleted" else after, AT, None))
        async with self.more:
            self.more.notify_all()
        return len(self.deltas)

    def restart(self, epoch: str, deltas: int = 0) -> None:
        """Begin another epoch that keeps only the first deltas, and drop every connection."""
        self.epoch = epoch
        del self.deltas[deltas:]
        self._ids.clear()
        for connection in self._open:
            connection.transport.abort()

    def drop_all(self) -> None:
        """Cut every connection."""
        for connection in self._open:
            connection.transport.abort()

    async def until_connected(self, times: int) -> None:
        """Wait until so many connections were made in all."""
        async with self.connected:
            await self.connected.wait_for(lambda: len(self.connections) >= times)

    # What is said

    def hello(self, **changes: Any) -> bytes:
        """`hello`, as of now."""
        fields = {
            "event": "hello",
            "protocol": 1,
            "epoch": self.epoch,
            "head": len(self.deltas),
            "durable": 0,
        }
        return orjson.dumps({**fields, "recording": True, "durability": "snapshot", **changes})

    def delta(self, seq: int) -> bytes:
        """The event of a delta."""
        delta = self.deltas[seq - 1]
        states = "".join(
            f',"{name}":{text}' for name in ("before", "after") if (text := getattr(delta, name)) is not None
        )
        identity = "" if delta.id is None else f',"id":"{delta.id}"'
        return (
            f'{{"event":"delta","seq":{seq},"recordedAt":"{AT}","hash":"{seq:064x}","delta":{{"type":"{delta.type}",'
            f'"sessionId":"{delta.session_id}"{states},"timestamp":"{AT}"{identity}}}}}'
        ).encode()

    @staticmethod
    def event(event: str, **fields: Any) -> bytes:
        """Any other event."""
        return orjson.dumps({"event": event, **fields})

    def states(self, sessions: frozenset[str] | None) -> list[bytes]:
        """A `state` event for each session that is not deleted."""
        last = {delta.session_id: (seq, delta) for seq, delta in enumerate(self.deltas, 1)}
        return [
            f'{{"event":"state","seq":{seq},"sessionId":"{name}","state":{delta.after}}}'.encode()
            for name, (seq, delta) in last.items()
            if delta.type != "deleted" and (sessions is None or name in sessions)
        ]

    # Connections

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.refusals:
            return connection.respond(self.refusals.popleft(), "refused, and here is why\n")
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        self._open.add(connection)
        async with self.connected:
            self.connections.append(path)
            self.headers.append(dict(connection.request.headers.raw_items()))
            self.connected.notify_all()
        is_publisher = urlsplit(path).path.endswith("/publish")
        scripts = self.on_publisher if is_publisher else self.on_subscriber
        try:
            if scripts:
                await scripts.popleft()(connection)
            elif is_publisher:
                await self._publisher(connection)
            else:
                await self._subscriber(connection, urlsplit(path).query)
        except Cut:
            connection.transport.abort()
        except ConnectionClosed:
            pass
        finally:
            self._open.discard(connection)

    async def _subscriber(self, connection: ServerConnection, query: str) -> None:
        left = self.cut_after.popleft() if self.cut_after else None

        async def say(message: bytes) -> None:
            nonlocal left
            if left is not None:
                if left == 0:
                    raise Cut
                left -= 1
            await connection.send(message, text=True)

        try:
            subscription = parse_query(query)
        except BadSubscription as error:
            await say(self.event("error", code=error.code, message=str(error)))
            await connection.close(4400, str(error))
            return
        await say(self.hello())
        async with asyncio.TaskGroup() as group:
            feed = group.create_task(self._feed(subscription, say))
            try:
                async for message in connection:
                    assert isinstance(message, str)
                    wanted = parse_op(message.encode())
                    if wanted is None:
                        await say(self.event("pong"))
                    else:
                        feed.cancel()
                        feed = group.create_task(self._feed(wanted, say))
            finally:
                feed.cancel()

    async def _feed(self, wanted: Subscription, say: Callable[[bytes], Awaitable[None]]) -> None:
        head = len(self.deltas)
        sent = await self._catch_up(wanted, head, say)
        for seq in range(sent + 1, head + 1):
            if self._matches(wanted, seq):
                await say(self.delta(seq))
        await say(self.event("live", seq=head))
        sent = head
        while True:
            async with self.more:
                await self.more.wait_for(lambda known=sent: len(self.deltas) > known)
            while sent < len(self.deltas):
                sent += 1
                if self._matches(wanted, sent):
                    await say(self.delta(sent))

    async def _catch_up(
        self, wanted: Subscription, head: int, say: Callable[[bytes], Awaitable[None]]
    ) -> int:
        """Everything before the deltas; the seq after which these go on."""
        since = wanted.since
        match since.kind:
            case "latest":
                return head
            case "earliest":
                return self.oldest - 1
            case "time":
                return 0
            case "position" | "seq":
                seq = since.position.seq if since.position else since.seq
                reason = None
                if since.position and since.position.epoch != self.epoch:
                    reason = "epoch_changed"
                elif seq > head:
                    reason = "ahead"
                elif seq < self.oldest - 1:
                    reason = "pruned"
                if reason is None:
                    return seq
                await say(self.event("reset", reason=reason, epoch=self.epoch, oldest=self.oldest, head=head))
        for state in self.states(wanted.sessions):
            await say(state)
        return head

    def _matches(self, wanted: Subscription, seq: int) -> bool:
        delta = self.deltas[seq - 1]
        return (wanted.sessions is None or delta.session_id in wanted.sessions) and (
            wanted.types is None or delta.type in wanted.types
        )

    async def _publisher(self, connection: ServerConnection) -> None:
        left = self.cut_answers_after.popleft() if self.cut_answers_after else None
        await connection.send(self.hello(), text=True)
        async for message in connection:
            assert isinstance(message, str)
            self.received.append(message.encode())
            answer = await self._accept(message.encode())
            if left is not None:
                if left == 0:
                    raise Cut
                left -= 1
            await connection.send(answer, text=True)

    async def _accept(self, text: bytes) -> bytes:
        try:
            deltas = decode_text(text, 262144)
        except RecorderError as error:
            return self.event("error", code=error.code, message=str(error), index=error.index)
        seqs = []
        for delta in deltas:
            known = self._ids.get(delta.id) if delta.id is not None else None
            if known is None:
                self.deltas.append(delta)
                known = len(self.deltas)
                if delta.id is not None:
                    self._ids[delta.id] = known
            seqs.append(known)
        async with self.more:
            self.more.notify_all()
        ack = {
            "epoch": self.epoch,
            "firstSeq": seqs[0],
            "seq": seqs[-1],
            "count": len(seqs),
            "durable": False,
        }
        return self.event("ack", **ack)
