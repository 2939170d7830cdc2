"""
The three everyday kinds of job: a report, a sync and a cleanup. Each can be run twice without harm, as every job
should: a retry after a crash repeats what it had begun.

    millrace submit report month=2026-01 by=product
    millrace submit sync
    millrace submit cleanup folder=reports pattern='*.csv' older_than_days=30
"""

from __future__ import annotations

import calendar
import csv
import os
import stat
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from millrace import GiveUp, context, log, task

from ._customers import BadRow, customers
from ._files import InnerPath, harmless, home, inside, written
from ._shop import database, opened, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

Month = Annotated[str, Field(pattern=r"^(19|20)[0-9]{2}-(0[1-9]|1[0-2])$", examples=["2026-01"])]

NAMED: Final = 100  # so many files or rows are named in a result; all are counted


# ---------------------------------------------------------------------------------------------------------- the report

TOTALS: Final = """
    SELECT CASE :by WHEN 'day' THEN sold_on WHEN 'customer' THEN customer ELSE product END AS label,
           count(*), sum(quantity), sum(cents)
      FROM sale WHERE sold_on BETWEEN :first AND :last
     GROUP BY label ORDER BY label
"""


@dataclass(frozen=True, slots=True)
class Report:
    """Where the report lies, how many lines of figures it has, and their sum."""

    path: Path
    rows: int
    total: Decimal


@task
def report(
    month: Month | None = None,
    *,
    start: date | None = None,
    end: date | None = None,
    by: Literal["day", "customer", "product"] = "day",
) -> Report:
    """
    Total the sales of a period from the business database into a CSV file.

    Args:
        month: The period as a month, such as 2026-01; or
        start, end: its first and last day, both counted.
        by: What a line stands for.
    """
    first, last = _period(month, start, end)
    path = home() / "reports" / f"sales-{first}-to-{last}-by-{by}.csv"
    rows, cents = 0, 0
    with opened(database()) as shop, written(path) as file:
        table = csv.writer(file)
        table.writerow([by, "sales", "quantity", "amount"])
        for label, sales, quantity, amount in shop.execute(TOTALS, {"by": by, "first": str(first), "last": str(last)}):
            table.writerow([harmless(label), sales, quantity, _money(amount)])
            rows, cents = rows + 1, cents + amount
    log("report written", path=path, rows=rows)
    return Report(path, rows, _money(cents))


def _period(month: str | None, start: date | None, end: date | None) -> tuple[date, date]:
    if month is not None and start is None and end is None:
        first = date.fromisoformat(f"{month}-01")
        return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])
    if month is None and start is not None and end is not None and start <= end:
        return start, end
    raise GiveUp("give either month, or start and end with start not after end")


def _money(cents: int) -> Decimal:
    if not isinstance(cents, int):
        raise GiveUp(f"the sum {cents!r} is no whole number of cents: sale.cents must hold integers")
    return Decimal(cents).scaleb(-2)


# ------------------------------------------------------------------------------------------------------------ the sync

UPSERT: Final = """
    INSERT INTO customer (id, name, email, city, changed_at) VALUES (:id, :name, :email, :city, :changed_at)
        ON CONFLICT (id) DO UPDATE
       SET name = excluded.name, email = excluded.email, city = excluded.city, changed_at = excluded.changed_at
     WHERE excluded.changed_at >= customer.changed_at
       AND (excluded.name, excluded.email, excluded.city, excluded.changed_at)
           IS NOT (customer.name, customer.email, customer.city, customer.changed_at)
"""


