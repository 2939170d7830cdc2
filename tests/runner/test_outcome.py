"""An outcome that the ledger cannot take at once. A stand-in for the moves, as no disk fills on demand."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from millrace.errors import LedgerFull, LostClaim
from millrace.events import AttemptEnded, Event, OutcomeRefused, ResultDropped
from millrace.ledger.rows import Claim, JobError
from millrace.ledger.ticket import Ticket
from millrace.runner.outcome import (
    Ended,
    GaveUp,
    Interrupted,
    Outcome,
    ParkedUntil,
    RetryAt,
    Stopped,
    Succeeded,
    record,
    record_again,
)

if TYPE_CHECKING:
    from millrace.runner.kit import Kit

HELD = Claim("j", "t", "q", "default", 1, 0, 0, 0, 4, "{}", "c", 0, 0)
ERROR = JobError("E", "no")


class Answers:
    """Moves that answer as told, one error (or none) a call."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = deque(errors)
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def move(*_: Any, **__: Any) -> Ticket[str]:
            self.called.append(name)
            ticket: Ticket[str] = Ticket()
            error = self.errors.popleft()
            ticket.settle(None if error else "some", error)
            return ticket

        return move


def kit(moves: Answers) -> tuple[Kit, list[Event]]:
    """Return as much of a kit as an outcome needs, and what it emits."""
    events: list[Event] = []
    return cast("Kit", SimpleNamespace(moves=moves, emit=events.append, unrecorded=deque(), refusals={})), events


def test_an_outcome_that_found_the_disk_full_is_offered_again() -> None:
    """Dropping it would do finished work a second time."""
    moves = Answers(LedgerFull("no space"), LedgerFull("no space"), None)
    some, events = kit(moves)

    record(Ended(HELD, Succeeded("1"), 0.1, {}), some)
    assert (len(some.unrecorded), len(some.refusals)) == (1, 1)
    assert record_again(some) == 1
    assert len(some.unrecorded) == 1
    record_again(some)
    assert (len(some.unrecorded), some.refusals) == (0, {})
    assert [type(event) for event in events] == [OutcomeRefused, AttemptEnded]


def test_a_refused_outcome_is_told_once_for_each_kind_of_error() -> None:
    """A disk that is full refuses thousands; a folder that may not be written, quite another one."""
    moves = Answers(*[LedgerFull("a"), LedgerFull("b"), PermissionError("c")] * 2)
    some, events = kit(moves)

    for number in range(3):
        record(Ended(HELD._replace(job_id=f"j{number}"), Succeeded("1"), 0.1, {}), some)
    told = [(event.job_id, event.error) for event in events if isinstance(event, OutcomeRefused)]
    assert told == [("j0", "LedgerFull: a"), ("j2", "PermissionError: c")]
    record_again(some)
    assert len(events) == 2, "the same trouble as before"
    moves.errors.extend([None] * 3)
    record_again(some)
    assert some.refusals == {}
    moves.errors.append(LedgerFull("a"))
    record(Ended(HELD, Succeeded("1"), 0.1, {}), some)
    assert isinstance(events[-1], OutcomeRefused)


def test_an_outcome_of_a_lost_claim_is_not_offered_again() -> None:
    """Another attempt owns the job; this one is told as dropped."""
    some, events = kit(Answers(LostClaim("taken back")))
    record(Ended(HELD, Succeeded("1"), 0.1, {}), some)

    assert not some.unrecorded
    assert [type(event) for event in events] == [ResultDropped]


@pytest.mark.parametrize(
    ("outcome", "move", "reason"),
    [
        (Succeeded("1"), "succeed", None),
        (RetryAt(ERROR, 1), "retry", "backoff"),
        (GaveUp(ERROR, "poison"), "give_up", "poison"),
        (ParkedUntil("doubt", None), "park", "doubt"),
        (Interrupted("shutdown"), "release", "shutdown"),
        (Stopped(), "stop", None),
    ],
)
def test_each_outcome_is_one_move_and_one_event(outcome: Outcome, move: str, reason: str | None) -> None:
    """What was decided is what is written and told."""
    moves = Answers(None)
    some, events = kit(moves)
    record(Ended(HELD, outcome, 0.1, {}), some)

    assert moves.called == [move]
    (ended,) = events
    assert isinstance(ended, AttemptEnded)
    assert (ended.outcome, ended.reason) == (outcome.name, reason)
