"""The source of the sync: rows of customers in a CSV file, as another system exports them, each checked by itself."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from millrace import GiveUp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS: Final = ("id", "name", "email", "city", "changed_at")
NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class BadRow(NamedTuple):
    """A row that was left out: the line of the source where it ends, and why."""

    line: int
    reason: str


def customers(path: Path) -> Iterator[dict[str, str] | BadRow]:
    """
    Yield each row of the source, or why it is none. A bad row never ends the file.

    Raises: GiveUp, if the file is no CSV file or lacks a column: another attempt would find the same.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        table = csv.reader(file, strict=True)
        try:
            header = next(table, [])
        except csv.Error as error:
            raise GiveUp(f"{path.name} is no CSV file: {error}") from error
        if missing := [column for column in COLUMNS if column not in header]:
            raise GiveUp(f"{path.name} has no column {', '.join(missing)}")
        while True:
            try:
                cells = next(table, None)
                if cells is None:
                    return
                if cells:
                    yield _customer(header, cells)
            except (csv.Error, ValueError) as error:
                yield BadRow(table.line_num, str(error))


def _customer(header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells where the header has {len(header)}")
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name in COLUMNS}
    if empty := [name for name in COLUMNS if not row[name]]:
        raise ValueError(f"no {', '.join(empty)}")
    if NO_TEXT.search("".join(row.values())):
        raise ValueError("holds characters that are no text, or is not UTF-8")
    if not ADDRESS.fullmatch(row["email"]):
        raise ValueError("email is no address")
    return {**row, "changed_at": _moment(row["changed_at"])}


def _moment(text: str) -> str:
    """Return a time in the one form whose text sorts as time does: UTC, milliseconds."""
    try:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        raise ValueError("changed_at is no time, such as 2026-01-31T08:00:00Z") from None
