"""A report as one HTML page that needs nothing else: tables under headings, each text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Row = Iterable[object]
    Table = tuple[str, Row, Iterable[Row]]  # heading, names of the columns, rows

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 44rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100% } td, th { padding: .2rem .5rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f4f4f2 }
"""


def page_of(title: str, *tables: Table) -> str:
    """Return the page."""
    return "\n".join(_lines(title, tables))


def _lines(title: str, tables: Iterable[Table]) -> Iterator[str]:
    name = escape(title)
    yield f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{name}</title>'
    yield f"<style>{STYLE}</style></head>\n<body>\n<h1>{name}</h1>"
    for heading, columns, rows in tables:
        yield f"<h2>{escape(heading)}</h2>\n<table>\n{_row('th', columns)}"
        yield from (_row("td", row) for row in rows)
        yield "</table>"
    yield "</body>\n</html>\n"


def _row(kind: str, cells: Row) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(str(cell))}</{kind}>" for cell in cells) + "</tr>"
