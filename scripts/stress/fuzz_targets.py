"""The targets of fuzzing: all that takes bytes from outside. Each returns a value or raises an error of ours.

A target raises nothing that its code does not promise to raise; where more is promised (what is taken is JSON, a patch
leads where it should, an import hands over nothing that the recorder refuses), it looks at that too. `fuzz_decoders` has
atheris call them, with inputs that it begins from in `fuzz_seeds`; nothing here needs atheris.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from zlib import crc32

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.datastructures import QueryParams
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from recorder.api import admin, params
from recorder.auth.jwt import EDDSA, HS256, Key, Verifier
from recorder.auth.origin import Access
from recorder.auth.proxies import Proxies
from recorder.auth.request_guard import RequestGuard
from recorder.auth.static_tokens import ListedTokens
from recorder.auth.tokens import Authority
from recorder.bridges.imports import FORMATS, SourceOptions
from recorder.bridges.imports.records import Sessions, SourceDelta
from recorder.cli.heads import parse_heads
from recorder.cli.http import Params, Remote
from recorder.client.decode import Violation
from recorder.client.resume import Resume
from recorder.core import json_patch as patch
from recorder.core import json_text as jsontext
from recorder.core.errors import RecorderError
from recorder.core.json_blame import Blame
from recorder.core.json_patch import parse_pointer
from recorder.core.redaction import DEFAULT_KEYS, DEFAULT_PATTERNS, Redactor
from recorder.core.timestamps import normalise
from recorder.net.fast_frames import take_messages
from recorder.net.ws_protocol import StateMachine
from recorder.verify.server import verify_server
from recorder.wire.decode import decode_lines, decode_text
from recorder.wire.export import ExportRow
from recorder.wire.subscribe import Since, parse_op, parse_query, parse_since
from stress.fuzz_files import damaged_commits, damaged_database, packed_file
from stress.fuzz_recording import SERVED

EPOCH = "01JD3K9V2M"
SECRET = b"a secret of thirty-two bytes or more"
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = 1_763_640_000
MAX_DELTA = 262_144
"""Bytes of a delta's text, as by default."""
MAX_MESSAGE = 1000
"""Bytes of a message; frames may be longer."""
HEAD = (
    b"GET /publish HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"sec-websocket-extensions: permessage-deflate\r\n\r\n"
)

_redactor = Redactor(DEFAULT_KEYS, DEFAULT_PATTERNS, b"salt")
_verifier = Verifier([Key(HS256, SECRET), Key(EDDSA, ED25519.public_key(), "ed")], lambda: NOW * 1000)
_authority = Authority(ListedTokens({"subscribe": ["a-token"], "admin": ["another.token"]}), _verifier)
_guard = RequestGuard(
    Access("0.0.0.0", ("recorder.example",), ("https://page.example",)),
    Proxies(("10.0.0.0/8", "::1")),
    _authority,
)
_options = SourceOptions(max_delta_bytes=MAX_DELTA, max_line_bytes=1 << 20, max_file_bytes=1 << 20)


def each(*calls: Callable[[], object], fine: tuple[type[Exception], ...] = (RecorderError,)) -> None:
    """Make every call, whatever became of the one before; of errors only those that are promised."""
    for call in calls:
        with suppress(*fine):
            call()


# Deltas and messages


def publish(data: bytes) -> None:
    """A publisher's message. What is taken is JSON, and still is without its secrets."""
    with suppress(RecorderError):
        for delta in decode_text(data, MAX_DELTA):
            for state in (delta.before, delta.after):
                if state is not None:
                    text, hits = _redactor.redact(state)
                    assert _is_json(state.encode()), "a state that is no JSON was taken"
                    assert _is_json(text.encode()), "a state is no JSON without its secrets"
                    assert hits or text == state, "a state without secrets was changed"


def lines(data: bytes) -> None:
    """A body of lines."""
    each(lambda: decode_lines(data, MAX_DELTA))


def ops(data: bytes) -> None:
    """A subscriber's message."""
    each(lambda: parse_op(data))


def frames(data: bytes) -> None:
    """The bytes of a connection, after its handshake. Both ways to read them give the same messages."""
    compresses = data[:1] > b"\x7f"
    machine = StateMachine(compression=compresses)
    machine.receive_data(HEAD)
    (request,) = machine.events_received()
    assert isinstance(request, Request)
    machine.send_response(machine.accept(request))
    machine.max_message_size = MAX_MESSAGE
    quick, _ = take_messages(data[1:], MAX_MESSAGE)
    half = len(data) // 2
    for part in (data[1:half], data[max(1, half) :]):
        machine.receive_data(part)
    found = [event.data for event in machine.events_received() if isinstance(event, Frame)]
    assert [bytes(each) for each in found[: len(quick)]] == [bytes(each) for each in quick]
    assert all(len(payload) <= MAX_MESSAGE for payload in found), "a frame beyond the bound was taken"
    # What the state machine says where it does not know itself what has happened; or else it answers in kind.
    is_echo = machine.close_rcvd is not None
    assert is_echo or machine.close_sent is None or machine.close_sent.code != CloseCode.INTERNAL_ERROR


