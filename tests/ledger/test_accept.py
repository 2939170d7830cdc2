"""Accepting jobs, idempotency keys, and promoting what is due."""

from __future__ import annotations

import pytest

from millrace.errors import KeyConflict, LedgerError
from millrace.ledger.rows import NewJob, Source
from millrace.ledger.seals import checksum
from tests.ledger.rig import LIMIT_S, START_MS, Book


def test_an_accepted_job_is_what_was_handed_in(book: Book) -> None:
    """What the caller said must be found again, field by field."""
    job_id = book.accept(
        payload='{"a":1}', client="acme", priority=3, key="k", max_attempts=4, source=Source("hook", "crm"),
        run_id="r", stage="s", record="7", correlation_id="c",
    )  # fmt: skip
    row = book.row(job_id)
    assert (row.task, row.queue, row.client, row.payload, row.priority) == ("add", "q", "acme", '{"a":1}', 3)
    assert (row.key, row.max_attempts, row.source) == ("k", 4, Source("hook", "crm"))
    assert (row.run_id, row.stage, row.record, row.correlation_id) == ("r", "s", "7", "c")
    assert (row.attempt, row.failures, row.crashes, row.daemon_deaths) == (0, 0, 0, 0)
    assert (row.created_at, row.queued_at, row.due_at, row.started_at) == (START_MS, START_MS, None, None)
    assert book.sql("SELECT payload_hash FROM job") == [(checksum('{"a":1}'),)]


def test_the_correlation_id_is_the_jobs_own_when_none_is_given(book: Book) -> None:
    """Work can always be followed."""
    job_id = book.accept()
    assert book.row(job_id).correlation_id == job_id


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 120])
def test_many_jobs_keep_their_order_and_their_payloads(book: Book, count: int) -> None:
    """Rows are inserted some at a time; none may be lost or mixed up at the seams."""
    jobs = [NewJob("add", "q", f'{{"n":{number}}}') for number in range(count)]
    accepted = book.ledger.moves.accept(jobs).wait(LIMIT_S)
    assert [book.row(one.id).payload for one in accepted] == [job.payload for job in jobs]
    assert [one.id for one in accepted] == sorted(one.id for one in accepted)
    assert book.balanced()


def test_a_known_key_answers_with_its_job(book: Book) -> None:
    """A caller that did not hear the first answer asks again, and must not get a second job."""
    first = book.ledger.moves.accept([NewJob("add", "q", key="k")]).wait(LIMIT_S)[0]
    again = book.ledger.moves.accept([NewJob("add", "other", key="k", priority=9)]).wait(LIMIT_S)[0]
    assert (first.existed, again.existed, again.id) == (False, True, first.id)
    assert book.ledger.reads.status_counts()["queued"] == 1
    assert book.balanced()


def test_a_key_stays_known_after_the_end_of_its_job(book: Book) -> None:
    """The work was done: a repeated submission must not do it again."""
    held = book.one(key="k")
    book.ledger.moves.succeed(held, None, duration_s=0.0).wait(LIMIT_S)
    assert book.ledger.moves.accept([NewJob("add", "q", key="k")]).wait(LIMIT_S)[0].existed


@pytest.mark.parametrize(
    ("other", "what"),
    [(NewJob("add", "q", '{"a":2}', key="k"), "another payload"), (NewJob("sub", "q", key="k"), "task add")],
)
def test_a_key_for_something_else_is_a_conflict(book: Book, other: NewJob, what: str) -> None:
    """Answering with the old job would hide that the new one was never accepted."""
    job_id = book.accept(key="k")
    with pytest.raises(KeyConflict, match=what) as refused:
        book.ledger.moves.accept([other]).wait(LIMIT_S)
    assert refused.value.job_id == job_id
    assert book.balanced()


def test_a_key_belongs_to_its_client(book: Book) -> None:
    """Two tenants that both number their orders must not meet."""
    first, second = book.accept(key="1", client="acme"), book.accept(key="1", client="beta")
    assert first != second


