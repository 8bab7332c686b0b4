"""Taking secrets out of states: exactly what is named goes, every other byte stays, and equal secrets stay equal."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.known_secrets import DEFAULT_KEYS, DEFAULT_PATTERNS
from recorder.core.redaction import MARKER, Redactor
from tests.support.jsontexts import STATES

SALT = b"salt"
KEYS = Redactor(["password", "Token"], [], SALT)
BOTH = Redactor(DEFAULT_KEYS, DEFAULT_PATTERNS, SALT)
SECRET = "sk-abcdefghijklmnopqrstuvwx"


def redacted(text: str, redactor: Redactor = KEYS) -> str:
    return MARKER.sub("#", redactor.redact(text)[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"password":"x"}', '{"password":"#"}'),
        ('{ "PassWord" :\t"x" , "a":1}', '{ "PassWord" :\t"#" , "a":1}'),
        ('{"a":[{"token":1e999},{"token":true}]}', '{"a":[{"token":"#"},{"token":"#"}]}'),
        ('{"password":{"a":[1,{"password":2}]},"b":[]}', '{"password":"#","b":[]}'),
        ('{"password":[],"token":{}}', '{"password":"#","token":"#"}'),
        ('{"password":null}', '{"password":null}'),
        (r'{"pass\u0077ord":"x"}', r'{"pass\u0077ord":"#"}'),
        (r'{"a":"\"password\":","b":"x"}', r'{"a":"\"password\":","b":"x"}'),
        ('{"passwords":"x","my password":"x"}', '{"passwords":"x","my password":"x"}'),
        ('{"password":"x","password":"y"}', '{"password":"#","password":"#"}'),
        ('["password","token"]', '["password","token"]'),
        ('{"a":"password"}', '{"a":"password"}'),
        ('"password"', '"password"'),
    ],
)
def test_the_values_of_named_keys_go_at_any_depth_and_nothing_else(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{{"log":"use {SECRET} now"}}', '{"log":"use # now"}'),
        (f'"{SECRET}"', '"#"'),
        (rf'{{"log":"a\u00e4\n\ud83d\ude00{SECRET}\"b"}}', r'{"log":"a\u00e4\n\ud83d\ude00#\"b"}'),
        (rf'["\u0073k-{SECRET[3:]}"]', '["#"]'),
        (r'"-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"', r'"#\n"'),
        (f'{{"{SECRET}":1}}', f'{{"{SECRET}":1}}'),
        (f'["{SECRET}{SECRET} {SECRET}"]', '["# #"]'),
        (f'["disk-{SECRET[3:]}"]', f'["disk-{SECRET[3:]}"]'),
    ],
)
def test_what_a_pattern_finds_in_a_string_goes_and_the_rest_of_it_stays(text: str, expected: str) -> None:
    assert redacted(text, BOTH) == expected


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F\n\nab/c+d=="
        "\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\r\nb3Blb\r\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n-MIIE\n--vQ\n----x\n------END PRIVATE KEY-----",  # as a diff shows its removal
    ],
)
def test_private_keys_go_whole_in_the_ways_they_are_written(key: str) -> None:
    text = json.dumps({"log": f"before {key} after", "other": "-----BEGIN CERTIFICATE-----"})
    assert redacted(text, BOTH) == '{"log": "before # after", "other": "-----BEGIN CERTIFICATE-----"}'


@pytest.mark.parametrize(
    ("piece", "hits"),
    [
        ("-----BEGIN PRIVATE KEY-----", 0),
        ("-----BEGIN PRIVATE KEY------", 0),
        ("-----BEGIN A ", 0),
        ("eyJ", 0),
        ("eyJaaaaaaaaaa-", 0),
        ("xoxa-", 1),
        (f"{SECRET} ", 40_000),
    ],
)
def test_what_looks_like_the_beginnings_of_many_secrets_is_searched_once(piece: str, hits: int) -> None:
    # A million characters: where each beginning reads on to the end it takes minutes, and the suite's limit ends it.
    text = f'"{piece * (hits if hits > 1 else 1_000_000 // len(piece))}"'
    assert BOTH.redact(text)[1] == hits


def test_a_number_that_a_pattern_finds_goes_whole() -> None:
    cards = Redactor([], [r"\b4[0-9]{15}\b"], SALT)
    assert (
        redacted('{"card":4111111111111111,"n":41111111111111112}', cards)
        == '{"card":"#","n":41111111111111112}'
    )


@pytest.mark.parametrize("pattern", ["^secret$", r"\Asecret\Z", "(?<![a-z])secret(?![a-z])", "secret(?=$)"])
def test_a_pattern_may_speak_of_the_ends_of_a_value(pattern: str) -> None:
    redactor = Redactor([], [pattern], SALT)
    assert redacted('["secret","secrets",{"secret":"x"}]', redactor) == '["#","secrets",{"secret":"x"}]'


def test_equal_secrets_stay_equal_and_the_salt_decides_what_they_become() -> None:
    text = f'{{"a":"{SECRET}","token":"{SECRET}","password":"other"}}'
    first, second, third = MARKER.findall(BOTH.redact(text)[0])
    assert first == second != third
    assert first == BOTH.marker(SECRET)
    assert first != Redactor([], [], b"another").marker(SECRET)
    assert first != f"[redacted:{'0' * 32}]"


def test_what_is_redacted_already_stays_as_it_is() -> None:
    once, count = BOTH.redact(f'{{"token":"x","log":"{SECRET}"}}')
    assert count == 2
    assert BOTH.redact(once) == (once, 0)


def test_a_state_without_a_hit_is_the_very_same_text() -> None:
    text = '{"plan":[{"step":"a\\n","status":"pending"}],"n":1.50}'
    assert BOTH.redact(text)[0] is text


def test_what_would_go_is_told_by_its_path() -> None:
    text = f'{{"a":[1,{{"b":{{"token":5}}}}],"log":["x","{SECRET}"]}}'
    hits = list(BOTH.find(text))
    assert [(hit.path, hit.why.split(" ", 1)[0]) for hit in hits] == [
        (".a[1].b.token", "key"),
        (".log[1]", "pattern"),
    ]
    assert [text[hit.start : hit.end] for hit in hits] == ["5", SECRET]


@given(STATES)
def test_any_state_stays_json_and_is_unchanged_where_nothing_is_named(text: str) -> None:
    assert BOTH.redact(text) == (text, 0)
    everything = Redactor([], [r"[\s\S]+"], SALT)
    out, _ = everything.redact(text)
    json.loads(out)


def names(value: Any) -> set[str]:
    found: set[str] = set()
    if isinstance(value, dict):
        found |= {name.lower() for name in value}
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        found |= names(each)
    return found


VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["x", SECRET, f"a {SECRET} b", "\n", "ä", "\ud83d"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "token", "Password", "to\\ken", "ken"]), inner, max_size=3)
    ),
    max_leaves=15,
)


def expected(value: Any) -> Any:
    """What a walk of the decoded value would leave."""
    if isinstance(value, dict):
        return {
            name: "#" if name.lower() in ("token", "password") and each is not None else expected(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [expected(each) for each in value]
    return re.sub(r"\bsk-[A-Za-z0-9_-]{20,}", "#", value) if isinstance(value, str) else value


@given(VALUES, st.booleans())
def test_the_search_before_the_walk_never_misses_what_a_walk_would_find(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    out, _ = BOTH.redact(text)
    assert json.loads(MARKER.sub("#", out)) == expected(value)