@dataclass(slots=True)
class Synced:
    """What became of the rows: `read` is the sum of all others."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    older: int = 0
    bad: int = 0
    bad_rows: list[dict[str, Any]] = field(default_factory=list)


@task
def sync(source: InnerPath | None = None, *, chunk: Annotated[int, Field(ge=1, le=10_000)] = 500) -> Synced:
    """
    Bring the changed rows of a CSV file of customers into the business database.

    How far it has come is seen by content, not by position: a row that is there already is left alone. So a retry, or a
    file that comes twice or grew in the meantime, doubles nothing, and an older row never replaces a newer one.

    Args:
        source: The file, from the folder of the everyday jobs on; the sample when left out.
        chunk: Rows in a transaction.
    """
    path = Path(__file__).with_name("samples") / "customers.csv" if source is None else inside(home(), source)
    if not path.is_file():
        raise GiveUp(f"there is no file {path}")
    done, outcomes = Synced(), Counter[str]()
    with opened(database(), write=True) as shop:
        rows = customers(path)
        while batch := list(islice(rows, chunk)):
            context().check()
            with transaction(shop):
                stored = [_store(shop, row) for row in batch if not isinstance(row, BadRow)]
            outcomes.update(stored)
            _note_bad(done, [row for row in batch if isinstance(row, BadRow)])
            done.read += len(batch)
    done.inserted, done.updated = outcomes["inserted"], outcomes["updated"]
    done.unchanged, done.older = outcomes["unchanged"], outcomes["older"]
    return done


def _store(shop: sqlite3.Connection, row: dict[str, str]) -> str:
    known = shop.execute("SELECT changed_at FROM customer WHERE id = ?", (row["id"],)).fetchone()
    wrote = shop.execute(UPSERT, row).rowcount
    if known is None:
        return "inserted"
    if wrote:
        return "updated"
    return "older" if row["changed_at"] < known[0] else "unchanged"


def _note_bad(done: Synced, rows: Iterable[BadRow]) -> None:
    for row in rows:
        done.bad += 1
        if done.bad <= NAMED:
            done.bad_rows.append(row._asdict())
            log("row left out", "warning", line=row.line, reason=row.reason)


# --------------------------------------------------------------------------------------------------------- the cleanup


@dataclass(slots=True)
class Cleaned:
    """What was found and, unless it was a dry run, deleted; `files` and `errors` name the first of them."""

    folder: Path
    dry_run: bool
    matched: int = 0
    bytes: int = 0
    deleted: int = 0
    failed: int = 0
    files: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def note_failure(self, error: OSError) -> None:
        """Count what could not be looked at or deleted, and go on."""
        self.failed += 1
        if self.failed <= NAMED:
            self.errors.append(str(error))
            log("left alone", "warning", error=error)


@task
def cleanup(
    folder: InnerPath = "reports",
    *,
    pattern: Annotated[str, Field(pattern=r"^[^/\x00]{1,200}$", examples=["*.csv"])] = "*",
    older_than_days: Annotated[int, Field(ge=1, le=36_500)] = 30,
    dry_run: bool = True,
) -> Cleaned:
    """
    Delete old files in a folder and those below it; a dry run, which is the default, only tells which.

    Symbolic links are neither followed nor deleted. Hidden files are left alone unless the pattern begins with a dot.

    Args:
        folder: Where to look, from the folder of the everyday jobs on.
        pattern: Which file names, as in a shell: * ? [abc].
        older_than_days: Files changed since then stay.
        dry_run: False to delete.
    """
    base = home()
    top = inside(base, folder)
    if not top.is_dir():
        raise GiveUp(f"there is no folder {top}")
    done = Cleaned(top, dry_run)
    before = _now_of(top) - timedelta(days=older_than_days).total_seconds()
    for place, folders, names, descriptor in os.fwalk(top, onerror=done.note_failure):
        context().check()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if _wanted(name, pattern)):
            _clean(done, Path(place) / name, descriptor, before)
    log("cleaned" if not dry_run else "dry run", folder=top, matched=done.matched, deleted=done.deleted)
    return done


def _wanted(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def _clean(done: Cleaned, path: Path, descriptor: int, before: float) -> None:
    """Look at one file through its open folder: whoever swaps that folder for a link meanwhile changes nothing."""
    try:
        found = os.stat(path.name, dir_fd=descriptor, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or found.st_mtime >= before:
            return
        if not done.dry_run:
            os.unlink(path.name, dir_fd=descriptor)
            done.deleted += 1
    except FileNotFoundError:  # somebody else was faster
        return
    except OSError as error:
        done.note_failure(error)
        return
    done.matched += 1
    done.bytes += found.st_size
    if len(done.files) < NAMED:
        done.files.append(path.relative_to(done.folder).as_posix())


def _now_of(folder: Path) -> float:
    """Ask the file system what time it is: on a network share its clock, not ours, gave the files their age."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime
