"""What every request passes: the check of its Host and Origin, and the boundary where failures end."""

from __future__ import annotations

from loguru import logger
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recorder.api.problems import problem
from recorder.errors import InternalError, RecorderError
from recorder.metrics import Metrics
from recorder.protocol.access import Access


class Gate:
    """Lets a request through only where its Host and Origin may come.

    Args:
        app: What lies behind.
        access: The rules.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then go on."""
        headers = Headers(scope=scope)
        try:
            self._access.check(_one(headers, "host"), _one(headers, "origin"))
        except RecorderError as error:
            await problem(error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class Boundary:
    """Where what went wrong in answering ends: logged once, counted, and told to the client as far as it can be.

    A failure before the answer has begun becomes a 500. One amid an answer leaves it without its end, so that the
    client sees that it is not whole.

    Args:
        app: What lies behind.
        metrics: Counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            # Whoever has gone while sending wants no answer, and none of it was taken.
            logger.bind(path=scope["path"]).debug("a client left before its request was complete")
        # The boundary of a request: whatever it was, it concerns this request alone.
        except Exception as error:
            self._metrics.failed_requests += 1
            self._log(scope, error, begun=begun)
            if not begun:
                await problem(InternalError("the recorder failed to answer; its log says why"))(
                    scope, receive, send
                )

    def _log(self, scope: Scope, error: Exception, *, begun: bool) -> None:
        # Starlette wraps what its handlers can no longer answer.
        cause = error.__cause__ if isinstance(error.__cause__, RecorderError) else error
        log = logger.bind(path=scope["path"])
        if begun and isinstance(cause, RecorderError):
            log.bind(error=str(cause)).warning("an answer was broken off")
        else:
            log.opt(exception=cause).error("a request failed")


def _one(headers: Headers, name: str) -> str | None:
    """A header's value; several of them make a value that is nobody's."""
    values = headers.getlist(name)
    return ", ".join(values) if values else None
