"""The seeds of fuzzing: for each target inputs that are valid, and such that nearly are; and the protocol's words.

Without them a fuzzer spends its time on what the first look refuses. Made by code each time, so that they follow the
protocol.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise, product

import jwt

from recorder.api import params
from recorder.core.redaction import DEFAULT_KEYS
from recorder.wire.explain import FIELDS
from stress.fuzz_recording import recording
from stress.fuzz_targets import ED25519, EPOCH, NOW, SECRET, TARGETS

STATES = (
    "1", '""', "false", "[]", "{}", "1e999", "-0.0", "9" * 60, '{"a":1,"a":2}', r'"\ud83d"', r'"\u0000\n"', '"é𝄞"',
    '{"plan":[{"status":"pending"},{"status":"done","n":1e2}],"password":"hunter2"}', "[" * 40 + "]" * 40,
    '{"list":[1,2,3,{"k":null}],"t":"sk-abcdefghijklmnopqrstuvwxyz"}', "NaN", "01", '"\x01"', "[1,]", "nul",
)  # fmt: skip
TIMES = (
    "2026-11-20T12:00:00.000Z", "2026-11-20t12:00:00z", "2026-11-20T23:59:60.123456+14:00", "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:60Z", "2026-02-30T00:00:00.000Z", "2026-11-20T12:00:00",
)  # fmt: skip
SINCE = ("latest", "earliest", "state", "0", "7", f"{EPOCH}:12", f"{EPOCH}:12:{'0f' * 32}", "9" * 19, *TIMES)
WORDS = (
    *FIELDS, *params.DELTAS, *params.BLAME, *params.DIFF, *params.JOBS, *params.EXPORT, *DEFAULT_KEYS[:6], "created",
    "updated", "deleted", "op", "subscribe", "ping", "sessions", "types", "event", "delta", "exact", "erased", "hello",
    "live", "reset", "heartbeat", "error", "ack", "state", "recordedAt", "hash", "lineage", "broken", "earliest",
    "latest", "slow", "conflate", "close", "null", "true", "false", "NaN", "-Infinity", "1e999", "9223372036854775808",
    "18446744073709551616", r"\\ud83d", r"\\u0000", r"\\ude00", "Bearer ", "bearer.", "HS256", "EdDSA", "none", "alg",
    "kid", "crit", "role", "exp", "nbf", "aud", "iss", "sessionPrefixes", "admin", "publish", "https://", "localhost",
    "[::1]", "127.0.0.1", "::ffff:10.0.0.1", "x-forwarded-for:", "x-forwarded-proto:", "host:", "origin:",
    "authorization:", "sec-websocket-protocol:", "olderThan", "reason", "payload", "before", "after", "source", "ts_ms",
    "trajectory", "history", "info", "message", "uuid", "parentUuid", "timestamp", "~0", "~1", "%00", "+00:00",
    "-----BEGIN PRIVATE KEY-----", "eyJ", "sk-", "ghp_", "AKIA", "xoxb-",
)  # fmt: skip
"""What the protocol, and the formats around it, are written with."""


def dictionary() -> str:
    """The words as libFuzzer takes them."""
    return "".join([f'"{word}"\n' for word in dict.fromkeys(WORDS)])


def seeds(target: str) -> Iterator[bytes]:
    """Return what a target begins with."""
    for seed in _SEEDS[target]():
        yield seed if isinstance(seed, bytes) else seed.encode("utf-8", "surrogatepass")


def _deltas() -> Iterator[str]:
    for state, kind in product(STATES, ("created", "updated")):
        yield f'{{"type":"{kind}","sessionId":"s","after":{state}}}'
    yield '{"type":"deleted","sessionId":"ä\\ud83d","before":{"a":[1]}}'
    yield '{"type":"updated","sessionId":"s","before":null,"after":[1],"type":"created"}'
    yield f'{{"type":"updated","sessionId":"{"x" * 257}","after":1,"id":"","other":1}}'
    for time in TIMES:
        yield f'{{"type":"updated","sessionId":"s","after":1,"timestamp":"{time}","id":"i"}}'


def _messages() -> Iterator[str]:
    found = list(_deltas())
    yield from found
    yield "[" + ",".join(found[:4]) + "]"
    yield "[ " + " , ".join([found[0], found[30], found[-1]]) + " ] "
    yield "[]"


def _lines() -> Iterator[str]:
    found = list(_deltas())
    yield "\n".join(found[:6]) + "\n\n"
    yield from (f"{one}\r\n{other}" for one, other in pairwise(found))


def _ops() -> Iterator[str]:
    yield '{"op":"ping"}'
    yield '{"op":"subscribe"}'
    yield from (f'{{"op":"subscribe","sessions":["a","%"],"since":"{since}"}}' for since in SINCE)
    yield '{"op":"subscribe","types":["updated","moved"],"sessions":[],"since":9223372036854775808}'
    yield '{"op":"subscribe","sessions":["\\u202e\\u0000"],"since":null,"op":"ping"}'


def frame(payload: bytes, first: int = 0x81, *, mask: bytes = bytes(4)) -> bytes:
    """A client's frame, masked with zeros: what it carries stays readable for a fuzzer."""
    size = len(payload)
    head = bytes([first, 0x80 | size]) if size < 126 else bytes([first, 0x80 | 126]) + size.to_bytes(2, "big")
    return head + mask + payload


