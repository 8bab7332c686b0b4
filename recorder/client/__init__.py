"""The Python client: subscribes, resumes and publishes across reconnections. `Client` is the way in."""

from recorder.client.client import Client
from recorder.client.connection import Token
from recorder.client.encode import NewDelta, RawJson
from recorder.client.events import (
    Ack,
    ChainBroken,
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
    OutcomeUnknown,
    PublishRefused,
    Reset,
    State,
    TokenRefused,
)
from recorder.client.options import ClientOptions
from recorder.client.proof import Proof
from recorder.client.reading import SessionInfo, SessionState, Touch
from recorder.client.subscription import Subscription

__all__ = [
    "Ack",
    "ChainBroken",
    "Client",
    "ClientOptions",
    "Conflated",
    "Delta",
    "Disconnected",
    "Erased",
    "Erasure",
    "Event",
    "Freshness",
    "Heartbeat",
    "Hello",
    "Live",
    "NewDelta",
    "OutcomeUnknown",
    "Proof",
    "PublishRefused",
    "RawJson",
    "Reset",
    "SessionInfo",
    "SessionState",
    "State",
    "Subscription",
    "Token",
    "TokenRefused",
    "Touch",
]
