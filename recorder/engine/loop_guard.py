"""Reject the use of an object on another event loop, or in another thread, than its own.

A recorder is not thread-safe: two threads that publish at once could be given the same seq, and what is called on
another loop could wait for ever for something that happens on the first. So the parts that a program can reach ask a
guard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import wraps
from threading import get_ident
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

from recorder.core.errors import WrongEventLoop

T = TypeVar("T")
P = ParamSpec("P")


class LoopGuard:
    """Remember the event loop, if there is one, and the thread in which it is made.

    Args:
        name: What it guards, for the error: "recorder".
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = get_ident()
        self._loop: asyncio.AbstractEventLoop | None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None  # it is made before the loop runs

    def check(self) -> None:
        """Raise WrongEventLoop unless the running event loop is the one remembered."""
        self.check_thread()
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise self._error("event loop")

    def check_thread(self) -> None:
        """Raise WrongEventLoop in another thread than the one remembered."""
        if get_ident() != self._thread:
            raise self._error("thread")

    def _error(self, kind: str) -> WrongEventLoop:
        return WrongEventLoop(
            f"this {self._name} belongs to another {kind}",
            hint="call it on the event loop on which it was opened; from another thread, by"
            " asyncio.run_coroutine_threadsafe(…, loop)",
        )


class OneLoop(AbstractAsyncContextManager[T], Generic[T]):
    """A context that can be left only on the event loop on which it was entered. Made by `one_loop`.

    Leaving it on another one raises WrongEventLoop, and it stays open.

    Args:
        context: What is entered and left.
        name: What it opens, for the error.
    """

    def __init__(self, context: AbstractAsyncContextManager[T], name: str) -> None:
        self._context = context
        self._name = name
        self._guard: LoopGuard | None = None  # once it is entered

    async def __aenter__(self) -> T:
        self._guard = LoopGuard(self._name)
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._guard is not None:
            self._guard.check()
        return await self._context.__aexit__(kind, error, trace)


def one_loop(
    name: str,
) -> Callable[[Callable[P, AbstractAsyncContextManager[T]]], Callable[P, OneLoop[T]]]:
    """Return a decorator for a function that returns a context: it becomes one of `OneLoop`.

    Args:
        name: What the context opens, for the error.
    """

    def decorate(function: Callable[P, AbstractAsyncContextManager[T]]) -> Callable[P, OneLoop[T]]:
        @wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> OneLoop[T]:
            return OneLoop(function(*args, **options), name)

        return call

    return decorate
