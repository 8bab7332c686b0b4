"""atheris on everything that takes bytes from outside: a value or an error of ours comes out, never anything else.

Run by `scripts/fuzz`, in an environment that has atheris; arguments are libFuzzer's.
"""

import json
import sys

import atheris

with atheris.instrument_imports(include=["recorder"]):
    from recorder.api import cursors
    from recorder.errors import RecorderError
    from recorder.hub.machine import StateMachine
    from recorder.hub.plain import take_messages
    from recorder.known_secrets import DEFAULT_KEYS, DEFAULT_PATTERNS
    from recorder.model.redaction import Redactor
    from recorder.protocol.decode import decode_lines, decode_text
    from recorder.protocol.subscribe import parse_op, parse_query

REDACTOR = Redactor(DEFAULT_KEYS, DEFAULT_PATTERNS, b"salt")


def publish(data: bytes) -> None:
    """As a publisher's message; what is taken is redacted, too, and stays JSON."""
    for delta in [*decode_text(data, 10_000)]:
        for state in (delta.before, delta.after):
            if state is not None:
                json.loads(REDACTOR.redact(state)[0], parse_int=len, parse_float=len)


def cursor(data: bytes) -> None:
    """As a cursor of history."""
    cursors.decode(data.decode("latin-1"), cursors.DeltasCursor, "epoch")


def frames(data: bytes) -> None:
    """As the bytes of a connection."""
    machine = StateMachine(compression=True)
    take_messages(data, 1000)
    machine.receive_data(data)
    machine.events_received()


TARGETS = [
    publish,
    lambda data: decode_lines(data, 10_000),
    parse_op,
    lambda data: parse_query(data.decode("latin-1")),
    cursor,
    frames,
]


def one_input(data: bytes) -> None:
    """The first byte chooses whom the rest is for."""
    if data:
        try:
            TARGETS[data[0] % len(TARGETS)](data[1:])
        except RecorderError:
            return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
