"""JSON as people and programs write it: texts of values, with everything RFC 8259 allows and few encoders make.

Odd spacing with line breaks, numbers of any length and form, every escape, escapes of lone surrogates, names given
twice. Whoever keeps states byte for byte must keep these.
"""

from __future__ import annotations

from hypothesis import strategies as st

SPACES = st.sampled_from(["", "", "", " ", "\n", "\r\n", "\t ", " \r"])
_HIGH, _LOW = r"\ud83d", r"\ude00"
_ESCAPES = (
    r"\"",
    r"\\",
    r"\/",
    r"\b",
    r"\f",
    r"\n",
    r"\r",
    r"\t",
    r"\u0000",
    r"\u00e9",
    r"\uFFFF",
    _HIGH,
    _LOW,
)
_PLAIN = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\')
# Control characters beyond U+001F may stand as they are: JSON forbids only those below.
_CHARS = _PLAIN | st.sampled_from(["\x7f", "\x85", "\u2028"]) | st.sampled_from(_ESCAPES)
_DIGITS = st.integers(0, 10**40).map(str)
_NUMBERS = st.tuples(
    st.sampled_from(["", "-"]),
    _DIGITS,
    st.just("") | st.text("0123456789", min_size=1, max_size=8).map(lambda digits: f".{digits}"),
    st.sampled_from(["", "", "e2", "E+10", "e-07"]),
).map("".join)

STRINGS = st.lists(_CHARS, max_size=8).map(lambda chars: '"' + "".join(chars) + '"')
"""Texts of strings, quotes included."""

SCALARS = st.sampled_from(["null", "true", "false"]) | _NUMBERS | STRINGS
"""Texts of values that contain no others."""


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """Texts of arrays."""
    elements = draw(st.lists(inner, max_size=4))
    return "[" + (",".join(_spaced(draw, element) for element in elements) or draw(SPACES)) + "]"


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """Texts of objects."""
    pairs = draw(st.lists(st.tuples(STRINGS, inner), max_size=4))
    members = (_spaced(draw, name) + ":" + _spaced(draw, value) for name, value in pairs)
    return "{" + (",".join(members) or draw(SPACES)) + "}"


VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | objects(inner), max_leaves=10)
"""Texts of any values, without white space around them."""

STATES = VALUES.filter(lambda text: text != "null")
"""Texts of states: `null` is the same as none."""


def _spaced(draw: st.DrawFn, text: str) -> str:
    return draw(SPACES) + text + draw(SPACES)