def _is_json(text: bytes) -> bool:
    try:
        # Decoded, or else it would try other encodings, too.
        json.loads(text.decode(), parse_int=len, parse_float=len, parse_constant=jsontext.no_constant)
    except ValueError:
        return False
    return True


# What stands in a request


def query(data: bytes) -> None:
    """The query of every route that takes one."""
    text = data.decode("latin-1")
    given = QueryParams(text)
    each(
        lambda: parse_query(text),
        lambda: params.parse_page(given, EPOCH),
        lambda: params.parse_page(given, EPOCH, "s"),
        lambda: params.parse_filters(params.check_names(given, params.EXPORT)),
        lambda: params.check_names(given, params.DIFF),
        *[lambda value=value: params.parse_path([value]) for value in given.getlist("path")],
        *[lambda value=value: params.parse_limit([value]) for value in given.getlist("limit")],
        *[lambda value=value: params.check_session_id(value) for value in given.getlist("session")],
    )


def cursor(data: bytes) -> None:
    """A cursor's text, and what stands in one."""
    packed = urlsafe_b64encode(data).decode().rstrip("=")
    for text in (data.decode("latin-1"), packed):
        each(
            lambda text=text: params.decode_cursor(text, params.SessionsCursor, EPOCH),
            lambda text=text: params.parse_page(QueryParams({"cursor": text}), EPOCH),
            lambda text=text: params.parse_page(QueryParams({"cursor": text}), EPOCH, "s"),
        )


def times(data: bytes) -> None:
    """A time, and a `since`. What is in its form stays so."""
    text = data.decode(errors="surrogateescape")
    each(lambda: parse_since(text))
    with suppress(ValueError):
        fixed = normalise(text)
        assert normalise(fixed) == fixed
        assert len(fixed) == 24


def bodies(data: bytes) -> None:
    """The bodies of the operator's routes."""
    each(lambda: admin.parse_erase(data), lambda: admin.parse_prune(data))


def token(data: bytes) -> None:
    """The text of a token, in a header and in a subprotocol."""
    text = data.decode("latin-1")
    each(
        lambda: _authority.grant([f"Bearer {text}"]),
        lambda: _authority.grant([text]),
        lambda: _authority.grant([], [f"bearer.{text}"]),
    )


def claims(data: bytes) -> None:
    """The two parts of a token that is signed as it should be, a line break between them."""
    parts = [urlsafe_b64encode(part).rstrip(b"=") for part in data.partition(b"\n")[::2]]
    signing = b".".join(parts)
    for signature in (hmac.digest(SECRET, signing, hashlib.sha256), ED25519.sign(signing)):
        text = b"%b.%b" % (signing, urlsafe_b64encode(signature).rstrip(b"="))
        each(lambda text=text: _verifier.grant(text.decode()))


def guard(data: bytes) -> None:
    """The headers of a request, one a line: who calls, whether it may, what it may."""
    headers: dict[str, list[str]] = {}
    for line in data.decode("latin-1").split("\n"):
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())

    def values(name: str) -> list[str]:
        return headers.get(name, [])

    for peer in ("10.1.2.3", "192.0.2.7", "::1"):
        caller = _guard.caller(values, peer, is_secure=False)
        each(lambda caller=caller: _guard.check(values, "10.1.2.4", caller))
    each(lambda: _guard.grant(values))


# JSON as text


def texts(data: bytes) -> None:
    """Text that may be JSON: cut, or refused as the standard library would."""
    is_taken, is_deep = True, False
    try:
        jsontext.check(data)
    except jsontext.BadJson as bad:
        is_taken, is_deep = False, bad.kind == "depth"
    if not is_deep:
        with suppress(RecursionError):
            assert is_taken == _is_json(data)
    each(
        lambda: jsontext.members(data),
        lambda: list(jsontext.elements(data)),
        lambda: list(jsontext.scan_values(data.decode("latin-1"))),
        fine=(jsontext.BadJson,),
    )


def patches(data: bytes) -> None:
    """Two states, a line feed between them: a patch makes the one into the other."""
    before, _, after = data.partition(b"\n")
    if not (_is_state(before) and _is_state(after)):
        return
    steps = json.loads(patch.json_patch(before, after), **_EXACT)
    assert _applied(steps, json.loads(before, **_EXACT)) == json.loads(after, **_EXACT)
    assert patch.same(before, after) == (steps == [])
    with suppress(patch.Inexpressible):
        merge = json.loads(patch.merge_patch(before, after), **_EXACT)
        assert _merged(json.loads(before, **_EXACT), merge) == json.loads(after, **_EXACT)


_EXACT: dict[str, Any] = {
    "parse_int": lambda text: ("number", text),
    "parse_float": lambda text: ("number", text),
}
"""Numbers by their digits, and never the same as anything else."""


def _is_state(text: bytes) -> bool:
    try:
        jsontext.check(text)
    except jsontext.BadJson:
        return False
    return not jsontext.is_deeper(text.decode(), 100)


