"""The table of moves, the schema and what the ledger does are the same thing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.errors import LedgerError, LostClaim, NotFound, WrongStatus
from millrace.ledger.rows import JobError, NewJob
from millrace.ledger.states import FINAL, MOVES, Status, diagram
from tests.ledger.rig import LIMIT_S, START_MS

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim
    from millrace.ledger.ticket import Ticket
    from tests.ledger.rig import Book

ERROR = JobError("ValueError", "no")
OF_AN_ATTEMPT = ("succeed", "retry", "give_up", "release", "park", "stop")
OF_PEOPLE = ("promote", "hold", "cancel", "abandon", "answer", "requeue", "discard")
NEVER = "00000000-0000-7000-8000-000000000000"


def bring(book: Book, status: str) -> tuple[str, Claim]:
    """Bring a job to a status; return its id and the claim of its only attempt (an invented one if it never ran)."""
    moves = book.ledger.moves
    held = book.one()
    if status == "running":
        return held.job_id, held
    if status == "succeeded":
        moves.succeed(held, "1", duration_s=0.0).wait(LIMIT_S)
    elif status == "waiting":
        moves.retry(held, ERROR, due_at=START_MS + 10_000, duration_s=0.0).wait(LIMIT_S)
    elif status == "queued":
        moves.release(held, "shutdown", duration_s=0.0).wait(LIMIT_S)
    elif status == "dead":
        moves.give_up(held, ERROR, duration_s=0.0, cause="gave up").wait(LIMIT_S)
    else:
        moves.stop(held, duration_s=0.0).wait(LIMIT_S)
    return held.job_id, held


def end(book: Book, move: str, held: Claim) -> Ticket[Status]:
    """End an attempt by the move of a name."""
    moves = book.ledger.moves
    calls = {
        "succeed": lambda: moves.succeed(held, "1", duration_s=0.1),
        "retry": lambda: moves.retry(held, ERROR, due_at=START_MS + 5_000, duration_s=0.1),
        "give_up": lambda: moves.give_up(held, ERROR, duration_s=0.1, cause="gave up"),
        "release": lambda: moves.release(held, "shutdown", duration_s=0.1),
        "park": lambda: moves.park(held, "rate:crm", due_at=None, duration_s=0.1),
        "stop": lambda: moves.stop(held, duration_s=0.1),
    }
    return calls[move]()


def by_hand(book: Book, move: str, job_id: str) -> Ticket[Status]:
    """Make a move of people by its name."""
    moves = book.ledger.moves
    if move == "cancel":
        return moves.cancel(job_id, actor="ann")
    if move == "requeue":
        return moves.requeue(job_id, actor="ann")
    if move == "discard":
        return moves.discard(job_id, actor="ann", reason="not needed")
    given = {"hold": {"reason": "limit"}, "answer": {"result": '{"ok":true}'}}.get(move, {})
    return moves.move(move, job_id, actor="ann", **given)


def test_every_move_of_the_table_is_tried_below() -> None:
    """A move that is added to the table must not go untested."""
    assert {*OF_AN_ATTEMPT, *OF_PEOPLE, "claim"} == set(MOVES)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("move", OF_AN_ATTEMPT)
def test_only_a_running_attempt_can_be_ended(book: Book, move: str, status: Status) -> None:
    """A late result meets the job in any status; only its own running attempt may change it."""
    job_id, held = bring(book, status)
    before = book.row(job_id)
    if status in MOVES[move][0]:
        assert end(book, move, held).wait(LIMIT_S) == MOVES[move][1]
        assert book.row(job_id).status == MOVES[move][1]
    else:
        with pytest.raises(LostClaim, match=f"attempt 1 of job {job_id}"):
            end(book, move, held).wait(LIMIT_S)
        assert book.row(job_id) == before
    assert book.balanced()


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("move", OF_PEOPLE)
def test_people_move_what_the_table_allows_and_nothing_else(book: Book, move: str, status: Status) -> None:
    """A refusal names the status, changes nothing and leaves no event."""
    job_id, _ = bring(book, status)
    before = book.row(job_id)
    froms, to = MOVES[move]
    if status in froms:
        assert by_hand(book, move, job_id).wait(LIMIT_S) == to
        assert book.row(job_id).status == to
        assert [(event.event, event.actor) for event in book.ledger.reads.events(job_id)] == [(move, "ann")]
    elif move == "cancel" and status is Status.RUNNING:
        assert by_hand(book, move, job_id).wait(LIMIT_S) == "running"
        assert book.row(job_id).cancel_requested
    elif move == "requeue" and before.reason == "backoff":  # which is a promotion: only its wait is cut short
        assert by_hand(book, move, job_id).wait(LIMIT_S) == "queued"
        assert [event.event for event in book.ledger.reads.events(job_id)] == ["promote"]
    else:
        said = {"requeue": "retry"}.get(move, move)
        with pytest.raises(WrongStatus, match=f"is {status}; {said}"):
            by_hand(book, move, job_id).wait(LIMIT_S)
        assert book.row(job_id) == before
        assert book.ledger.reads.events(job_id) == []
    assert book.balanced()


@pytest.mark.parametrize("move", OF_PEOPLE)
def test_a_job_that_is_not_there_cannot_be_moved(book: Book, move: str) -> None:
    """No such job is another answer than a job in another status."""
    with pytest.raises(NotFound, match=NEVER):
        by_hand(book, move, NEVER).wait(LIMIT_S)


@pytest.mark.parametrize("status", list(Status))
def test_only_queued_jobs_are_claimed(book: Book, status: Status) -> None:
    """The claim is a move of the table like the others."""
    job_id, _ = bring(book, status)
    claims = book.claim(5)
    assert [held.job_id for held in claims] == ([job_id] if status in MOVES["claim"][0] else [])


@pytest.mark.parametrize("move", ["claim", "succeed", "give_up", "retry"])
def test_the_schema_refuses_a_move_of_the_runner_that_is_made_by_hand(book: Book, move: str) -> None:
    """`move` is for jobs that do not run; a slip must not make a running job without a daemon, or the reverse."""
    job_id, _ = bring(book, "queued" if move == "claim" else "running")
    before = book.row(job_id)
    with pytest.raises(LedgerError, match="CHECK"):
        book.ledger.moves.move(move, job_id, actor="ann", reason="backoff").wait(LIMIT_S)
    assert book.row(job_id) == before
    assert book.balanced()


def test_the_schema_knows_the_statuses_of_the_table(book: Book) -> None:
    """The CHECK constraint is derived from the table: a status that only one of them knows would be a trap."""
    schema = book.sql("SELECT sql FROM sqlite_schema WHERE name = 'job'")[0][0]
    listed = re.search(r"status IN \(([^)]*)\)", schema)
    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed[1])) == set(Status)


@pytest.mark.parametrize(
    "change",
    [
        "status = 'sleeping'",
        "status = 'waiting'",  # without a reason
        "reason = 'due'",  # while queued
        "status = 'running'",  # without a daemon
        "daemon = 'd1'",  # while queued
        "status = 'succeeded'",  # without the time of its end
        "finished_at = 1",  # while queued
        "priority = 'high'",  # a strict table
    ],
)
def test_the_schema_refuses_a_row_that_contradicts_itself(book: Book, change: str) -> None:
    """Whatever a bug or a hand does, a row cannot say two things at once."""
    book.accept()
    with pytest.raises(apsw.ConstraintError):
        book.sql(f"UPDATE job SET {change}")  # noqa: S608


def test_a_final_job_can_be_left_only_by_people() -> None:
    """What is over stays over unless somebody decides: no move of the engine starts at a final status."""
    for move, (froms, _) in MOVES.items():
        assert not froms & FINAL or move in ("requeue", "discard")


def test_the_diagram_shows_every_move() -> None:
    """The docs' picture is derived from the table, so it must show all of it."""
    drawn = diagram()
    for move, (froms, to) in MOVES.items():
        for source in froms:
            assert f"    {source} --> {to}: {move}\n" in drawn
    assert "[*] --> queued" in drawn


def test_a_job_is_born_queued_or_waiting(book: Book) -> None:
    """A time that has passed is now."""
    clock = book.clock
    jobs = [NewJob("add", "q"), NewJob("add", "q", due_at=clock.ms), NewJob("add", "q", due_at=clock.ms + 1)]
    found = [book.row(accepted.id) for accepted in book.ledger.moves.accept(jobs).wait(LIMIT_S)]
    assert [(row.status, row.reason) for row in found] == [("queued", None), ("queued", None), ("waiting", "due")]
    assert book.balanced()