def deflated(payload: bytes) -> bytes:
    """The payload of a message as permessage-deflate compresses it."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def _frames() -> Iterator[bytes]:
    text = b'{"type":"updated","sessionId":"s","after":1}'
    plain = [
        frame(text),
        frame(b"x" * 200),
        frame(b"\x03\xf3bye", 0x88),
        frame(b"hi", 0x89),
        frame(b"", 0x8A),
    ]
    split = [frame(b"ab", 0x01), frame(b"", 0x89), frame(b"cd", 0x00), frame(b"e", 0x80)]
    packed = [frame(deflated(text), 0xC1), frame(deflated(b"y" * 5000), 0xC1), frame(b"\xff\xff", 0xC1)]
    broken = [
        frame(b"x", 0xA1),
        b"\x81\x05hello",
        b"\x81\xff" + b"\xff" * 8,
        frame(b"x" * 126, 0x89),
        frame(b"\x03", 0x88),
    ]
    for first in (b"\0", b"\x80"):
        yield first + b"".join(plain[:2] * 3 + plain[3:] + plain[2:3])
        yield first + b"".join(split)
        yield first + b"".join(packed[:1] + split + packed[1:2])
        yield first + frame(deflated(text)[:9], 0x41) + frame(deflated(text)[9:], 0x80)
        yield from (first + one for one in [*plain, *packed, *broken])


def _queries() -> Iterator[str]:
    yield "session=a&session=b%2F&type=updated&since=earliest&slow=conflate"
    yield from (f"since={since}&session=%E2%80%AE" for since in SINCE)
    yield "after=0&before=9223372036854775807&limit=1000&order=asc&lineage=broken&type=deleted"
    yield from (f"happenedSince={time}&until={time}&format=csv" for time in TIMES)
    yield "path=/plan/3/status~0~1&before=7&limit=0"
    yield "from=1&to=2026-11-20T12:00:00Z&as=merge&at=3"
    yield "%00=%FF&limit=01&session=&cursor=" + _cursors()[0]


def _cursors() -> list[str]:
    asked = {"type": ["updated"], "since": [TIMES[0]]}
    kinds = (
        params.DeltasCursor(EPOCH, None, asked, "desc", 12),
        params.DeltasCursor(EPOCH, "s", {}, "asc", 2**63 - 1),
        params.SessionsCursor(EPOCH, 3, 9, 12),
        params.SessionsCursor("other"),
    )
    return [params.encode_cursor(kind) for kind in kinds]


def _cursor_inputs() -> Iterator[str]:
    yield from _cursors()
    yield f'{{"type":"deltas","epoch":"{EPOCH}","session":null,"asked":{{"limit":["1"]}},"order":"asc","seq":1}}'
    yield f'{{"type":"deltas","epoch":"{EPOCH}","session":"s","asked":{{"after":["x"]}},"order":"desc","seq":-1}}'
    yield f'{{"type":"sessions","epoch":"{EPOCH}","above":1,"below":null,"head":1e3}}'


CLAIMS: tuple[dict[str, object], ...] = (
    {"role": "subscribe"}, {"role": ["publish", "subscribe"], "sessions": ["a"], "exp": NOW + 9},
    {"role": "publish", "sessionPrefixes": ["t/"], "nbf": NOW - 1, "exp": 1e300}, {"role": "admin", "sessions": []},
    {"role": "admin", "aud": "somebody", "iss": 3, "exp": True, "iat": "x"}, {"role": [["admin"]], "sub": 1, "jti": []},
)  # fmt: skip


def _tokens() -> Iterator[str]:
    yield from ("a-token", "another.token", "a.b.c", "", "é", "." * 9)
    for claims in CLAIMS[:4]:
        yield jwt.encode(claims, SECRET, "HS256")
        yield jwt.encode(claims, ED25519, "EdDSA", headers={"kid": "ed"})


def _claims() -> Iterator[str]:
    headers = (
        '{"alg":"HS256"}',
        '{"alg":"EdDSA","kid":"ed","typ":"JWT"}',
        '{"alg":"HS256","crit":["b64"],"b64":false}',
    )
    for claims, header in product(CLAIMS, headers):
        yield f"{header}\n{json.dumps(claims)}"


def _heads_of_requests() -> Iterator[str]:
    yield "host: recorder.example:8765\norigin: https://page.example\nauthorization: Bearer a-token"
    yield "host: [::1]:8765\norigin: http://[::1]:8765\nx-forwarded-for: 192.0.2.1, 10.0.0.9"
    yield "host: 10.1.2.4\nx-forwarded-for: [::ffff:10.0.0.9]:80\nx-forwarded-for: fe80::1%eth0"
    yield "host: 10.1.2.4\nx-forwarded-for: 10.0.0.9\nx-forwarded-proto: https, http"
    yield "host: localhost\nhost: localhost\norigin: null"
    yield "host: LOCALHOST:99999\nsec-websocket-protocol: chat, bearer.another.token\nauthorization: Basic eA=="
    yield "host: 127.0.0.1@evil.example\norigin: https://127.0.0.1@evil.example"


def _pairs() -> Iterator[str]:
    states = [state for state in STATES if state not in ("NaN", "01", "[1,]", "nul")]
    yield from (f"{one}\n{other}" for one, other in pairwise(states))
    yield '{"a":[1,2,3,{"x":1}],"b":{"c":null}}\n{"a":[0,1,3,{"x":2},4],"b":{"d":1},"~/":[]}'
    yield "[1,2,3,4,5,6]\n[6,1,2,9,4,5]"
    yield '{"a":{"b":{"c":1}}}\n{"a":{"b":{}},"":0}'


def _pointers() -> Iterator[str]:
    yield '/plan/1/status\n{"plan":[0,{"status":1}]}\n{"plan":[0,{"status":2}]}\n{"plan":7}'
    yield "\n1\n2\n2"
    yield '/~01/a~1b/0\n{"~1":{"a/b":[[]]}}\n{"~1":{"a/b":[1]}}'
    yield "/9999999999/-1\n[1,2]"


def _exported() -> Iterator[str]:
    items = [event.decode() for event in recording().events if b'"delta"' in event]
    yield "\n".join(items[:3]) + "\n"
    yield from items
    yield '{"seq":1,"delta":{"type":"updated","sessionId":"s","after":[1, 2]},"exact":{"after":"[1,\\n2]"}}\n'
    yield from _lines()


def _change(op: str, **more: object) -> dict[str, object]:
    source = {
        "connector": "postgresql",
        "name": "n",
        "db": "d",
        "schema": "s",
        "table": "t",
        "ts_ms": 1,
        "lsn": 5,
    }
    return {
        "op": op,
        "before": {"id": 1},
        "after": {"id": 1, "x": [1.50]},
        "source": source,
        "ts_ms": 2,
        **more,
    }


def _changes() -> Iterator[str]:
    for op in "crudtm":
        yield json.dumps(_change(op))
        yield json.dumps({"key": {"id": 1}, "topic": "n.s.t", "value": json.dumps({"payload": _change(op)})})
    yield json.dumps([_change("c"), None, _change("d", after=None)], indent=1)
    yield "\n".join([json.dumps(_change("c")), "null", json.dumps(_change("u", source={"ts_ms": 10**18}))])
    mongo = {
        "op": "u",
        "after": '{"_id":{"$oid":"5f"},"a":1}',
        "source": {"connector": "mongodb", "collection": "c"},
    }
    yield json.dumps({"schema": {"name": "n.d.c.Envelope"}, "payload": mongo})


def _runs() -> Iterator[str]:
    step = {
        "action": "ls",
        "observation": "a\n",
        "thought": "look",
        "state": '{"open_file":"x"}',
        "execution_time": 0.1,
    }
    run = {
        "environment": "main",
        "trajectory": [step, {**step, "response": "look ls"}],
        "info": {"exit_status": "submitted"},
    }
    yield json.dumps(run)
    yield json.dumps(
        {"history": [{"role": "user", "content": "do"}, {"role": "assistant", "content": [1]}], "info": {}}
    )
    yield json.dumps({"attempts": [run, run], "trajectory": None})
    yield json.dumps({"trajectory": [1, None, {}], "info": 3})


def _chats() -> Iterator[str]:
    todos = [{"id": "1", "content": "c", "status": "pending", "priority": "high"}]
    content = [
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "name": "TodoWrite", "input": {"todos": todos}},
    ]
    usage = {"input_tokens": 3, "output_tokens": 2**70, "cache_read_input_tokens": -1}
    records: list[dict[str, object]] = [
        {"type": "summary", "summary": "s", "leafUuid": "u1"},
        {
            "type": "user",
            "uuid": "u1",
            "parentUuid": None,
            "message": {"role": "user", "content": "do"},
            "cwd": "/x",
        },
        {
            "type": "assistant",
            "uuid": "u2",
            "parentUuid": "u1",
            "message": {"content": content, "usage": usage, "id": "m"},
        },
        {"type": "system", "uuid": "u3", "isSidechain": True, "message": None, "version": 3},
    ]
    same = {"sessionId": "7b", "timestamp": TIMES[0]}
    yield "\n".join([json.dumps(record | same) for record in records])
    yield from (json.dumps(record | same) for record in records)


def _served() -> Iterator[bytes]:
    hello = b'{"event":"hello","protocol":1,"epoch":"%b","head":0,"durable":0}' % EPOCH.encode()
    yield b"\n".join([hello, *recording().events])
    yield b"\n".join([hello, b'{"event":"reset","reason":"pruned","epoch":"E","oldest":3,"head":9}',
        b'{"event":"state","seq":3,"sessionId":"a","state":[1]}', b'{"event":"live","seq":9}'])  # fmt: skip
    for event in recording().events:
        yield hello + b"\n" + event
    yield hello + b'\n{"event":"state","seq":3,"sessionId":"\\ud83d","state":"\\ud83d"}\n{"event":"future"}'


def _bodies() -> Iterator[bytes]:
    answers = list(recording().served.values())
    yield b"\n".join(answers)
    # In pages, as of one that gives few at once.
    page = json.loads(answers[-1])
    items = page["deltas"]
    for kept, following in ((items[:9], "more"), (items[9:], None)):
        cut = {**page, "deltas": kept, "next": following}
        answers.append(json.dumps(cut, separators=(",", ":"), ensure_ascii=False).encode())
    del answers[-3]  # the whole
    yield b"\n".join(answers)
    yield b"\n".join([b'{"title":"none","status":404,"code":"not_found"}', *answers[1:]])


def _commit_logs() -> Iterator[bytes]:
    (segment,) = recording().commits.values()
    for first in (b"\0", b"\x80"):
        yield first + segment
        yield first + segment[:900]
        yield first + segment[:19]


def _file_changes() -> Iterator[bytes]:
    yield b""
    # Pages of 4 kB: the file's head, the schema, and something on each page behind them.
    places = [page * 4096 + at for page in range(30) for at in (0, 3, 8, 2000)]
    yield from (place.to_bytes(3, "big") + b"\xff" for place in places)
    # So many at once that longer inputs are tried, too.
    yield b"".join([place.to_bytes(3, "big") + b"\0" for place in places[::7]])


def _packed() -> Iterator[bytes]:
    for data in (b"", b'{"type":"x"}\n' * 20, bytes(200_000)):
        yield gzip.compress(data, mtime=0)
    yield gzip.compress(b"a", mtime=0) + gzip.compress(b"b", mtime=0)


_SEEDS: dict[str, Callable[[], Iterable[str | bytes]]] = {
    "publish": _messages,
    "lines": _lines,
    "ops": _ops,
    "frames": _frames,
    "query": _queries,
    "cursor": _cursor_inputs,
    "times": lambda: SINCE,
    "bodies": lambda: [
        '{"sessionId":"s","reason":"r"}',
        '{"olderThan":"2026-11-20T12:00:00Z"}',
        "{}",
        " ",
        *STATES,
    ],
    "token": _tokens,
    "claims": _claims,
    "guard": _heads_of_requests,
    "texts": lambda: [*STATES, *_pairs(), b"\0\0\0" + b"9", "\ufeff1"],
    "patches": _pairs,
    "pointers": _pointers,
    "heads": lambda: [recording().heads, recording().heads * 2, b"{}\n"],
    "client": _served,
    "served": _bodies,
    "commits": _commit_logs,
    "database": _file_changes,
    "packed": _packed,
    "ndjson": _exported,
    "debezium": _changes,
    "swe-agent": _runs,
    "claude-code": _chats,
}
assert _SEEDS.keys() == TARGETS.keys()
