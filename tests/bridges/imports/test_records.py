"""How a record is said to be unfit."""

from __future__ import annotations

from recorder.bridges.imports.records import SourceOptions, Unfit
from recorder.config.settings import load_settings
from recorder.wire.decode import decode_text


def test_an_unfit_record_becomes_an_error_with_its_place_in_front() -> None:
    error = Unfit("no key", hint="name one").at("log: line 3")
    assert (error.message, error.hint, error.place) == ("log: line 3: no key", "name one", "log: line 3")
    assert str(error) == "log: line 3: no key (name one)"


def test_the_bound_of_a_delta_is_the_recorders_own_default() -> None:
    assert SourceOptions().max_delta_bytes == load_settings().max_delta_bytes
    largest = b'{"type":"created","sessionId":"a","after":1}'.ljust(SourceOptions().max_delta_bytes)
    assert decode_text(largest, load_settings().max_delta_bytes)


def test_what_a_message_repeats_of_a_record_cannot_be_obeyed_by_a_terminal() -> None:
    assert Unfit("it has \x1b[2J, \ud83d, \n and é").reason == r"it has \x1b[2J, \ud83d, \n and é"