def _applied(steps: list[dict[str, Any]], document: Any) -> Any:
    """The document after a JSON Patch (RFC 6902)."""
    root = {"": document}
    for step in steps:
        *way, last = ["", *parse_pointer(step["path"])]
        at: Any = root
        for name in way:
            at = at[int(name)] if isinstance(at, list) else at[name]
        if isinstance(at, list) and step["op"] == "add":
            at.insert(int(last), step["value"])
        elif step["op"] == "remove":
            del at[int(last) if isinstance(at, list) else last]
        else:
            at[int(last) if isinstance(at, list) else last] = step["value"]
    return root[""]


def _merged(target: Any, given: Any) -> Any:
    """The document after a merge patch (RFC 7396)."""
    if not isinstance(given, dict):
        return given
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in given.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value)
    return found


def pointers(data: bytes) -> None:
    """A place, a line feed, and states with one between them: who has changed what is there."""
    place, *states = data.split(b"\n")
    try:
        steps = parse_pointer(place.decode(errors="surrogateescape"))
    except ValueError:
        return
    rows = [_row(seq, state.decode()) for seq, state in enumerate(states, 1) if _is_state(state)]
    walk = Blame(steps)
    for touch in [*walk.back(reversed(rows)), walk.begun(None)]:
        assert touch is None or _is_json(touch.text)


def _row(seq: int, state: str) -> ExportRow:
    at = "2026-11-20T12:00:00.000Z"
    return ExportRow(seq, at, "updated", "s", None, state, at, None, None, None)


# Files, and what a server sends


def source(name: str) -> Callable[[bytes], None]:
    """A log of another program: nothing is handed over that the recorder would refuse."""

    def target(data: bytes) -> None:
        half = len(data) // 2
        with suppress(RecorderError):
            for item in FORMATS[name].read(
                iter([data[:half], data[half:]]), f"log.{name}", _options, Sessions()
            ):
                if isinstance(item, SourceDelta):
                    (delta,) = decode_text(item.text, MAX_DELTA)
                    assert delta.session_id
                str(item).encode()

    return target


def heads(data: bytes) -> None:
    """A log of signed heads."""
    each(lambda: parse_heads(data, "heads"))


def client(data: bytes) -> None:
    """Return what a server sends to the client, a line feed between messages."""
    resume = Resume(Since("earliest"), "earliest", filtered=False, verify=True)
    resume.connected()
    for message in data.split(b"\n"):
        try:
            for event in resume.receive(message):
                each(lambda event=event: getattr(event, "after", None), lambda event=event: str(event))
        except Violation as violation:
            str(violation).encode(errors="surrogatepass")
            resume.violated(violation)
            resume.connected()
        except RecorderError:
            return


class Served(Remote):
    """A server that answers so, page after page, and then no more.

    Args:
        answers: The bodies of `fuzz_recording.SERVED`, in that order; further ones are further pages of deltas.
    """

    def __init__(self, answers: list[bytes]) -> None:
        # Without the connection that it would make.
        self.url = "http://localhost"
        self._answers = dict(zip((path.partition("?")[0] for path in SERVED), answers, strict=False))
        self._pages = answers[len(SERVED) :]
        self._next = 0  # of the pages that a cursor asks for

    def get(self, path: str, params: Params = ()) -> bytes:
        """The body of an answer."""
        if not any(name == "cursor" for name, _ in params):
            self._next = 0
            return self._answers.get(path, b"")
        self._next += 1
        return self._pages[self._next - 1] if self._next <= len(self._pages) else b""


def served(data: bytes) -> None:
    """Return what a recorder serves that `recorder doctor` is to examine, a line feed between answers."""
    each(lambda: verify_server(Served(data.split(b"\n")), frozenset()))


def with_true_checks(data: bytes) -> bytes:
    """A segment of the commit log whose records have the right lengths and checks, whatever they say."""
    opening, rest = data[:19], data[19:]
    parts = []
    while rest:
        kind, size = rest[:1], int.from_bytes(rest[1:5], "big")
        payload, rest = rest[9 : 9 + size], rest[9 + size :]
        length = len(payload).to_bytes(4, "big")
        parts.append(kind + length + crc32(payload, crc32(kind + length)).to_bytes(4, "big") + payload)
    return opening + b"".join(parts)


def commits(data: bytes) -> None:
    """The commit log, read at a start and by the doctor; by its first byte with true checks, whatever it says."""
    body = data[1:]
    damaged_commits(with_true_checks(body) if data[:1] > b"\x7f" else body)


def database(data: bytes) -> None:
    """Changes of a database file (where, in three bytes, and what): the doctor names them, or they change nothing."""
    each(lambda: damaged_database(data), fine=(RecorderError, sqlite3.Error, OSError))


def packed(data: bytes) -> None:
    """A packed log."""
    each(lambda: packed_file(data))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        publish, lines, ops, frames, query, cursor, times, bodies, token, claims, guard, texts, patches, pointers,
        heads, client, served, commits, database, packed,
    )
} | {name: source(name) for name in FORMATS}  # fmt: skip
"""By name."""


def check_all(inputs: Iterable[tuple[str, bytes]]) -> None:
    """Run inputs through the targets they are for."""
    for name, data in inputs:
        TARGETS[name](data)
