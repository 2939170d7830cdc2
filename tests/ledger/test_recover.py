"""What a starting daemon does with what a dead one left, and its own signs of life."""

from __future__ import annotations

import pytest

from millrace.errors import LostClaim
from millrace.ledger.moves import Moves
from millrace.ledger.rows import ChildRow, DaemonRow, NewJob
from tests.ledger.rig import LIMIT_S, START_MS, Book


def successor(book: Book) -> Moves:
    """Return the moves of the next daemon."""
    return Moves(book.ledger.writer, daemon="d2")


def test_attempts_of_a_dead_daemon_are_taken_back_at_no_cost(book: Book) -> None:
    """The job did nothing wrong: back to its place in the line, with a line in its history that says why."""
    held = book.one()
    book.clock.advance(30)
    later = book.accept()
    assert successor(book).take_back(set()).wait(LIMIT_S) == (1, 0)
    row = book.row(held.job_id)
    assert (row.status, row.failures, row.crashes, row.daemon_deaths) == ("queued", 0, 0, 0)
    (attempt,) = book.ledger.reads.attempts(held.job_id)
    assert (attempt.outcome, attempt.daemon, attempt.ended_at) == ("lost", "d1", book.clock.ms)
    (event,) = book.ledger.reads.events(held.job_id)
    assert (event.event, event.reason, event.facts["taken_back_by"]) == ("release", "daemon died", "d2")
    assert [claim.job_id for claim in book.claim(5)] == [held.job_id, later]
    assert book.balanced()


def test_the_dead_daemons_late_result_is_dropped(book: Book) -> None:
    """A daemon that was only thought dead must not finish what another has taken over."""
    held = book.one()
    successor(book).take_back(set()).wait(LIMIT_S)
    with pytest.raises(LostClaim):
        book.ledger.moves.succeed(held, "1", duration_s=0.0).wait(LIMIT_S)


def test_deaths_are_counted_only_where_the_job_may_have_been_the_cause(book: Book) -> None:
    """A job in a child cannot take the daemon down; one in a thread of it can."""
    in_thread, in_child = book.one(queue="io"), book.one(queue="cpu")
    successor(book).take_back({"io"}).wait(LIMIT_S)
    assert book.row(in_thread.job_id).daemon_deaths == 1
    assert book.row(in_child.job_id).daemon_deaths == 0
    assert book.claim(queue="io")[0].daemon_deaths == 1


def test_a_cancel_that_the_dead_daemon_did_not_carry_out_is_honoured(book: Book) -> None:
    """Somebody was told that the job would end."""
    held = book.one()
    book.ledger.moves.cancel(held.job_id, actor="ann").wait(LIMIT_S)
    assert successor(book).take_back({"q"}).wait(LIMIT_S) == (0, 1)
    row = book.row(held.job_id)
    assert (row.status, row.finished_at, row.cancel_requested) == ("cancelled", book.clock.ms, False)
    assert book.ledger.reads.attempts(held.job_id)[0].outcome == "stopped"
    assert book.balanced()


def test_a_daemon_keeps_its_own_attempts(book: Book) -> None:
    """Only what others left is taken back."""
    held = book.one()
    assert book.ledger.moves.take_back({"q"}).wait(LIMIT_S) == (0, 0)
    assert book.row(held.job_id).status == "running"


def test_many_attempts_are_taken_back_in_bounded_turns(book: Book) -> None:
    """A thousand running jobs must not hold the write lock for a second; none may be forgotten."""
    book.ledger.moves.accept([NewJob("add", "q") for _ in range(25)]).wait(LIMIT_S)
    book.claim(25)
    after = successor(book)
    assert [sum(after.take_back(set(), 10).wait(LIMIT_S)) for _ in range(4)] == [10, 10, 5, 0]
    assert book.ledger.reads.status_counts()["queued"] == 25
    assert book.balanced()


def test_taking_back_wakes_the_queue(book: Book) -> None:
    """Work is there again, and nobody submitted it."""
    book.one()
    woken: list[str] = []
    book.ledger.on_change.append(lambda changes: woken.extend(changes.queued))
    successor(book).take_back(set()).wait(LIMIT_S)
    book.ledger.writer.submit(lambda _tx: None).wait(LIMIT_S)  # others are told once the caller was
    assert woken == ["q"]


def test_a_daemon_is_on_record_from_its_start_to_its_end(book: Book) -> None:
    """Health and the next start look here."""
    moves, reads = book.ledger.moves, book.ledger.reads
    assert reads.daemon() is None
    moves.sign_in(DaemonRow("d1", 42, "host", "0.1.0", START_MS, START_MS, None)).wait(LIMIT_S)
    book.clock.advance(15)
    moves.beat().wait(LIMIT_S)
    assert reads.daemon() == DaemonRow("d1", 42, "host", "0.1.0", START_MS, START_MS + 15_000, None)
    moves.beat(stopped=True).wait(LIMIT_S)
    found = reads.daemon()
    assert found is not None
    assert found.stopped_at == START_MS + 15_000
    moves.sign_in(DaemonRow("d2", 43, "host", "0.1.0", START_MS, START_MS, None)).wait(LIMIT_S)
    newest = reads.daemon()
    assert newest is not None
    assert newest.id == "d2"


def test_a_child_is_struck_off_by_pid_and_start(book: Book) -> None:
    """A pid that was given out anew is another process, and must stay on record."""
    moves, reads = book.ledger.moves, book.ledger.reads
    old, new = ChildRow(7, 100, 7, "d1", "q"), ChildRow(7, 200, 7, "d1", "q")
    for row in (old, new, old):  # recorded twice is recorded once
        moves.child_started(row).wait(LIMIT_S)
    assert sorted(reads.children(), key=lambda row: row.start_ticks) == [old, new]
    moves.child_gone(7, 100).wait(LIMIT_S)
    assert reads.children() == [new]