def test_a_key_twice_in_one_call_is_one_job(book: Book) -> None:
    """The second of a batch must see the first, though neither is committed."""
    one, two = book.ledger.moves.accept([NewJob("add", "q", key="k"), NewJob("add", "q", key="k")]).wait(LIMIT_S)
    assert (one.existed, two.existed, one.id) == (False, True, two.id)
    assert book.balanced()


def test_a_call_is_accepted_as_a_whole_or_not_at_all(book: Book) -> None:
    """A conflict in the middle undoes what stood before it, and its counts."""
    book.accept(key="k")
    jobs = [*(NewJob("add", "q") for _ in range(60)), NewJob("add", "q", '{"a":2}', key="k")]
    with pytest.raises(KeyConflict):
        book.ledger.moves.accept(jobs).wait(LIMIT_S)
    assert book.ledger.reads.status_counts()["queued"] == 1
    assert book.balanced()


def test_a_record_of_a_run_enters_a_stage_once(book: Book) -> None:
    """A fan-out that is repeated after a crash must not double its children."""
    book.accept(run_id="r", stage="s", record="1")
    book.accept(run_id="r", stage="s", record="2")
    with pytest.raises(LedgerError, match="UNIQUE"):
        book.accept(run_id="r", stage="s", record="1")
    assert book.balanced()


def test_due_jobs_are_promoted_oldest_first_and_no_more_than_asked(book: Book) -> None:
    """A bounded turn must not starve those whose time came first."""
    late, early, future = (book.accept(due_at=START_MS + ms) for ms in (2_000, 1_000, 60_000))
    book.clock.advance(5)
    assert book.ledger.moves.promote_due(1).wait(LIMIT_S) == 1
    assert [book.row(job).status for job in (late, early, future)] == ["waiting", "queued", "waiting"]
    assert book.ledger.moves.promote_due().wait(LIMIT_S) == 1
    assert book.ledger.moves.promote_due().wait(LIMIT_S) == 0
    assert (book.row(late).queued_at, book.row(late).reason) == (book.clock.ms, None)
    assert book.row(future).status == "waiting"
    assert book.balanced()


def test_a_job_that_waits_without_a_time_is_not_due(book: Book) -> None:
    """It waits until somebody promotes it, however late it is."""
    held = book.one()
    book.ledger.moves.park(held, "unknown_task", due_at=None, duration_s=0.0).wait(LIMIT_S)
    book.clock.advance(10**6)
    assert book.ledger.moves.promote_due().wait(LIMIT_S) == 0


def test_a_left_over_time_does_not_wake_a_job_that_waits_without_one(book: Book) -> None:
    """A retried job carries the time of its back-off; parked later it must not be promoted by that."""
    job_id = book.accept(due_at=START_MS + 1)
    book.clock.advance(1)
    book.ledger.moves.promote_due().wait(LIMIT_S)
    (held,) = book.claim()
    book.ledger.moves.park(held, "doubt", due_at=None, duration_s=0.0).wait(LIMIT_S)
    assert book.ledger.moves.promote_due().wait(LIMIT_S) == 0
    assert (book.row(job_id).status, book.row(job_id).due_at) == ("waiting", None)


def test_jobs_of_a_task_that_is_back_are_queued_again(book: Book) -> None:
    """Others that wait, for another reason or of another task, stay."""
    parked = {}
    for task, reason in (("add", "unknown_task"), ("add", "payload"), ("sub", "unknown_task")):
        held = book.one(task=task)
        book.ledger.moves.park(held, reason, due_at=None, duration_s=0.0).wait(LIMIT_S)
        parked[task, reason] = held.job_id
    assert sorted(book.ledger.reads.held_tasks("unknown_task")) == ["add", "sub"]
    assert book.ledger.moves.promote_fitting("unknown_task", "add").wait(LIMIT_S) == 1
    assert book.row(parked["add", "unknown_task"]).status == "queued"
    assert book.row(parked["add", "payload"]).status == book.row(parked["sub", "unknown_task"]).status == "waiting"
    assert book.balanced()
