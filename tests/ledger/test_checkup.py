"""The close look at the file: sound, damaged, and beyond reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.errors import LedgerError
from millrace.ledger.checkup import flaws, sqlite_version
from millrace.ledger.ledger import Ledger
from millrace.ledger.reads import Reads
from millrace.ledger.rows import NewJob
from tests.ledger.rig import LIMIT_S, Book

if TYPE_CHECKING:
    from pathlib import Path


def test_a_sound_ledger_has_no_flaws(book: Book) -> None:
    """And the version is that of the driver's own SQLite."""
    book.accept()
    assert flaws(book.ledger.reads) == []
    assert sqlite_version() == apsw.sqlite_lib_version()


def test_a_ledger_with_overwritten_pages_is_told(tmp_path: Path) -> None:
    """Whether it can still be read to its end or not, it is not called sound."""
    path = tmp_path / "l.db"
    with Ledger(path) as ledger:
        ledger.moves.accept([NewJob("add", "q", '"' + "x" * 500 + '"') for _ in range(200)]).wait(LIMIT_S)
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xa5" * (len(data) - 4096 * 3)
    path.write_bytes(data)
    reads = Reads(path)
    try:
        found = flaws(reads)
    except LedgerError as error:
        found = [str(error)]
    reads.close()
    assert found


def test_a_closed_ledger_cannot_be_examined(book: Book) -> None:
    """The error is ours."""
    reads = Reads.open(book.path)
    reads.close()
    with pytest.raises(LedgerError):
        flaws(reads)
