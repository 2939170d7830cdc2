"""A copy of a ledger in use: one moment, whole, and nobody waits for it."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.errors import LedgerError, LedgerForeign
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.ledger.snapshot import examine, fold, size_of, snapshot
from tests.ledger.rig import LIMIT_S

if TYPE_CHECKING:
    from tests.ledger.rig import Book

OLD = Path(__file__).parent / "version_1.sql"


def test_a_copy_is_one_file_with_all_that_was_committed(book: Book, tmp_path: Path) -> None:
    """What is still in the log belongs to it; a plain copy of the file would have none of this."""
    kept = [book.accept(payload='{"n":1}') for _ in range(20)]
    book.ledger.moves.pause("q", actor="cli:ann").wait(LIMIT_S)
    book.ledger.moves.audit("cli:ann", "job.look", "x").wait(LIMIT_S)
    copy = tmp_path / "copy.db"
    snapshot(book.path, copy)
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.db"]
    found = examine(copy)
    assert (found.accepted, found.counts["queued"], found.difference) == (20, 20, 0)
    assert (found.flaws, found.audit_rows, found.audit_head) == ((), 2, book.ledger.reads.audit_head())
    assert found.ledger == book.ledger.reads.ledger_id()
    assert copy.stat().st_size == size_of(book.path)
    with Ledger(copy) as again:
        assert {again.reads.job(job_id).payload for job_id in kept} == {'{"n":1}'}


def test_writers_go_on_while_the_copy_is_made_and_none_of_it_gets_in(book: Book, tmp_path: Path) -> None:
    """It is one moment: the balance of half of a later commit would not hold."""
    book.ledger.moves.accept([new_job() for _ in range(400)]).wait(LIMIT_S)
    looks = 0

    def write() -> bool:
        nonlocal looks
        looks += 1
        book.accept(payload='{"late":1}')
        return False

    copy = tmp_path / "copy.db"
    snapshot(book.path, copy, stop=write)
    found = examine(copy)
    assert looks >= 1
    assert (found.accepted, found.difference, found.flaws) == (400, 0, ())
    assert book.ledger.reads.status_counts()["queued"] == 400 + looks


def new_job() -> NewJob:
    """Return a job that takes some room."""
    return NewJob("add", "q", '{"text":"' + "x" * 500 + '"}')


def test_a_copy_can_be_stopped(book: Book, tmp_path: Path) -> None:
    """A daemon that is told to stop must not wait for ten gigabytes."""
    with pytest.raises(LedgerError, match="was stopped"):
        snapshot(book.path, tmp_path / "copy.db", stop=lambda: True)


def test_damage_is_found(book: Book, tmp_path: Path) -> None:
    """A backup of a damaged ledger that pushes the last whole one out would be worse than none."""
    book.ledger.moves.accept([new_job() for _ in range(300)]).wait(LIMIT_S)
    copy = tmp_path / "copy.db"
    snapshot(book.path, copy)
    with copy.open("r+b") as file:
        file.seek(copy.stat().st_size // 2)
        file.write(b"\xa5" * 8192)
    with suppress(LedgerError):  # so bad that it cannot even be read
        assert examine(copy).flaws


def test_an_audit_log_that_was_changed_is_found(book: Book, tmp_path: Path) -> None:
    """The file is sound, and what it tells is not."""
    for number in range(3):
        book.ledger.moves.audit("cli:ann", "job.look", str(number)).wait(LIMIT_S)
    copy = tmp_path / "copy.db"
    snapshot(book.path, copy)
    with apsw.Connection(str(copy)) as connection:
        connection.execute("UPDATE audit SET actor = 'cli:eve' WHERE id = 2")
    found = examine(copy)
    assert (found.flaws, found.audit_flaw) == ((), "audit log: row 2, or the one before it, was changed")


def test_a_ledger_of_a_newer_version_or_of_another_program_is_refused(book: Book, tmp_path: Path) -> None:
    """What cannot be understood cannot be vouched for."""
    copy = tmp_path / "copy.db"
    snapshot(book.path, copy)
    with apsw.Connection(str(copy)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerForeign, match="newer Millrace"):
        examine(copy)
    with apsw.Connection(str(copy)) as connection:
        connection.execute("PRAGMA application_id = 1")
    with pytest.raises(LedgerForeign, match="not a ledger"):
        examine(copy)


def test_a_ledger_of_version_1_can_be_looked_at(tmp_path: Path) -> None:
    """A backup from before an upgrade has no audit log."""
    path = tmp_path / "old.db"
    with apsw.Connection(str(path)) as connection:
        connection.execute(OLD.read_text())
    found = examine(path)
    assert (found.version, found.difference, found.audit_rows, found.flaws) == (1, 0, 0, ())


def test_folding_leaves_one_file(book: Book) -> None:
    """What is renamed afterwards must be all there is."""
    book.accept()
    book.ledger.close()
    with closing(apsw.Connection(str(book.path))) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("INSERT INTO meta VALUES ('a', 'b')")
        with pytest.raises(LedgerError, match="locked"):
            fold(book.path)
    fold(book.path)
    assert [path.name for path in book.path.parent.glob(f"{book.path.name}-*")] == []
