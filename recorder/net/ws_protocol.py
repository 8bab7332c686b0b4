"""The Sans-I/O state machine of one connection: websockets', with what the recorder agrees on and one rule corrected.

A close frame may stand between the fragments of a message, as every control frame may (RFC 6455, section 5.4): the
message is given up and the close answered. websockets calls that a broken rule.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import cast

from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from recorder.auth.static_tokens import chosen_subprotocol
from recorder.core.errors import InvalidRequest, RecorderError
from recorder.wire.deflate import WINDOW_BITS
from recorder.wire.problems import MEDIA_TYPE, WEBSOCKET_VERSION, problem_body, problem_headers

# Its messages repeat what the socket logs itself, one line per connection.
_quiet = logging.getLogger("recorder.websockets")
_quiet.setLevel(logging.CRITICAL)

MAX_HEAD_BYTES = 1 << 16
"""The bound of a message until it is known what the connection is for."""

EXTENSION = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
"""What is agreed with a client that offers it; without takeover no connection keeps a window between messages."""

MAX_REASON_BYTES = 123
"""A close frame's payload is at most 125 bytes (RFC 6455, section 5.5), two of them the code."""


class StateMachine(ServerProtocol):
    """The server side of the WebSocket protocol, without input or output.

    Args:
        compression: Whether permessage-deflate is agreed on with those who offer it.
    """

    def __init__(self, *, compression: bool) -> None:
        super().__init__(
            logger=_quiet,
            max_size=MAX_HEAD_BYTES,
            extensions=[EXTENSION] if compression else None,
        )

    @property
    def compresses(self) -> bool:
        """Return whether the peer accepts frames that were compressed once for all subscribers."""
        agreed = cast(list[PerMessageDeflate], self.extensions)
        return any(each.local_max_window_bits == WINDOW_BITS for each in agreed)

    def accept(self, request: Request) -> Response:
        """Return the answer to an upgrade: 101, or a problem document that says what is wrong with its headers."""
        response = super().accept(request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            return response
        refusal = self.refuse(InvalidRequest(f"the upgrade cannot be made: {self.handshake_exc}"))
        refusal.headers["Sec-WebSocket-Version"] = WEBSOCKET_VERSION
        return refusal

    def refuse(self, error: RecorderError) -> Response:
        """Return the problem document of an error as the answer to an upgrade."""
        response = self.reject(HTTPStatus(error.http_status), problem_body(error).decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = MEDIA_TYPE
        for name, value in problem_headers(error).items():
            response.headers[name] = value
        return response

    def forget_request(self) -> None:
        """Release the request once it is answered, if nothing was read after it: 2.5 kB of a connection's
        memory.

        The generator that has read it would hold it for as long as the connection lasts; another one goes on.
        """
        self.parser = Protocol.parse(self)
        next(self.parser)

    def recv_frame(self, frame: Frame) -> None:
        """Process a complete frame."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        # The generator that has read it holds it until the next one comes: only its shell.
        data, frame.data = frame.data, b""
        super().recv_frame(replace(frame, data=data))

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Return the subprotocol for the response. A browser closes the connection if none of those it
        offered is returned.
        """
        chosen = chosen_subprotocol(subprotocols)
        return None if chosen is None else Subprotocol(chosen)

    def end(self) -> None:
        """Release the parser at the end of input: the generator and this object refer to each other."""
        self.forget_unread()
        self.parser = _nothing()

    def forget_unread(self) -> None:
        """Release an incomplete frame, and the error of an invalid one: nothing more is read."""
        self.reader.buffer.clear()
        if self.parser_exc is not None:
            self.parser_exc.__traceback__ = None


def _nothing() -> Generator[None, None, None]:
    """Wait for ever, as the parser of a connection that reads nothing."""
    while True:
        yield
