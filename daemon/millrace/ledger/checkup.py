"""A close look at the database itself, for whoever examines a site: which SQLite, and whether the file is sound."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import apsw

from millrace.errors import LedgerDamaged
from millrace.ledger.database import translate
from millrace.ledger.reads import Reads

if TYPE_CHECKING:
    from pathlib import Path


def sqlite_version() -> str:
    """Return the version of the SQLite that the driver brings."""
    return apsw.sqlite_lib_version()


def flaws(reads: Reads) -> list[str]:
    """
    Return what SQLite's quick check finds wrong with the file; empty if it is sound. Reads all of it.

    Raises: LedgerError if it cannot even be read.
    """
    found = [str(row[0]) for row in reads.rows("PRAGMA quick_check(20)")]
    return [] if found == ["ok"] else found


def damage(ledger: Path) -> str | None:
    """
    Return why a ledger's file is not to be trusted any more; None if it is sound. Reads all of it.

    Raises: LedgerError if it cannot be read for another reason.
    """
    with closing(Reads(ledger)) as fresh:  # what others have read before is not read from the file again
        try:
            found = flaws(fresh)
        except LedgerDamaged as error:
            return str(error)
    return str(translate(apsw.CorruptError(found[0]))) if found else None
