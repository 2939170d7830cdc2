"""
The business database of the everyday jobs: sales to report on, and customers to keep in step.

A site of its own names its database as `database` in `[settings.everyday]`. Without one, a small invented shop is made
when it is first needed, so that the examples have something to work on.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager, suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from millrace import GiveUp, log

from ._files import SITE, everyday, home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA: Final = """
    CREATE TABLE customer (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, city TEXT NOT NULL, changed_at TEXT NOT NULL);
    CREATE TABLE sale (
        id INTEGER PRIMARY KEY, sold_on TEXT NOT NULL, customer TEXT NOT NULL, product TEXT NOT NULL,
        quantity INTEGER NOT NULL, cents INTEGER NOT NULL);
    CREATE INDEX sale_by_day ON sale (sold_on);
"""
LOCK_WAIT_S: Final = 30.0
FIRST_DAY: Final = date(2026, 1, 1)
DAYS: Final = 120
PRODUCTS: Final = (("almond oil", 1290), ("bay soap", 475), ("cedar box", 3999), ("dried figs", 850), ("=each", 99))
CUSTOMERS: Final = (
    ("c-01", "Ada Winter", "ada@example.test", "Vienna"),
    ("c-02", "Bo Larsen", "bo@example.test", "Aarhus"),
    ("c-03", "Cleo Marsh", "cleo@example.test", "Leeds"),
    ("c-04", "Dov Green", "dov@example.test", "Graz"),
)


def database() -> Path:
    """
    Return the path of the business database; the sample is made if the site names none.

    Raises: GiveUp, if the site names one that is not there.
    """
    named = everyday().get("database")
    if named is None:
        return sample(home() / "shop.db")
    path: Path = SITE / named
    if not path.is_file():
        raise GiveUp(f"there is no database {path}: look at [settings.everyday] in config.toml")
    return path


@contextmanager
def opened(path: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the business database, to read only unless told otherwise; transactions are begun by hand."""
    address = f"{path.resolve().as_uri()}?mode={'rw' if write else 'ro'}"
    with closing(sqlite3.connect(address, uri=True, timeout=LOCK_WAIT_S, isolation_level=None)) as connection:
        yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all that is inside, or nothing of it. The write lock is taken at once, so that no look goes stale."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def sample(path: Path) -> Path:
    """Make the invented shop, if it is missing: aside, and put in place as a whole by whichever job is first."""
    if path.exists():
        return path
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.unlink(missing_ok=True)
    part.touch()
    try:
        with opened(part, write=True) as connection:
            connection.executescript(SCHEMA)
            with transaction(connection):
                connection.executemany("INSERT INTO customer VALUES (?, ?, ?, ?, ?)", _customers())
                connection.executemany("INSERT INTO sale VALUES (?, ?, ?, ?, ?, ?)", _sales())
        with suppress(FileExistsError):  # another job's, which may be in use already
            path.hardlink_to(part)
    finally:
        part.unlink()
    log("made the sample database: name your own as [settings.everyday] database", path=path)
    return path


def _customers() -> Iterator[tuple[str, ...]]:
    yield from ((*customer, "2026-01-01T00:00:00.000+00:00") for customer in CUSTOMERS)


def _sales() -> Iterator[tuple[object, ...]]:
    for number in range(DAYS * 2):
        day = FIRST_DAY + timedelta(days=number // 2)
        product, cents = PRODUCTS[number * 7 % len(PRODUCTS)]
        quantity = 1 + number * 5 % 4
        yield (
            number + 1,
            day.isoformat(),
            CUSTOMERS[number * 3 % len(CUSTOMERS)][0],
            product,
            quantity,
            quantity * cents,
        )
