"""JSON Pointers: the examples of RFC 6901, and what is none."""

from __future__ import annotations

import pytest

from recorder.core import json_pointer as pointer

DOCUMENT = (
    rb'{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,'
    rb' "deep" : [ {"x": 1e2} ]}'
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", DOCUMENT.decode()),
        ("/foo", '["bar","baz"]'),
        ("/foo/0", '"bar"'),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ('/k"l', "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
        ("/deep/0/x", "1e2"),
        ("/foo/2", None),
        ("/foo/-", None),
        ("/foo/01", None),
        ("/foo/bar", None),
        ("/foo/0/x", None),
        ("/none/of/this", None),
    ],
)
def test_a_pointer_finds_the_text_of_a_value(path: str, value: str | None) -> None:
    assert pointer.find(DOCUMENT, pointer.parse(path)) == (None if value is None else value.encode())


@pytest.mark.parametrize("path", ["foo", "~", "/~", "/a~2b", "/~/x"])
def test_what_is_no_pointer_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        pointer.parse(path)


@pytest.mark.parametrize("name", ["", "a", "~", "/", "~1", "~01", "/~/"])
def test_a_name_survives_being_escaped(name: str) -> None:
    assert pointer.parse(f"/{pointer.escape(name)}") == (name,)
