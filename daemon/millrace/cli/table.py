"""Tables for people: columns as wide as their cells, fitted to the terminal. A pipe gets everything, untouched."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from millrace.cli.output import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP: Final = 2
_NARROWEST: Final = 8
_READABLE: Final = 24


class Column(NamedTuple):
    """
    A column.

    Args:
        title: Its head.
        right: Whether cells stand at the right, as numbers do.
        optional: Whether it may be left out where there is no room; an elastic one also when no row fills it.
        elastic: Whether its cells may be shortened.
        first: Whether it gets room before other optional ones.
        colored: Whether cells are colored by their words.
    """

    title: str
    right: bool = False
    optional: bool = False
    elastic: bool = False
    colored: bool = False
    first: bool = False


def terminal_width() -> int | None:
    """Return the width of the terminal; None if stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """
    Return a table with a line of titles.

    Args:
        rows: The cells; control characters in them are left out.
        width: The most characters of a line; None is no bound.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    sizes = [max(len(column.title), *(len(row[place]) for row in cells)) for place, column in enumerate(columns)]
    kept = _kept(columns, sizes, cells, width)
    if width is not None:
        _shorten(columns, sizes, kept, width)
    lines = [[column.title for column in columns], *cells]
    return "\n".join(_line(columns, [*line], sizes, kept, title=not number) for number, line in enumerate(lines))


def _total(sizes: Sequence[int], kept: Sequence[int]) -> int:
    return sum(sizes[place] for place in kept) + _GAP * (len(kept) - 1)


def _kept(
    columns: Sequence[Column], sizes: Sequence[int], cells: Sequence[Sequence[str]], width: int | None
) -> list[int]:
    """Return the places of the columns that are shown: optional ones as there is room, an elastic one with less."""
    kept = [place for place, column in enumerate(columns) if not column.optional]
    least = [min(size, _READABLE) if column.elastic else size for column, size in zip(columns, sizes, strict=True)]
    needed = [least[place] if columns[place].optional else size for place, size in enumerate(sizes)]
    for place in sorted(set(range(len(columns))) - set(kept), key=lambda place: (not columns[place].first, place)):
        filled = any(row[place] for row in cells) or not columns[place].elastic
        if filled and (width is None or _total(needed, [*kept, place]) <= width):
            kept.append(place)
    return sorted(kept)


def _shorten(columns: Sequence[Column], sizes: list[int], kept: Sequence[int], width: int) -> None:
    for place in reversed(kept):  # what stands at the right is the longer text, names stand at the left
        excess = _total(sizes, kept) - width
        if columns[place].elastic and excess > 0:
            sizes[place] = max(_NARROWEST, sizes[place] - excess)


def _line(
    columns: Sequence[Column], cells: list[str], sizes: Sequence[int], kept: Sequence[int], *, title: bool
) -> str:
    words = []
    for place in kept:
        cell, size = cells[place], sizes[place]
        short = cell if len(cell) <= size else cell[: size - 1] + "…"
        last = place == kept[-1]
        padded = short.rjust(size) if columns[place].right else short if last else short.ljust(size)
        words.append(_dressed(padded, columns[place], title=title))
    return (" " * _GAP).join(words).rstrip()


def _dressed(padded: str, column: Column, *, title: bool) -> str:
    if title:
        return click.style(padded, bold=True)
    return padded.replace(word, _color(word), 1) if column.colored and (word := _first(padded)) else padded


def _first(text: str) -> str:
    return next(iter(text.replace(":", " ").split()), "")


def _color(word: str) -> str:
    from millrace.cli.output import colored

    return colored(word)
