"""What publishing can end with, other than an ack; and what a subscription that verifies can end with."""

from __future__ import annotations

from recorder.core.errors import BY_CODE, ClientError


class PublishRefused(ClientError):
    """The server refused a frame: nothing of it is recorded.

    Its `code` is the server's (`invalid_delta`, `conflict`, …), and `retry` tells whether the same frame may
    go through later.

    Args:
        code: The server's code.
        message: The server's message.
        index: Which delta of the frame it was, from 0, or None.
    """

    def __init__(self, code: str, message: str, index: int | None = None) -> None:
        super().__init__(message, index=index)
        known = BY_CODE.get(code)
        # These hide the class's own: a refusal is as final as what it was refused for.
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "retry", known is not None and known.retry)


class TokenRefused(ClientError):
    """The server does not take the token: it is not valid, or not any more.

    Args:
        message: What the server said.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="give the right token; where tokens expire, give a function that gets one"
        )


class OutcomeUnknown(ClientError):
    """The connection was lost (or the client closed) before the answer: the frame may be recorded or not.

    It is not sent again by itself, since a delta of it has no id; with ids it would have been.
    """


class ChainBroken(ClientError):
    """A delta's hash is not the one that follows from what was received: something was changed, added or taken away.

    Args:
        seq: The first delta of which that is so; those before it were as they should be.
        expected: The hash that was computed, or was said before (64 hex digits).
        found: The hash that came.
    """

    def __init__(self, seq: int, expected: str, found: str) -> None:
        super().__init__(
            f"the chain is broken at seq {seq}: its hash is {found}, and what came before it says {expected}",
            hint="verify the recording with 'recorder doctor'",
        )
        self.seq, self.expected, self.found = seq, expected, found
