"""The tree of errors: one code each, as the table in the module's docstring says."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from recorder.core import errors
from recorder.core.errors import BY_CODE, InvalidDelta, NotAllowed, RecorderError, TooSlow

# ├─ InvalidDelta             invalid_delta       422    -    no
ROW = re.compile(r"^ *[│├└─ ]*(\w+) +([a-z_]+) +(\d+|-) +(\d+|-) +(yes|no)$", re.MULTILINE)


def number(text: str) -> int | None:
    return None if text == "-" else int(text)


def documented() -> dict[str, tuple[str, int | None, int | None, bool]]:
    rows = ROW.findall(errors.__doc__ or "")
    return {
        name: (code, number(http), number(close), retry == "yes") for name, code, http, close, retry in rows
    }


def tree() -> list[type[RecorderError]]:
    found = [RecorderError]
    for cls in found:
        found += cls.__subclasses__()
    # Tests and other programs may add their own.
    return [cls for cls in found if cls.__module__ == errors.__name__]


def test_every_error_stands_in_the_table_of_the_docstring_and_no_other() -> None:
    assert documented().keys() == {cls.__name__ for cls in tree()} - {"RecorderError"}


@pytest.mark.parametrize("cls", [cls for cls in tree() if cls is not RecorderError])
def test_the_table_says_what_the_class_says(cls: type[RecorderError]) -> None:
    code, http, close, retry = documented()[cls.__name__]
    assert (cls.code, cls.close_code, cls.retry) == (code, close, retry)
    # Where the table has none, HTTP never sees the error.
    assert cls.http_status == (500 if http is None else http)


def test_the_table_shows_the_tree_by_its_indents() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if ROW.match(line)]
    depth = {ROW.findall(line)[0][0]: re.search(r"\w", line).start() for line in lines}  # type: ignore[union-attr]
    for cls in tree()[1:]:
        parent = cls.__base__
        assert parent is not None
        assert depth[cls.__name__] == depth.get(parent.__name__, 4) + 3


def test_a_code_belongs_to_one_class() -> None:
    assert [code for code, count in Counter(cls.code for cls in tree()).items() if count > 1] == []
    assert {cls.code: cls for cls in tree()} == BY_CODE


def test_the_codes_of_the_protocol_close_the_connections_it_says() -> None:
    closes = {cls.close_code for cls in tree()} - {None}
    assert closes == {1001, 1009, 1012, 4400, 4401, 4403, 4408, 4429}


def test_a_reader_that_was_too_slow_may_come_back_and_one_that_is_not_allowed_may_not() -> None:
    assert (TooSlow.close_code, TooSlow.retry) == (4408, True)
    assert (NotAllowed.close_code, NotAllowed.retry) == (4403, False)


def test_an_error_is_its_message_and_with_a_hint_both() -> None:
    assert str(InvalidDelta("no")) == "no"
    assert str(InvalidDelta("no", hint="do so")) == "no (do so)"


def test_an_error_carries_where_it_was() -> None:
    error = InvalidDelta("no", index=2, place="[2].after")
    assert (error.message, error.hint, error.index, error.place) == ("no", None, 2, "[2].after")
