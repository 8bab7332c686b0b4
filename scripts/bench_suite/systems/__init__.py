"""The systems that can be measured, by name."""

from __future__ import annotations

from bench_suite.systems.bare import Bare
from bench_suite.systems.base import Options, System
from bench_suite.systems.mosquitto import Mosquitto
from bench_suite.systems.nats import Nats
from bench_suite.systems.node_ws import NodeWs
from bench_suite.systems.obvious import Obvious
from bench_suite.systems.recorder import Recorder
from bench_suite.systems.redis import Redis
from bench_suite.systems.socketio import SocketIO

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
