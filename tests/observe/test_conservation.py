"""The conservation proof as the daemon keeps it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from millrace.events import ConservationBroken
from millrace.ledger.ledger import Ledger
from millrace.observe.conservation import ConservationCheck
from tests.ledger.rig import LIMIT_S, Book, OwnClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.events import Event


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A ledger with a few jobs that are not of this moment."""
    clock, path = OwnClock(), tmp_path / "ledger.db"
    with Ledger(path, clock=clock, synchronous="normal") as ledger:
        book = Book(ledger, clock, path)
        for _ in range(5):
            book.accept()
        clock.advance(60)
        yield book


def test_rows_that_balance_are_never_counted_in_one_moment(book: Book) -> None:
    """The count in pieces says so, however much is written meanwhile."""
    told: list[Event] = []
    check = ConservationCheck(book.ledger.reads, clock=book.clock, emit=told.append)

    assert check.refresh().difference == 0
    assert check.figures()["rows"]["details"] == []
    assert check.figures()["orphans"] == {"count": 0}
    assert told == []


def test_a_lost_row_is_told_once_by_its_lane(book: Book) -> None:
    """One alert for a difference, however often it is seen."""
    told: list[Event] = []
    check = ConservationCheck(book.ledger.reads, clock=book.clock, emit=told.append)
    book.sql("DELETE FROM job WHERE id = (SELECT min(id) FROM job)")

    for _ in range(3):
        assert check.refresh().difference == 1

    (event,) = told
    assert isinstance(event, ConservationBroken)
    assert "q/default/add: 5 queued by the counter, 4 rows" in event.details
    assert event.ids == ""
    assert check.difference() == 1


def test_the_alert_names_what_can_be_named(book: Book) -> None:
    """A row that is gone has no id; what it left behind has."""
    told: list[Event] = []
    check = ConservationCheck(book.ledger.reads, clock=book.clock, emit=told.append)
    (held,) = book.claim()
    book.ledger.moves.succeed(held, "1", duration_s=0.1).wait(LIMIT_S)
    book.sql("DELETE FROM job WHERE id = ?", (held.job_id,))

    check.refresh()

    (event,) = told
    assert isinstance(event, ConservationBroken)
    assert event.ids == f"{held.job_id} (no row, but an attempt)"
    assert check.figures()["rows"]["ids"] == [event.ids]
    book.sql("UPDATE tally SET accepted = accepted - 1, succeeded = 0")
    check.refresh()
    assert check.figures()["rows"]["ids"] == []


def test_a_count_that_is_ended_keeps_what_was_known(book: Book) -> None:
    """A daemon that stops must not wait for a million rows, nor take a part for the whole."""
    check = ConservationCheck(book.ledger.reads, clock=book.clock)
    check.refresh()
    book.sql("DELETE FROM job")
    end = threading.Event()
    end.set()

    assert check.refresh(end).difference == 0
