"""A close look at the database itself, for whoever examines a site: which SQLite, and whether the file is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from millrace.ledger.reads import Reads


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
