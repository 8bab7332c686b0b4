"""Taking secrets out of states: exactly what is named goes, every other byte stays, and equal secrets stay equal."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.redaction import DEFAULT_KEYS, DEFAULT_PATTERNS, MARKER, Redactor
from tests.support.jsontexts import STATES, STRINGS
from tests.support.jsontexts import VALUES as TEXTS

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


@pytest.mark.parametrize("escaped", [r"\ud83d\ude00", r"\uD83D\uDE00", "\U0001f600"])
def test_a_character_beyond_the_basic_plane_is_found_however_it_is_written(escaped: str) -> None:
    redactor = Redactor(["\U0001f600key"], ["secret-\U0001f600"], SALT)
    assert redacted(f'["a secret-{escaped} b"]', redactor) == '["a # b"]'
    assert redacted(f'{{"{escaped}key":1}}', redactor) == f'{{"{escaped}key":"#"}}'


@pytest.mark.parametrize("key", ["*password", "*PassWord"])
def test_a_key_with_an_asterisk_stands_for_all_names_that_end_in_the_rest(key: str) -> None:
    redactor = Redactor([key], [], SALT)
    assert (
        redacted('{"db_password":"x","dbPassword":1,"password":2,"passwords":3}', redactor)
        == '{"db_password":"#","dbPassword":"#","password":"#","passwords":3}'
    )


@pytest.mark.parametrize(
    "name", ["pwd", "DB_PASSWORD", "dbPassword", "mysql_pwd", "client-secret", "GITHUB_TOKEN", "x-api-key"]
)
def test_the_usual_names_of_secrets_are_known(name: str) -> None:
    assert redacted(f'{{"{name}":"x"}}', BOTH) == f'{{"{name}":"#"}}'


@pytest.mark.parametrize("name", ["tokens", "max_tokens", "secretary", "keyboard", "next", "cookies"])
def test_names_that_only_resemble_those_of_secrets_stay(name: str) -> None:
    assert redacted(f'{{"{name}":"x"}}', BOTH) == f'{{"{name}":"x"}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name":"Authorization","value":"Bearer x"}', '{"name":"Authorization","value":"#"}'),
        ('{"Key":"Cookie","a":[1],"Value":["x"],"b":2}', '{"Key":"Cookie","a":[1],"Value":"#","b":2}'),
        ('[{"value":"x","name":"cookie"},{"value":"x"}]', '[{"value":"#","name":"cookie"},{"value":"x"}]'),
        ('{"name":"Accept","value":"x","b":{"value":1}}', '{"name":"Accept","value":"x","b":{"value":1}}'),
        (r'{"n\u0061me":"c\u006fokie","value":1}', r'{"n\u0061me":"c\u006fokie","value":"#"}'),
        ('{"a":{"name":"cookie"},"value":"x"}', '{"a":{"name":"cookie"},"value":"x"}'),
        ('{"name":"cookie","a":{"value":"x"}}', '{"name":"cookie","a":{"value":"x"}}'),
        ('{"value":"x","name":3}', '{"value":"x","name":3}'),
    ],
)
def test_the_value_of_a_pair_goes_by_the_name_beside_it(text: str, expected: str) -> None:
    assert redacted(text, BOTH) == expected


@pytest.mark.parametrize(
    "inner",
    [
        '{"password":"x","a":1}',
        ' [{"db_password": 5}] ',
        '{"a":{"password":{"b":["x"]}},"b":"\\u00e9"}',
        '{"headers":[{"name":"cookie","value":"x"}]}',
    ],
)
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_keys_are_found_in_json_that_is_written_as_a_string(inner: str, levels: int) -> None:
    text = inner
    for _ in range(levels):
        text = json.dumps({"arguments": text})
    out, count = BOTH.redact(text)
    assert count == 1
    for _ in range(levels):
        out = json.loads(out)["arguments"]
    assert MARKER.sub("#", out) == redacted(inner, BOTH)
    assert BOTH.redact(text)[0] == BOTH.redact(BOTH.redact(text)[0])[0]


def test_json_in_strings_beyond_the_last_level_is_left() -> None:
    text = '{"password":"x"}'
    for _ in range(5):
        text = json.dumps({"arguments": text})
    assert BOTH.redact(text) == (text, 0)


def test_a_pattern_that_cuts_a_value_under_a_key_takes_all_of_it() -> None:
    redactor = Redactor(["password"], [r"[a-z]+-one\b", r"\d+, *.b"], SALT)
    assert redacted(json.dumps('{"password":"ab-one two"}'), redactor) == json.dumps('{"password":"#"}')
    assert redacted(json.dumps('{"password":12, "b":1}'), redactor) == r'"{\"password\":#\":1}"'


def test_the_path_leads_into_json_in_a_string() -> None:
    text = json.dumps({"arguments": json.dumps({"env": [{"token": 5}]})})
    (hit,) = BOTH.find(text)
    assert (hit.path, hit.digest_of) == (".arguments.env[0].token", "5")


def test_names_in_text_that_is_no_json_are_beyond_keys() -> None:
    for text in ('POST {"password":"x"}', "password=x", '{"password":'):
        assert BOTH.redact(json.dumps([text])) == (json.dumps([text]), 0)


NAMED = st.sampled_from(
    [
        '"token"',
        r'"tok\u0065n"',
        '"name"',
        '"value"',
        '"key"',
        r'"\ud83d\ude00"',
        '"\U0001f600"',
        '"a"',
        r'"b\\"',
    ]
)
HINTED = st.recursive(
    TEXTS | NAMED | st.builds(json.dumps, st.sampled_from([f"x {SECRET}", "\U0001f600", "\\", '"'])),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda texts: f"[{','.join(texts)}]")
        | st.lists(st.tuples(NAMED | STRINGS, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
        )
        | st.builds(json.dumps, inner, ensure_ascii=st.booleans())
    ),
    max_leaves=12,
)


@given(HINTED, st.sampled_from(["\U0001f600", r"\bsk-[a-z]+", r'[\\]"', "\ud83d", "[^a]e", r"\d\d\b"]))
def test_the_search_and_the_walk_read_every_text_alike(text: str, pattern: str) -> None:
    redactor = Redactor(["token", "\U0001f600", "*b\\"], [pattern], SALT)
    out, count = redactor.redact(text)
    assert count == len(list(redactor.find(text)))
    json.loads(out)
