"""The ends of attempts: what each leaves behind, and the fence."""

from __future__ import annotations

import pytest

from millrace.clock import rfc3339
from millrace.errors import LedgerError, LostClaim
from millrace.ledger.rows import Claim, JobError
from millrace.ledger.seals import checksum
from tests.ledger.rig import LIMIT_S, START_MS, Book

ERROR = JobError("ValueError", "no such month", "Traceback …")


def test_success_keeps_the_result_and_the_history(book: Book) -> None:
    """A result carries its checksum; the attempt is in the history with its times and facts."""
    held = book.one()
    book.clock.advance(1.5)
    book.ledger.moves.succeed(held, '{"total":3}', duration_s=1.234, facts={"pid": 7}).wait(LIMIT_S)
    row = book.row(held.job_id)
    assert (row.status, row.result, row.duration_s, row.finished_at) == (
        "succeeded",
        '{"total":3}',
        1.234,
        book.clock.ms,
    )
    assert book.sql("SELECT result_hash, daemon FROM job") == [(checksum('{"total":3}'), None)]
    (attempt,) = book.ledger.reads.attempts(held.job_id)
    assert (attempt.attempt, attempt.outcome, attempt.daemon, attempt.duration_s) == (1, "succeeded", "d1", 1.234)
    assert (attempt.started_at, attempt.ended_at, attempt.facts) == (START_MS, START_MS + 1500, {"pid": 7})


def test_a_retry_costs_a_failure_and_waits_for_its_time(book: Book) -> None:
    """The failure is told, the job is not final."""
    held = book.one(max_attempts=3)
    book.ledger.moves.retry(held, ERROR, due_at=START_MS + 10_000, duration_s=0.1).wait(LIMIT_S)
    row = book.row(held.job_id)
    assert (row.status, row.reason, row.due_at, row.finished_at) == ("waiting", "backoff", START_MS + 10_000, None)
    assert (row.failures, row.crashes, row.error) == (1, 0, ERROR)
    (attempt,) = book.ledger.reads.attempts(held.job_id)
    assert (attempt.error, attempt.facts["until"]) == (ERROR, START_MS + 10_000)
    assert attempt.as_json()["facts"]["until"] == rfc3339(START_MS + 10_000)


def test_a_crash_is_counted_beside_the_failure(book: Book) -> None:
    """Poison is told by crashes, retries by failures."""
    held = book.one(max_attempts=3)
    book.ledger.moves.retry(held, ERROR, due_at=START_MS, duration_s=0.0, crashed=True).wait(LIMIT_S)
    assert (book.row(held.job_id).failures, book.row(held.job_id).crashes) == (1, 1)
    book.ledger.moves.promote_due().wait(LIMIT_S)
    (held,) = book.claim()
    assert (held.failures, held.crashes) == (1, 1)
    book.ledger.moves.give_up(held, ERROR, duration_s=0.0, cause="poison", crashed=True).wait(LIMIT_S)
    assert (book.row(held.job_id).failures, book.row(held.job_id).crashes) == (2, 2)
    assert book.ledger.reads.attempts(held.job_id)[-1].facts == {"cause": "poison"}


@pytest.mark.parametrize("move", ["park", "release", "stop"])
def test_what_is_not_the_jobs_fault_costs_it_nothing(book: Book, move: str) -> None:
    """A shutdown, an open breaker or a person's wish must not bring a job nearer to the dead letters."""
    held, moves = book.one(), book.ledger.moves
    {
        "park": lambda: moves.park(held, "breaker:crm", due_at=START_MS + 5, duration_s=0.0),
        "release": lambda: moves.release(held, "shutdown", duration_s=0.0),
        "stop": lambda: moves.stop(held, duration_s=0.0),
    }[move]().wait(LIMIT_S)
    row = book.row(held.job_id)
    assert (row.failures, row.crashes, row.daemon_deaths) == (0, 0, 0)


def test_a_released_job_keeps_its_place_in_the_line(book: Book) -> None:
    """It was first before the shutdown, and must not queue up behind all the others."""
    held = book.one()
    book.clock.advance(60)
    later = book.accept()
    book.ledger.moves.release(held, "shutdown", duration_s=0.0).wait(LIMIT_S)
    assert [claim.job_id for claim in book.claim(2)] == [held.job_id, later]
    assert book.ledger.reads.attempts(held.job_id)[0].facts == {"why": "shutdown"}


