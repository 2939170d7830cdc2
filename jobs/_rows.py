"""The rows of a CSV file as raw items: a stage that yields them has each checked by itself, and none ends the file."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from millrace import GiveUp

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

TOO_MANY = "cells_without_a_column"
UNREADABLE = "unreadable"


def rows(path: Path, fields: Mapping[str, str], *, optional: Collection[str] = ()) -> Iterator[Any]:
    """
    Yield each row as a dict without its empty cells.

    A row that cannot be read, or has more cells than the header, has a field that says so, which no model knows: let
    the model forbid what it does not know, and such a row becomes a dead letter.

    Args:
        fields: What the columns are called in the dict; other columns are left out.
        optional: Columns that the file may lack.
    Raises: GiveUp, if it lacks another one: a second look would find the same.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        table = csv.DictReader(file, restkey=TOO_MANY)
        missing = fields.keys() - set(table.fieldnames or ()) - set(optional)
        if missing:
            raise GiveUp(f"{path.name} has no column {', '.join(sorted(missing))}")
        names = {**fields, TOO_MANY: TOO_MANY}
        while True:
            try:
                row = next(table)
            except StopIteration:
                return
            except csv.Error as error:
                yield {UNREADABLE: f"line {table.line_num}: {error}"}
            else:
                yield {names[column]: cell for column, cell in row.items() if cell and column in names}
