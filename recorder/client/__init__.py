"""The Python client: subscribes, resumes and publishes across reconnections. `Client` is the way in."""

from recorder.client.client import Client
from recorder.client.encode import NewDelta, RawJson
from recorder.client.events import (
    Ack,
    Delta,
    Disconnected,
    Event,
    Heartbeat,
    Hello,
    Live,
    Reset,
    State,
)
from recorder.client.failures import OutcomeUnknown, PublishRefused
from recorder.client.freshness import Freshness
from recorder.client.options import ClientOptions
from recorder.client.subscription import Subscription

__all__ = [
    "Ack",
    "Client",
    "ClientOptions",
    "Delta",
    "Disconnected",
    "Event",
    "Freshness",
    "Heartbeat",
    "Hello",
    "Live",
    "NewDelta",
    "OutcomeUnknown",
    "PublishRefused",
    "RawJson",
    "Reset",
    "State",
    "Subscription",
]
