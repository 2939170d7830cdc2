"""What people do to a schedule: fire it now, have times made up for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.errors import WrongStatus
from millrace.ledger.fire_rows import ByHand, NewFire
from millrace.queue.fire import prepared
from millrace.triggers.timetable import order_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads
    from millrace.ledger.ticket import Ticket
    from millrace.queue.submit import Submitter
    from millrace.triggers.schedule import Schedule

MOST: Final = 10_000  # times that are made up for at once
_RAN: Final = frozenset({"open", "over", "pending"})


class Planned(NamedTuple):
    """A due time of the past, and why it needs no making up for: "" if it does."""

    due_at: int
    reason: str


def fire_now(
    schedules: Sequence[Schedule],
    submitter: Submitter,
    moves: Moves,
    *,
    now: int,
    actor: str,
    anyway: bool = False,
) -> Ticket[list[tuple[str | None, int]]]:
    """
    Fire schedules now, all of them or none; the ticket carries the job or the run of each (None if it waits for its
    turn), or WrongStatus.

    Args:
        anyway: Start them also while the run before is not over.
    Raises: UnknownTask, PayloadError, TooLarge.
    """
    wanted = []
    for schedule in schedules:
        work = prepared(submitter, order_of(schedule, now))
        new = NewFire(now, "on_time", f"fired by {actor}", now, expected_by=schedule.expected_by(now), work=work)
        wanted.append(ByHand(place_of(schedule), new, schedule.overlap))
    return moves.fire_now(wanted, actor=actor, anyway=anyway)


def fired_as_json(schedules: Sequence[Schedule], fired: Sequence[tuple[str | None, int]]) -> list[dict[str, Any]]:
    """Return what came of a fire by hand as commands and the API give it."""
    kinds = {"task": "job", "pipeline": "run"}
    return [
        {"schedule": one.key, "kind": kinds[one.kind], "id": work_id}
        for one, (work_id, _) in zip(schedules, fired, strict=True)
    ]


def plan_backfill(schedule: Schedule, reads: Reads, after: int, until: int) -> list[Planned]:
    """
    Return the due times from one moment to another, both included, in order, and which of them have run.

    Raises: WrongStatus if there are more than 10,000.
    """
    count = schedule.timing.count(after - 1, until)
    if count > MOST:
        raise WrongStatus(f"{schedule.key} has {count:,} times there, and {MOST:,} at once is the most: take less")
    reasons: dict[int, str] = {}
    for row in reads.fires(schedule.key, after=after - 1, until=until, limit=3 * MOST):
        if row.state in _RAN and row.how == "backfill":
            reasons[row.due_at] = "is made up for"
        elif row.state in _RAN and row.how == "clock":
            reasons.setdefault(row.due_at, f"ran: {row.status or 'over'}" if row.state != "pending" else "waits")
    return [Planned(due_at, reasons.get(due_at, "")) for due_at in schedule.timing.times(after - 1, until)]


def backfill(
    schedule: Schedule, times: Sequence[int], submitter: Submitter, moves: Moves, *, actor: str
) -> Ticket[int]:
    """
    Have due times, at least one, made up for, one after the other, by the daemon; the ticket carries how many.

    Raises: UnknownTask, PayloadError, TooLarge, if what the schedule wants cannot be run.
    """
    prepared(submitter, order_of(schedule, times[0]))
    new = [NewFire(due_at, "late", f"made up for by {actor}", due_at, waits=True) for due_at in times]
    return moves.backfill(place_of(schedule), new, actor=actor)


def place_of(schedule: Schedule) -> tuple[str, str, str]:
    """Return under what its fires are kept: key, name and client."""
    return schedule.key, schedule.name, schedule.client