def test_an_attempt_that_was_taken_back_cannot_finish_the_job(book: Book) -> None:
    """The late result of a lost attempt must not overwrite its successor's."""
    late = book.one()
    book.ledger.moves.release(late, "shutdown", duration_s=0.0).wait(LIMIT_S)
    (owner,) = book.claim()
    with pytest.raises(LostClaim, match="attempt 1"):
        book.ledger.moves.succeed(late, '"late"', duration_s=0.0).wait(LIMIT_S)
    assert book.row(late.job_id).status == "running"
    book.ledger.moves.succeed(owner, '"right"', duration_s=0.0).wait(LIMIT_S)
    assert book.row(late.job_id).result == '"right"'
    assert [attempt.outcome for attempt in book.ledger.reads.attempts(late.job_id)] == ["released", "succeeded"]


def test_a_result_is_recorded_once(book: Book) -> None:
    """Offered twice, as after an answer that was lost, the second is refused."""
    held = book.one()
    book.ledger.moves.succeed(held, "1", duration_s=0.0).wait(LIMIT_S)
    with pytest.raises(LostClaim):
        book.ledger.moves.succeed(held, "2", duration_s=0.0).wait(LIMIT_S)
    assert (book.row(held.job_id).result, len(book.ledger.reads.attempts(held.job_id))) == ("1", 1)
    assert book.balanced()


def test_a_wait_needs_a_reason(book: Book) -> None:
    """A job that waits and cannot say for what is a job that was lost politely."""
    held = book.one()
    with pytest.raises(LedgerError, match="CHECK"):
        book.ledger.moves.park(held, None, due_at=None, duration_s=0.0).wait(LIMIT_S)  # type: ignore[arg-type]
    assert book.row(held.job_id).status == "running"


@pytest.mark.parametrize("move", ["retry", "release", "park"])
def test_a_cancelled_job_is_not_run_again_however_its_attempt_ends(book: Book, move: str) -> None:
    """The wish may come after the runner has decided otherwise: the job would go on, and nobody would know."""
    held, moves = book.one(max_attempts=5), book.ledger.moves
    assert moves.cancel(held.job_id, actor="ann").wait(LIMIT_S) == "running"
    status = {
        "retry": lambda: moves.retry(held, ERROR, due_at=START_MS + 1, duration_s=0.5, crashed=True),
        "release": lambda: moves.release(held, "shutdown", duration_s=0.5),
        "park": lambda: moves.park(held, "doubt", due_at=None, duration_s=0.5),
    }[move]().wait(LIMIT_S)
    row = book.row(held.job_id)
    assert status == row.status == "cancelled"
    assert (row.reason, row.finished_at, row.cancel_requested) == (None, START_MS, False)
    assert row.error == (ERROR if move == "retry" else None)
    assert [attempt.outcome for attempt in book.ledger.reads.attempts(held.job_id)] == ["stopped"]
    assert book.balanced()


def test_a_job_that_succeeded_in_spite_of_a_cancel_has_succeeded(book: Book) -> None:
    """The work is done; calling it cancelled would invite somebody to do it again."""
    held = book.one()
    book.ledger.moves.cancel(held.job_id, actor="ann").wait(LIMIT_S)
    assert book.ledger.moves.succeed(held, "1", duration_s=0.0).wait(LIMIT_S) == "succeeded"
    assert not book.row(held.job_id).cancel_requested


def test_a_late_retry_of_a_cancelled_successor_is_still_late(book: Book) -> None:
    """The look at the cancel is fenced like the move itself."""
    late = book.one()
    book.ledger.moves.release(late, "shutdown", duration_s=0.0).wait(LIMIT_S)
    book.claim()
    book.ledger.moves.cancel(late.job_id, actor="ann").wait(LIMIT_S)
    with pytest.raises(LostClaim):
        book.ledger.moves.retry(late, ERROR, due_at=START_MS, duration_s=0.0).wait(LIMIT_S)
    assert book.row(late.job_id).status == "running"


def test_an_invented_claim_changes_nothing(book: Book) -> None:
    """A claim that was never given out is fenced off too."""
    held: Claim = book.one()._replace(job_id="00000000-0000-7000-8000-000000000000")
    with pytest.raises(LostClaim):
        book.ledger.moves.succeed(held, "1", duration_s=0.0).wait(LIMIT_S)
    assert book.balanced()
