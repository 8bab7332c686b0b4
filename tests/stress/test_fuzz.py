"""The fuzzing script's own parts: what it begins with is sound, it sees what it looks for, a short run finds nothing."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from stress import fuzz, fuzz_long, fuzz_targets, fuzz_wire
from stress.fuzz_files import FOLDER_VARIABLE
from stress.fuzz_made_up import Visit, Way, deflated, frame
from stress.fuzz_seeds import dictionary, seeds
from stress.fuzz_targets import TARGETS

from recorder.config.settings import load_settings
from tests.support.app import running_app

HEAD = b"HTTP/1.1 101 x\r\n\r\n"


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_decoder_begins_with_is_fine(name: str) -> None:
    # Not all of the many that differ in a byte alone: each costs a look at a whole file.
    found = list(seeds(name))[:: 20 if name == "database" else 1]
    assert len(found) >= 3
    for data in found:
        TARGETS[name](data)


def test_an_error_that_is_not_ours_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("planted")

    planted: dict[str, tuple[str, Callable[..., None]]] = {
        "publish": ("decode_text", broken),
        "ops": ("parse_op", broken),
        "heads": ("parse_heads", broken),
        "ndjson": ("decode_text", broken),
    }
    for name, (function, plant) in planted.items():
        data = next(seeds(name))
        with monkeypatch.context() as patch:
            patch.setattr(fuzz_targets, function, plant)
            with pytest.raises(KeyError, match="planted"):
                TARGETS[name](data)


def test_what_a_decoder_promises_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_targets.patch, "json_patch", lambda before, after: b"[]")
    with pytest.raises(AssertionError):
        TARGETS["patches"](b'{"a":1}\n{"a":2}')


def test_what_says_where_to_write_is_not_taken_for_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "anywhere")
    assert load_settings().persist is False


def test_the_dictionary_is_one_that_libfuzzer_reads() -> None:
    lines = dictionary().splitlines()
    assert len(lines) == len(set(lines)) > 80
    assert all(line[0] == line[-1] == '"' and '"' not in line[1:-1] for line in lines)


def test_what_a_run_has_reached_is_told() -> None:
    said = "#35\tINITED cov: 391 ft: 664\n#40\tNEW    cov: 395 ft: 9\n#1999\tDONE   cov: 408 ft: 835 corp: 63/6116b\n"
    assert fuzz.coverage(said) == "1,999 inputs; coverage 391 with what it began with, 408 at the end"
    assert fuzz.coverage(said[:30]) == "ended before its time"


def test_an_input_that_takes_too_long_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(data: bytes) -> None:
        while data:
            pass

    monkeypatch.setitem(TARGETS, "ops", hang)
    assert fuzz_long.fault_of("ops", b"x", cpu_seconds=0.05) == "takes more than 0.05 seconds for 1 bytes"
    assert fuzz_long.fault_of("ops", b"", cpu_seconds=0.05) is None
    monkeypatch.setitem(TARGETS, "ops", lambda data: data[9])
    assert fuzz_long.fault_of("ops", b"") == "raises IndexError('index out of range')"


def test_long_inputs_of_one_piece_are_fine() -> None:
    for name, data, what in islice(fuzz_long.inputs(seed=1), 40):
        assert len(data) > fuzz_long.SIZE / 2
        assert fuzz_long.fault_of(name, data, cpu_seconds=30) is None, what


def test_a_packed_bomb_is_refused_before_it_is_whole() -> None:
    TARGETS["packed"](gzip.compress(bytes(50 << 20), 1))


def test_it_reads_what_a_connection_was_sent_and_the_code_that_it_was_closed_with() -> None:
    text = frame(0x81, b'{"event":"pong","pad":"%b"}' % (b"x" * 200), mask=None)
    packed = frame(0xC1, deflated(b'{"event":"live","seq":1e999}'), mask=None)
    answers = fuzz_wire.Answers(HEAD + text + packed)
    assert (answers.code, [event["event"] for event in answers.events]) == (None, ["pong", "live"])
    assert fuzz_wire.Answers(HEAD + text + frame(0x88, b"\x03\xea", mask=None)).code == 1002


@pytest.mark.parametrize(
    "sent",
    [
        frame(0x81, b'{"event":"invented"}', mask=None),
        frame(0x81, b'{"event":"error","code":"internal_error"}', mask=None),
        frame(0x88, b"\x03\xf3", mask=None),
        frame(0x88, b"\x03\xe8", mask=None) + frame(0x8A, b"", mask=None),
        frame(0x01, b"{}", mask=None),
    ],
)
def test_what_is_not_of_the_protocol_is_seen(sent: bytes) -> None:
    with pytest.raises(AssertionError):
        fuzz_wire.Answers(HEAD + sent)


def test_an_answer_that_is_missing_or_wrong_is_seen() -> None:
    good, bad = '{"type":"updated","sessionId":"s","after":1}', '{"type":"updated"}'
    ack = frame(0x81, b'{"event":"ack","seq":1}', mask=None)
    error = frame(0x81, b'{"event":"error","code":"invalid_delta"}', mask=None)
    visit = Visit("/publish", ((good, Way()), (bad, Way())))
    fuzz_wire._check_publisher(visit, fuzz_wire.Answers(HEAD + ack + error))
    for answers in (ack, error + ack, ack + ack, ack + error + error):
        with pytest.raises(AssertionError):
            fuzz_wire._check_publisher(visit, fuzz_wire.Answers(HEAD + answers))


@pytest.mark.parametrize(
    "way", [Way(), Way(cuts=(0.2, 0.2, 0.9), ping=True), Way(b"abcd", packed=True, cuts=(0.5,))]
)
async def test_a_message_arrives_in_every_way_it_is_sent(way: Way, tmp_path: Path) -> None:
    message = '{"type":"updated","sessionId":"s","after":[1,2]}'
    visit = Visit("/publish", ((message, way), ("{}", way), (message, way)))
    async with running_app(tmp_path, compression=True) as app:
        await asyncio.to_thread(fuzz_wire.visit_all, app.url, [visit, Visit("/ws?since=earliest")], [])
        assert app.head == 2


async def test_in_forty_connections_nothing_is_found(tmp_path: Path) -> None:
    # By their count, not by the clock: a busy machine may need a second to make the first one up. The same
    # connections each time: what only some would find is for the script to find.
    async with running_app(tmp_path, compression=True, max_subscribes_per_minute=100_000) as app:
        assert (
            await asyncio.to_thread(fuzz_wire.run, app.url, lambda count: count < 40, examples=15, same=True)
            >= 40
        )
        await app.until_gone()
