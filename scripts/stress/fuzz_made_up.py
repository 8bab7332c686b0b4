"""Inputs that hypothesis generates: messages that are well formed and hostile, frames of every kind, heads of requests.

A message is JSON text made by hand and not by an encoder: names that stand twice, numbers that nobody can hold, halves
of surrogate pairs, levels of nesting by the hundred. A way says how it is sent; all of them are allowed.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st
from websockets.utils import apply_mask

CODED = (
    "", "\0", "\u202eabc", "\ud83d", "\ude00\ud83d", "%", "_", "' OR 1=1 --", "..", "a/b", "\x7f\x9b31m", "\u2028", "ä𝄞",
    "x" * 256, "x" * 257, "\r\n", "__proto__", "constructor", "\ufeff", "*",
)  # fmt: skip
TEXTS = st.one_of(st.sampled_from(CODED), st.text(max_size=12))
STRINGS = st.builds(lambda text, plain: json.dumps(text, ensure_ascii=not plain), TEXTS, st.booleans())
ODD = (
    "null", "true", "0", "-0", "-0.0", "1e999", "1E-999", "9" * 40, "9" * 5000, "0.1" + "0" * 400, "NaN", "-Infinity",
    "01", "+1", "'a'", "[", "{}", "[]", "[1,]", '{"a":1,"a":2}', '"\x01"', '"\\x"', '"\\ud83d\\u0000"',
    "[" * 300 + "]" * 300, "[" * 700 + "]" * 700, '{"a":' * 60 + "1" + "}" * 60, " 1 ", "\ufeff1", "1 2", "",
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.sampled_from(ODD), STRINGS, st.integers().map(str)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: "[" + ",".join(parts) + "]"),
        st.lists(st.tuples(STRINGS, inner), max_size=4).map(lambda parts: _object(parts)),
    ),
    max_leaves=8,
)
TIMES = st.sampled_from(
    [
        "2026-11-20T12:00:00Z",
        "2026-11-20T12:00:60.9+14:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59Z",
        "now",
    ]
)
SINCE = st.one_of(
    st.sampled_from(
        ["latest", "earliest", "state", "0", "1", "9" * 19, "A:1", "A:1:" + "0" * 64, "-1", "%00"]
    ),
    TIMES,
    TEXTS,
)


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join([f"{name}:{value}" for name, value in members]) + "}"


@st.composite
def deltas(draw: st.DrawFn) -> str:
    """A delta: mostly what it should be, with one or more fields that are not."""
    usual = {
        "type": '"updated"', "sessionId": draw(STRINGS), "after": draw(VALUES), "before": None, "timestamp": None,
        "id": None,
    }  # fmt: skip
    names = [*usual, "sessionID", "exact"]
    odd = draw(st.dictionaries(st.sampled_from(names), st.one_of(st.none(), VALUES, STRINGS), max_size=2))
    members = [
        (json.dumps(name), value) for name, value in [*usual.items(), *odd.items()] if value is not None
    ]
    return _object(draw(st.permutations(members)) if odd else members)


PUBLISHES = st.one_of(
    deltas(), st.lists(deltas(), max_size=4).map(lambda parts: "[" + ",".join(parts) + "]"), VALUES
)


@st.composite
def ops(draw: st.DrawFn) -> str:
    """A message of a subscriber."""
    usual = {
        "op": json.dumps(draw(st.sampled_from(["ping", "subscribe", "subscribe", "unsubscribe"]))),
        "sessions": draw(
            st.one_of(st.none(), VALUES, st.lists(STRINGS, max_size=3).map(lambda p: "[" + ",".join(p) + "]"))
        ),
        "types": draw(st.one_of(st.none(), st.sampled_from(['["updated"]', '["moved"]', "[]", '"updated"']))),
        "since": draw(st.one_of(st.none(), SINCE.map(json.dumps), VALUES)),
        "slow": draw(st.one_of(st.none(), st.none(), st.just('"conflate"'))),
    }
    return _object([(json.dumps(name), value) for name, value in usual.items() if value is not None])


@dataclass(frozen=True, slots=True)
class Way:
    """The way in which a message is sent.

    Args:
        mask: Of each frame.
        cuts: Where it is cut into fragments, in parts of its length.
        packed: Whether it is compressed.
        ping: Whether a ping stands between its fragments.
    """

    mask: bytes = bytes(4)
    cuts: tuple[float, ...] = ()
    packed: bool = False
    ping: bool = False

    def frames(self, message: bytes) -> bytes:
        """The frames of a message."""
        data, first = (deflated(message), 0x41) if self.packed else (message, 0x01)
        places = [0, *(int(len(data) * cut) for cut in sorted(self.cuts)), len(data)]
        sent = []
        for number, (start, stop) in enumerate(pairwise(places)):
            is_last = number == len(places) - 2
            if number and self.ping:
                sent.append(frame(0x89, b"?", self.mask))
            sent.append(
                frame((0 if number else first) | (0x80 if is_last else 0), data[start:stop], self.mask)
            )
        return b"".join(sent)


WAYS = st.one_of(
    st.just(Way()),
    st.builds(
        Way,
        st.binary(min_size=4, max_size=4),
        st.lists(st.floats(0, 1), max_size=3).map(tuple),
        st.booleans(),
        st.booleans(),
    ),
)


def frame(first: int, payload: bytes, mask: bytes | None = bytes(4)) -> bytes:
    """A frame, its first byte as it is; without a mask where that is None, as no client may."""
    bit, size = 0 if mask is None else 0x80, len(payload)
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 65536:
        head = bytes([first, bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, bit | 127]) + size.to_bytes(8, "big")
    return head + payload if mask is None else head + mask + apply_mask(payload, mask)


def deflated(payload: bytes) -> bytes:
    """A message's payload as permessage-deflate compresses it (RFC 7692, section 7.2.1)."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([125, 126, 65_535, 65_536, 70_000]).map(bytes),
    st.sampled_from(
        [
            b'{"op":"ping"}',
            b'{"op":"subscribe","since":"state"}',
            deflated(b'{"op":"ping"}'),
            deflated(bytes(1 << 20)),
            b"\xff\xfe",
            b"\x03\xe8",
            b"\x03\xe8\xff",
            b"\x00",
            b"\x0f\xff",
            deflated(b"x" * 99)[:9],
        ]
    ),
)
FRAMES = st.builds(
    frame, st.one_of(st.integers(0, 255), st.sampled_from([0x81, 0xC1, 0x88, 0x01, 0x80])), PAYLOADS,
    st.one_of(st.none(), st.just(bytes(4)), st.binary(min_size=4, max_size=4)),
)  # fmt: skip
"""Frames that need not be allowed."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A connection: what it is for, what it sends, how it leaves.

    Args:
        target: `/ws` or `/publish`, with a query perhaps.
        messages: Well formed; what each must be answered with is known.
        rest: Frames behind them that need not be allowed.
        ending: `close`, `half` (nothing more is sent, without a goodbye) or `reset`.
    """

    target: str
    messages: tuple[tuple[str, Way], ...] = ()
    rest: tuple[bytes, ...] = ()
    ending: str = "close"

    @property
    def publishes(self) -> bool:
        """Return whether it is a publisher."""
        return self.target.startswith("/publish")

    def steps(self) -> list[bytes]:
        """Return what is sent, piece by piece."""
        return [way.frames(encoded(message)) for message, way in self.messages] + list(self.rest)


