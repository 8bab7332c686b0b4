"""Tables: each row one line, no wider than the terminal, cut where it does not fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.cli import console
from recorder.cli.table import Column, cells, cut, cut_middle, fit, lines

COLUMNS = (Column("seq", least=9, is_right=True), Column("name", least=8, is_name=True), Column("text"))
printable = st.text(max_size=300).map(console.visible)


@given(
    st.lists(st.tuples(st.integers(0, 10**8).map(str), printable, printable), max_size=20),
    st.integers(40, 200),
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, str]], width: int) -> None:
    told = list(lines(COLUMNS, rows, width))
    assert len(told) == len(rows) + 1
    assert all(cells(line) <= width and "\n" not in line for line in told)
    for line, row in zip(told[1:], rows, strict=True):
        assert line.split()[0] == row[0]


def test_the_last_column_has_half_the_line_when_it_needs_it_and_the_others_can_do_with_less() -> None:
    rows = [("1", "n" * 100, "t" * 100)]
    widths = fit(COLUMNS, rows, 104)
    assert widths == [3, 47, 50]
    assert fit(COLUMNS, [("1", "n" * 100, "t")], 104) == [3, 93, 4]
    assert fit(COLUMNS, [("1", "n", "t" * 100)], 104) == [3, 4, 93]


def test_numbers_stand_flush_right_and_rows_behind_the_sample_are_cut_to_it() -> None:
    rows = [("1", "a", "x")] * 250 + [("123456", "b" * 30, "y")]
    told = list(lines(COLUMNS, rows, 80))
    assert told[1] == "  1  a     x"
    assert told[-1] == "12…  bbb…  y"


@given(printable, st.integers(1, 60))
def test_what_is_cut_fits_and_says_so(text: str, width: int) -> None:
    for found in (cut(text, width), cut_middle(text, width)):
        assert cells(found) <= width
        assert found == text or "…" in found


def test_names_that_differ_at_their_ends_stay_apart() -> None:
    assert cut_middle("demo-2faa9f3d-00048", 12) == "demo-2…00048"
    assert cut("demo-2faa9f3d-00048", 12) == "demo-2faa9f…"
    assert cells("会议") == 4
    assert cut("会议会议", 5) == "会议…"
