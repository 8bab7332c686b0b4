"""Tables that fit the terminal: each row is one line, whatever is in it.

Columns are as wide as what they hold, measured in the cells that characters take on a terminal, as far as that is
known from the first rows; the last one takes what is left. Where that would be too little, the others are narrowed, the
widest first, down to what they need at least. What does not fit is cut, and ends in "…".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from recorder.cli import console

SAMPLE = 200
"""Rows that are looked at before the first one is written: what comes behind them is cut where it is wider."""
GAP = 2
LAST_LEAST = 0.5
"""The share of the line that the last column gets, where it needs so much and the others can do with less."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Args:
        title: Its heading.
        least: To how many cells it may be narrowed.
        is_right: Whether it is flush right, as numbers are.
        style: Its colour, of `console.COLOURS`; "" for none.
        styles: Colours by what a cell says, instead.
        is_name: Whether its cells are names, which differ at their ends as well: they are cut in the middle.
    """

    title: str
    least: int = 4
    is_right: bool = False
    style: str = ""
    styles: tuple[tuple[str, str], ...] = ()
    is_name: bool = False

    def coloured(self, cell: str) -> str:
        """Return the cell's text, padded or not, in the column's colour."""
        return console.styled(cell, dict(self.styles).get(cell.strip(), self.style))


def lines(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the lines of a table.

    Args:
        columns: From left to right.
        rows: Cells, free of control characters.
        width: How many cells a line may take.
    """
    source = iter(rows)
    first = list(islice(source, SAMPLE))
    widths = fit(columns, first, width)
    yield console.styled(_line(columns, [column.title for column in columns], widths, plain=True), "bold")
    for row in chain(first, source):
        yield _line(columns, row, widths)


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return how wide each column is to be, all of them together at most `width` with the gaps between them."""
    wanted = [max([cells(c.title), *(cells(row[i]) for row in rows)]) for i, c in enumerate(columns)]
    room = width - GAP * (len(columns) - 1)
    least = min(wanted[-1], round(room * LAST_LEAST))
    while sum(wanted[:-1]) + least > room:
        can = [i for i, column in enumerate(columns[:-1]) if wanted[i] > column.least]
        if not can:
            break
        widest = max(can, key=wanted.__getitem__)
        wanted[widest] -= 1
    wanted[-1] = max(1, min(wanted[-1], room - sum(wanted[:-1])))
    return wanted


def _line(
    columns: Sequence[Column], row: Sequence[str], widths: Sequence[int], *, plain: bool = False
) -> str:
    parts = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        text = cut_middle(cell, width) if column.is_name else cut(cell, width)
        space = " " * (width - cells(text))
        padded = space + text if column.is_right else text + space
        parts.append(padded if plain else column.coloured(padded))
    return (" " * GAP).join(parts).rstrip()


def cells(text: str) -> int:
    """Return how many cells a text takes on a terminal: an ideograph two, a combining accent none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """Return the text, or as much of its beginning as fits into so many cells with "…" behind it."""
    # What is many times as long as a line can't fit; measuring all of it would take its time.
    if len(text) <= 4 * width and cells(text) <= width:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text[: 2 * width + 8], width - 1).rstrip() + "…" if width > 1 else "…"


def cut_middle(text: str, width: int) -> str:
    """Return the text, or its beginning and its end with "…" between them, in so many cells."""
    # Names of other widths than one cell a character are rare, and no name is long.
    if len(text) <= width or width < 8 or not text.isascii():
        return cut(text, width)
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[-end:]}"
