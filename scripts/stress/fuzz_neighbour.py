"""A healthy publisher and a healthy subscriber beside what is made up: they must notice nothing of it.

The subscriber verifies what it is sent: every delta once, in order, without a gap, each with the hash that follows from
the one before. That is the recorder's own client, so that what it takes for right is right for everybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from websockets.sync.client import ClientConnection, connect

from recorder.client.events import Delta
from recorder.client.resume import Resume
from recorder.wire.subscribe import LATEST

PATIENCE = 60
"""Seconds after which what does not come is missing."""


class Neighbour:
    """Both of them.

    Args:
        reader, publisher: Their connections, open.
    """

    def __init__(self, reader: ClientConnection, publisher: ClientConnection) -> None:
        self._reader = reader
        self._publisher = publisher
        self._resume = Resume(LATEST, "latest", filtered=False, verify=True)
        self.seq = 0  # of the last delta published here
        self.received = 0  # deltas that the subscriber was sent

    @classmethod
    @contextmanager
    def at(cls, url: str) -> Iterator[Neighbour]:
        """Both of them, connected and live.

        Args:
            url: The recorder's, `http://…`.
        """
        wire = url.replace("http", "ws", 1)
        with _connected(f"{wire}/ws") as reader, _connected(f"{wire}/publish") as publisher:
            neighbour = cls(reader, publisher)
            neighbour._resume.connected()
            while not neighbour._take():
                pass
            publisher.recv(PATIENCE)
            yield neighbour

    def notices_nothing(self) -> None:
        """Publish a delta, and read up to it.

        Raises:
            AssertionError, recorder.client.decode.Violation, recorder.errors.RecorderError: Something was noticed.
        """
        self._publisher.send(b'{"type":"updated","sessionId":"healthy","after":%d}' % self.seq, text=True)
        ack = orjson.loads(self._publisher.recv(PATIENCE))
        assert ack["event"] == "ack", ack
        self.seq = ack["seq"]
        while self._resume.position is None or self._resume.position.seq < self.seq:
            self._take()
        assert self._resume.duplicates == 0, "a delta came twice"

    def _take(self) -> bool:
        """The next message; whether it was the end of what is history."""
        data = self._reader.recv(PATIENCE, decode=False)
        for event in self._resume.receive(data):
            if isinstance(event, Delta):
                assert event.proof is not None, event
                assert event.proof.is_proof, event
                self.received += 1
        return b'"event":"live"' in data[:20]


def _connected(url: str) -> ClientConnection:
    # Without pings of its own: they would be answered too late while it waits for its turn.
    return connect(url, proxy=None, max_size=None, ping_interval=None)
