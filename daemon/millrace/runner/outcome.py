"""What becomes of a job after an attempt, and the one place that writes it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millrace.errors import LostClaim
from millrace.events import AttemptEnded, OutcomeRefused, ResultDropped

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim, JobError
    from millrace.ledger.states import Status
    from millrace.ledger.ticket import Ticket
    from millrace.runner.kit import Kit


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It is done; `result` is JSON text."""

    result: str | None
    name = "succeeded"


@dataclass(frozen=True, slots=True)
class RetryAt:
    """It failed and gets another attempt at `due_at` (UTC epoch milliseconds)."""

    error: JobError
    due_at: int
    crashed: bool = False
    name = "retried"


@dataclass(frozen=True, slots=True)
class GaveUp:
    """To the dead letters; `cause` says which rule decided it."""

    error: JobError
    cause: str
    crashed: bool = False
    name = "gave_up"


@dataclass(frozen=True, slots=True)
class ParkedUntil:
    """It waits, at no cost, for `due_at` or for somebody to promote it (None); `error` says what keeps it."""

    reason: str
    due_at: int | None
    error: JobError | None = None
    name = "parked"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The daemon goes down: back to the queue, at no cost."""

    why: str
    name = "released"


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was cancelled while it ran."""

    name = "stopped"


Outcome = Succeeded | RetryAt | GaveUp | ParkedUntil | Interrupted | Stopped


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over: who, how, how long, and the evidence."""

    held: Claim
    outcome: Outcome
    duration_s: float
    facts: dict[str, Any]


def record(ended: Ended, kit: Kit) -> None:
    """
    Hand the outcome to the ledger; the events follow its commit, in the writer's thread.

    An outcome that the ledger could not take (disk full, locked) is kept in `kit.unrecorded`: dropping it would run
    finished work again. `record_again` offers it once more.
    """
    try:
        _hand_over(ended, kit).then(lambda ticket: _committed(ended, ticket, kit))
    except Exception as error:  # noqa: BLE001 - a writer that is closing refuses in its own words; the outcome stays
        _settled(ended, None, error, kit)


def record_again(kit: Kit) -> int:
    """Offer the outcomes that the ledger could not take once more; return how many there were. For upkeep."""
    count = len(kit.unrecorded)
    for _ in range(count):
        record(kit.unrecorded.popleft(), kit)
    return count


def _hand_over(ended: Ended, kit: Kit) -> Ticket[Status]:
    held, took, facts, moves = ended.held, ended.duration_s, ended.facts or None, kit.moves
    match ended.outcome:
        case Succeeded(result):
            return moves.succeed(held, result, duration_s=took, facts=facts)
        case RetryAt(error, due_at, crashed):
            return moves.retry(held, error, due_at=due_at, duration_s=took, crashed=crashed, facts=facts)
        case GaveUp(error, cause, crashed):
            return moves.give_up(held, error, duration_s=took, crashed=crashed, facts=facts, cause=cause)
        case ParkedUntil(reason, due_at, error):
            return moves.park(held, reason, due_at=due_at, duration_s=took, error=error, facts=facts)
        case Interrupted(why):
            return moves.release(held, why, duration_s=took, facts=facts)
        case Stopped():
            return moves.stop(held, duration_s=took, facts=facts)


def _committed(ended: Ended, ticket: Ticket[Status], kit: Kit) -> None:
    if ticket.error is None:
        _settled(ended, ticket.wait(0), None, kit)
    else:
        _settled(ended, None, ticket.error, kit)


def _settled(ended: Ended, status: str | None, error: BaseException | None, kit: Kit) -> None:
    held, outcome = ended.held, ended.outcome
    if status is None and error is not None and not isinstance(error, LostClaim):
        _refused(ended, error, kit)
        kit.unrecorded.append(ended)
        return
    kit.refusals.pop((held.job_id, held.attempt), None)
    if isinstance(error, LostClaim):
        kit.emit(ResultDropped(held.job_id, held.attempt, outcome.name))
        return
    kit.emit(
        AttemptEnded(
            job_id=held.job_id,
            task=held.task,
            queue=held.queue,
            client=held.client,
            attempt=held.attempt,
            outcome=outcome.name,
            status=str(status),
            reason=_reason(outcome),
            error=outcome.error.type if isinstance(outcome, RetryAt | GaveUp) else None,
            duration_s=round(ended.duration_s, 6),  # what is below a microsecond is noise, and fills the log
            correlation_id=held.correlation_id,
        )
    )


def _refused(ended: Ended, error: BaseException, kit: Kit) -> None:
    """Note why an outcome is not written; tell it, if no other is refused for that kind of error."""
    held = ended.held
    known = {type(other) for other in list(kit.refusals.values())}
    kit.refusals[held.job_id, held.attempt] = error
    if type(error) not in known:
        words = f"{type(error).__name__}: {error}"
        kit.emit(OutcomeRefused(held.job_id, held.attempt, ended.outcome.name, words))


def _reason(outcome: Outcome) -> str | None:
    match outcome:
        case RetryAt():
            return "backoff"
        case GaveUp(cause=cause):
            return cause
        case ParkedUntil(reason=reason):
            return reason
        case Interrupted(why=why):
            return why
        case _:
            return None
