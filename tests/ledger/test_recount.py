"""The count of all rows in pieces, while the ledger works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.ledger.recount import Recount

if TYPE_CHECKING:
    from tests.ledger.rig import Book


def counted(book: Book) -> bool:
    """Count all rows without a pause; return whether something looks wrong."""
    count = Recount(book.ledger.reads, book.clock.now_ms())
    assert sum(count.pieces()) >= 0
    return count.suspicious()


def old(book: Book, jobs: int = 3) -> list[str]:
    """Accept jobs, and let them be older than what is counted last."""
    ids = [book.accept() for _ in range(jobs)]
    book.clock.advance(60)
    return ids


def test_a_sound_ledger_is_not_suspicious(book: Book) -> None:
    """Old rows and fresh ones are counted once each."""
    assert not counted(book)
    old(book)
    book.accept()
    assert not counted(book)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_row_that_vanished_is_seen(book: Book, fresh: bool) -> None:  # noqa: FBT001 - a case
    """Accepted is accepted."""
    ids = old(book)
    ids.append(book.accept())
    book.sql("DELETE FROM job WHERE id = ?", (ids[-1] if fresh else ids[0],))

    assert counted(book)


def test_a_row_that_nobody_accepted_is_seen(book: Book) -> None:
    """Doubled is as bad as lost."""
    old(book)
    book.sql("UPDATE job SET task = 'other' WHERE id = (SELECT min(id) FROM job)")

    assert counted(book)


def test_a_status_changed_by_hand_is_seen(book: Book) -> None:
    """The sum is right, and a job is where no counter has it."""
    ids = old(book)
    book.sql("UPDATE job SET status = 'cancelled', finished_at = 1 WHERE id = ?", (ids[0],))

    assert counted(book)


def test_work_that_goes_on_meanwhile_is_not_suspicious(book: Book) -> None:
    """Jobs that move, and jobs that come, while the rows are counted."""
    old(book, 9)
    count = Recount(book.ledger.reads, book.clock.now_ms(), piece=2)

    for rows in count.pieces():
        assert rows <= 2
        (held,) = book.claim()
        book.ledger.moves.succeed(held, "1", duration_s=0.0).wait(20)
        book.accept()
        book.clock.advance(1)

    assert not count.suspicious()
    assert not counted(book)
