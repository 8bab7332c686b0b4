"""The systems that can be measured, by name."""

from __future__ import annotations

from benchlib.systems.bare import Bare
from benchlib.systems.base import Options, System
from benchlib.systems.mosquitto import Mosquitto
from benchlib.systems.nats import Nats
from benchlib.systems.node_ws import NodeWs
from benchlib.systems.obvious import Obvious
from benchlib.systems.recorder import Recorder
from benchlib.systems.redis import Redis
from benchlib.systems.socketio import SocketIO

NAMES = (
    "recorder",
    "recorder-commit",
    "obvious",
    "nats",
    "nats-jetstream",
    "mosquitto",
    "mosquitto-tcp",
    "node-ws",
    "socketio",
    "redis-everysec",
    "redis-always",
    "bare",
)
BASELINE = "obvious"


def named(name: str, options: Options) -> System:
    """The system of that name.

    Raises:
        KeyError: there is none.
    """
    systems: dict[str, System] = {
        "recorder": Recorder(options),
        "recorder-commit": Recorder(options, "commit"),
        "obvious": Obvious(options),
        "nats": Nats(),
        "nats-jetstream": Nats(jetstream=True),
        "mosquitto": Mosquitto(),
        "mosquitto-tcp": Mosquitto(websockets=False),
        "node-ws": NodeWs(),
        "socketio": SocketIO(),
        "redis-everysec": Redis("everysec"),
        "redis-always": Redis("always"),
        "bare": Bare(),
    }
    return systems[name]
