"""Which jobs a difference is about, by what their vanished rows left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.ledger.reads import Reads
from millrace.ledger.trails import trails
from tests.ledger.rig import LIMIT_S
from tests.ledger.runs_rig import LINE, Works

if TYPE_CHECKING:
    from tests.ledger.rig import Book

OLD = Path(__file__).parent / "version_1.sql"


def vanish(book: Book, job_id: str) -> None:
    """Remove the row of a job and nothing else, as no move of the ledger would."""
    book.sql("DELETE FROM job WHERE id = ?", (job_id,))


def test_a_ledger_that_balances_accuses_nobody(book: Book) -> None:
    """Whatever became of its jobs and runs."""
    works = Works(book)
    run_id = works.start(LINE)
    works.fan_out(3)
    first, *others = works.claim("points")
    works.die(first)
    works.succeed(others)
    works.work_off()
    book.ledger.moves.cancel(book.accept(), actor="cli:ann").wait(LIMIT_S)
    assert works.reads.run(run_id).status == "partial"
    assert trails(book.ledger.reads) == []


def test_a_job_that_has_run_is_named_by_its_attempt(book: Book) -> None:
    """Every claim is on record, so that whatever was once begun can be named."""
    held = book.one()
    book.ledger.moves.succeed(held, "1", duration_s=0.1).wait(LIMIT_S)
    vanish(book, held.job_id)
    assert trails(book.ledger.reads) == [(held.job_id, "no row, but an attempt")]


def test_a_running_job_is_named_by_its_checkpoint(book: Book) -> None:
    """Its first attempt is in its own row alone."""
    held = book.one()
    book.ledger.moves.step_put(held, "charged", "1").wait(LIMIT_S)
    vanish(book, held.job_id)
    assert trails(book.ledger.reads) == [(held.job_id, "no row, but a step")]


def test_a_job_of_a_run_is_named_by_its_place(book: Book) -> None:
    """A queued job has left nothing; the run's counters know that it was there."""
    works = Works(book)
    run_id = works.start(LINE)
    works.fan_out(3)
    book.sql("DELETE FROM job WHERE run_id = ? AND stage = 'points' AND record = '2'", (run_id,))
    (found,) = trails(book.ledger.reads)
    assert str(found) == f"{run_id} (run: 2 of 3 jobs of its stage points have a row)"


def test_a_row_that_nobody_accepted_is_named(book: Book) -> None:
    """Written by a hand with a SQLite shell, say."""
    job_id = book.accept()
    book.sql("UPDATE job SET task = 'other' WHERE id = ?", (job_id,))
    assert trails(book.ledger.reads) == [(job_id, "no counter knows it")]


def test_a_job_that_left_nothing_cannot_be_named(book: Book) -> None:
    """Nor is anything else named in its place."""
    vanish(book, book.accept())
    book.accept()
    assert book.ledger.reads.balance(count_rows=True).difference == 1
    assert trails(book.ledger.reads) == []


def test_each_is_named_once_and_not_all_of_thousands(book: Book) -> None:
    """It is for a person to read."""
    for held in (book.one() for _ in range(5)):
        book.ledger.moves.step_put(held, "charged", "1").wait(LIMIT_S)
        book.ledger.moves.succeed(held, "1", duration_s=0.1).wait(LIMIT_S)
    book.sql("DELETE FROM job")
    assert len({one.id for one in trails(book.ledger.reads)}) == 5
    assert len(trails(book.ledger.reads, limit=2)) == 2


@pytest.mark.parametrize("missing", [0, 1])
def test_a_ledger_of_version_1_can_be_asked(tmp_path: Path, missing: int) -> None:
    """`doctor` looks at it before a daemon has brought it up to date."""
    path = tmp_path / "old.db"
    connection = apsw.Connection(str(path))
    connection.execute(OLD.read_text())
    if missing:
        connection.execute("DELETE FROM job WHERE id IN (SELECT job_id FROM attempt LIMIT 1)")
    connection.close()
    reads = Reads(path)
    assert len(trails(reads)) == missing
    reads.close()
