"""Recorder: a flight recorder for agent sessions.

What is named here is imported when it is first asked for: a program that only publishes or subscribes loads neither the
server nor the database. Silent as a library: log lines of the recorder itself appear only after
`logger.enable("recorder")`, which the command line does; the client warns through the standard library's logging.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from recorder.app import Recorder, open_recorder
    from recorder.client import (
        Ack,
        ChainBroken,
        Client,
        ClientOptions,
        Conflated,
        Delta,
        Disconnected,
        Erased,
        Erasure,
        Event,
        Freshness,
        Heartbeat,
        Hello,
        Live,
        NewDelta,
        OutcomeUnknown,
        Proof,
        PublishRefused,
        RawJson,
        Reset,
        SessionInfo,
        SessionState,
        State,
        Subscription,
        Token,
        TokenRefused,
        Touch,
    )
    from recorder.config.settings import Settings, load_settings
    from recorder.core.errors import (
        BadSubscription,
        ClientError,
        Closed,
        Conflict,
        InvalidDelta,
        InvalidQuery,
        InvalidSetting,
        MessageTooLarge,
        NotAllowed,
        NotAuthenticated,
        NotFound,
        NotRecording,
        Pruned,
        RateLimited,
        RecorderError,
        StorageFull,
        StoreError,
        TooSlow,
        Unavailable,
    )
    from recorder.core.position import Position

_NAMES = {
    "recorder.app": ("Recorder open_recorder"),
    "recorder.client": (
        "Ack ChainBroken Client ClientOptions Conflated Delta Disconnected Erased Erasure Event "
        "Freshness Heartbeat Hello Live NewDelta OutcomeUnknown Proof PublishRefused RawJson "
        "Reset State Subscription Token TokenRefused SessionInfo SessionState Touch"
    ),
    "recorder.config.settings": ("Settings load_settings"),
    "recorder.core.errors": (
        "BadSubscription ClientError Closed Conflict InvalidDelta InvalidQuery InvalidSetting "
        "MessageTooLarge NotAllowed NotAuthenticated NotFound NotRecording Pruned RateLimited "
        "RecorderError StorageFull StoreError TooSlow Unavailable"
    ),
    "recorder.core.position": ("Position"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
"""Where each name is imported from."""

_PARTS = ("app", "cli", "client", "config", "core")
"""Folders and modules that can be reached as attributes."""

__all__ = [
    "Ack",
    "BadSubscription",
    "ChainBroken",
    "Client",
    "ClientError",
    "ClientOptions",
    "Closed",
    "Conflated",
    "Conflict",
    "Delta",
    "Disconnected",
    "Erased",
    "Erasure",
    "Event",
    "Freshness",
    "Heartbeat",
    "Hello",
    "InvalidDelta",
    "InvalidQuery",
    "InvalidSetting",
    "Live",
    "MessageTooLarge",
    "NewDelta",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "NotRecording",
    "OutcomeUnknown",
    "Position",
    "Proof",
    "Pruned",
    "PublishRefused",
    "RateLimited",
    "RawJson",
    "Recorder",
    "RecorderError",
    "Reset",
    "SessionInfo",
    "SessionState",
    "Settings",
    "State",
    "StorageFull",
    "StoreError",
    "Subscription",
    "Token",
    "TokenRefused",
    "TooSlow",
    "Touch",
    "Unavailable",
    "__version__",
    "load_settings",
    "open_recorder",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name in _PARTS:
        return import_module(f"recorder.{name}")
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module 'recorder' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_PARTS, *_HOMES]