def encoded(message: str) -> bytes:
    """A message's bytes; half of a surrogate pair becomes what is no UTF-8."""
    return message.encode("utf-8", "surrogatepass")


def visits() -> st.SearchStrategy[Visit]:
    """Publishers and subscribers."""
    rest = st.one_of(st.just(()), st.lists(FRAMES, max_size=5).map(tuple))
    ending = st.sampled_from(["close", "close", "half", "reset"])

    def messages(kind: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[tuple[str, Way], ...]]:
        return st.lists(st.tuples(kind, WAYS), max_size=5).map(tuple)

    subscribes = st.sampled_from(
        ["/ws", "/ws?since=state", "/ws?since=earliest&slow=conflate", "/ws?session=s&type=deleted"]
    )
    return st.one_of(
        st.builds(Visit, st.just("/publish"), messages(PUBLISHES), rest, ending),
        st.builds(Visit, subscribes, messages(ops()), rest, ending),
    )


PATHS = (
    "/", "/api/deltas", "/api/deltas/%2e%2e", "/api/sessions/s", "/api/sessions/%00", "/api/sessions/%FF?at=1",
    "/api/export", "/api/export?format=csv&session=%D8", "/client.js", "/assets/..%2f..%2fx", "/ws", "/publish",
    "/ws?since=%00", "/metrics", "/api/sessions/s/blame?path=/n/~2", "/api/sessions/s/diff?from=0", "*", "//", "http://x/",
    "/%", "/api/deltas?" + "a=1&" * 900,
    "/api/stream?since=earliest", "/api/stream?since=state&type=moved", "/api/receipts",
)  # fmt: skip
FIELDS = (
    ("host", ("{host}", "{host}, {host}", "evil.example", "[::1", "127.0.0.1:99999", "localhost", "")),
    ("origin", ("http://{host}", "null", "http://evil.example", "https://{host}", "\xff")),
    ("authorization", ("Bearer x", "Bearer " + "a." * 5000, "Basic eA==", "Bearer", "\xe4")),
    ("sec-websocket-protocol", ("bearer.a.b.c", "bearer.", "bearer.a, bearer.b", ",,", "\xff")),
    ("x-forwarded-for", ("127.0.0.1", "::ffff:1.2.3.4%x", "," * 500)),
    ("range", ("bytes=0-0", "bytes=" + "0-0," * 2000, "bytes=-" + "9" * 400, "lines=1")),
    ("content-type", ("application/json", "application/x-ndjson; charset=\xff", "text/plain", "")),
    ("content-length", ("0", "5", "-1", "9" * 30, "0x5", "5, 5")),
    ("transfer-encoding", ("chunked", "gzip, chunked", "identity")),
    ("content-encoding", ("gzip", "identity", "")),
    ("upgrade", ("websocket", "h2c")),
    ("connection", ("Upgrade", "close", "keep-alive, Upgrade")),
    ("sec-websocket-key", ("AAAAAAAAAAAAAAAAAAAAAA==", "short", "\xff")),
    ("sec-websocket-version", ("13", "8", "13, 13")),
    ("sec-websocket-extensions", ("permessage-deflate", "permessage-deflate; server_max_window_bits=99", ";;", "x")),
    ("if-none-match", ("*", '"x"', "W/")),
    ("last-event-id", ("A:1", "\x01")),
    ("expect", ("100-continue", "x")),
    ("accept-encoding", ("gzip;q=x",)),
    ("x" * 300, ("y" * 3000,)),
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> str:
    """A request's head and body, `{host}` where the server's is to stand."""
    method = draw(
        st.sampled_from(["GET", "GET", "POST", "HEAD", "OPTIONS", "DELETE", "get", "CONNECT", "X" * 40])
    )
    lines = [
        f"{method} {draw(st.sampled_from(PATHS))} HTTP/{draw(st.sampled_from(['1.1', '1.1', '1.1', '1.0', '2.0', '9']))}"
    ]
    if draw(st.integers(0, 9)):
        lines.append("host: {host}")
    for name, values in draw(st.lists(st.sampled_from(FIELDS), max_size=5)):
        lines.append(f"{name}: {draw(st.sampled_from(values))}")
    body = draw(
        st.one_of(
            st.just(""), PUBLISHES, st.sampled_from(["5\r\nhello\r\n0\r\n\r\n", "-1\r\n", "fffffffff\r\n"])
        )
    )
    return "\r\n".join([*lines, "", body])
