"""What people do: cancel, put back, discard, answer, hold. Who did it is on record."""

from __future__ import annotations

import pytest

from millrace.errors import WrongStatus
from millrace.ledger.rows import JobError
from tests.ledger.rig import LIMIT_S, START_MS, Book


def test_a_requeued_job_starts_with_a_clean_account(book: Book) -> None:
    """Its history stays; its failures do not bring it back to the dead letters at the first slip."""
    held = book.one(max_attempts=1)
    moves = book.ledger.moves
    moves.give_up(held, JobError("E", "m"), duration_s=0.2, cause="out of retries", crashed=True).wait(LIMIT_S)
    book.clock.advance(60)
    moves.requeue(held.job_id, actor="ann").wait(LIMIT_S)
    row = book.row(held.job_id)
    assert (row.status, row.failures, row.crashes, row.finished_at) == ("queued", 0, 0, None)
    assert (row.duration_s, row.due_at, row.queued_at) == (None, None, book.clock.ms)
    assert len(book.ledger.reads.attempts(held.job_id)) == 1
    assert book.claim()[0].attempt == 2
    assert book.balanced()


def test_a_requeued_job_wakes_its_queue(book: Book) -> None:
    """Nobody should wait for the next look at the ledger."""
    job_id = book.accept()
    book.ledger.moves.cancel(job_id, actor="ann").wait(LIMIT_S)
    woken: list[str] = []
    book.ledger.on_change.append(lambda changes: woken.extend(changes.queued))
    book.ledger.moves.requeue(job_id, actor="ann").wait(LIMIT_S)
    book.ledger.moves.resume("other", actor="test").wait(LIMIT_S)
    assert woken == ["q", "other"]


def test_cancelling_a_running_job_asks_for_its_end(book: Book) -> None:
    """The row goes on running until its runner has stopped it; the daemon is told at once, and finds it by its id."""
    held = book.one()
    asked: list[bool] = []
    book.ledger.on_change.append(lambda changes: asked.append(changes.cancels))
    assert book.ledger.moves.cancel(held.job_id, actor="ann").wait(LIMIT_S) == "running"
    assert asked == [True]
    reads = book.ledger.reads
    assert (reads.cancels("d1"), reads.cancels("d2")) == ([held.job_id], [])
    (event,) = reads.events(held.job_id)
    assert (event.event, event.actor, event.facts) == ("cancel", "ann", {"while": "running"})
    book.ledger.moves.stop(held, duration_s=0.0).wait(LIMIT_S)
    assert reads.cancels("d1") == []


def test_an_event_names_who_and_why(book: Book) -> None:
    """A decision that nobody can explain later is half a decision."""
    held = book.one()
    moves = book.ledger.moves
    moves.give_up(held, JobError("E", "m"), duration_s=0.0, cause="gave up").wait(LIMIT_S)
    moves.discard(held.job_id, actor="ann", reason="test data").wait(LIMIT_S)
    (event,) = book.ledger.reads.events(held.job_id)
    assert (event.at, event.event, event.reason, event.actor) == (START_MS, "discard", "test data", "ann")


def test_an_answer_is_the_result_of_the_job_that_waited_for_it(book: Book) -> None:
    """It carries a checksum like any result."""
    job_id = book.accept(due_at=START_MS + 5)
    book.ledger.moves.move("answer", job_id, actor="ann", result='"yes"', facts={"via": "slack"}).wait(LIMIT_S)
    assert (book.row(job_id).status, book.row(job_id).result) == ("succeeded", '"yes"')
    assert book.sql("SELECT result_hash IS NOT NULL FROM job") == [(1,)]
    assert book.ledger.reads.events(job_id)[0].facts == {"via": "slack"}


def test_a_held_job_waits_for_its_time(book: Book) -> None:
    """A claim that meets a limit puts the job aside until then."""
    job_id = book.accept()
    book.ledger.moves.move("hold", job_id, actor="engine", reason="limit", due_at=START_MS + 1000).wait(LIMIT_S)
    assert (book.row(job_id).status, book.row(job_id).reason) == ("waiting", "limit")
    assert book.claim() == []
    book.clock.advance(1)
    assert book.ledger.moves.promote_due().wait(LIMIT_S) == 1
    assert book.claim()[0].job_id == job_id


def test_a_job_that_waits_before_its_next_attempt_is_tried_at_once(book: Book) -> None:
    """The other side is there again, and the wait has hours left. Its account stays: only the wait is cut short."""
    held = book.one()
    book.ledger.moves.retry(held, JobError("E", "m"), due_at=book.clock.ms + 3_600_000, duration_s=0.1).wait(LIMIT_S)
    assert book.ledger.moves.requeue(held.job_id, actor="ann").wait(LIMIT_S) == "queued"
    row = book.row(held.job_id)
    assert (row.status, row.failures) == ("queued", 1)
    assert book.ledger.reads.events(held.job_id)[-1].actor == "ann"
    assert [one.attempt for one in book.claim(5)] == [2]
    due = book.accept(due_at=book.clock.ms + 3_600_000)
    with pytest.raises(WrongStatus, match="is waiting; retry needs"):
        book.ledger.moves.requeue(due, actor="ann").wait(LIMIT_S)
    assert book.balanced()
