"""From due times that have passed to one transaction: what each comes to, and what is submitted for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from millrace.errors import MillraceError
from millrace.ledger.fire_rows import BACKFILL, Decision, NewFire
from millrace.queue.fire import prepared
from millrace.triggers.due import due, settled
from millrace.triggers.timetable import order_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from millrace.ledger.fire_rows import Turn
    from millrace.queue.submit import Submitter
    from millrace.triggers.due import Fire
    from millrace.triggers.schedule import Schedule

TOLD: Final = 10  # of what will not run, so many due times have a row each: of 500 schedules after an outage too
MOST_WAITING: Final = 10_000  # of one schedule: one whose job is always longer than its interval would fill the disk
AT_ONCE: Final = 200  # what is submitted in one transaction: about 20 ms of the write lock


def decide(
    schedule: Schedule,
    last: int,
    now: int,
    turn: Turn,
    *,
    paused: bool,
    submitter: Submitter,
    taken: Collection[int] = (),
) -> Decision | None:
    """
    Return what becomes of the due times after `last` that have passed; None if there are none.

    What would be more than one transaction is cut: the rest is decided by another call.

    Args:
        turn: What of the schedule runs, or waits for its turn.
        taken: The due times after `last` that have been decided. There are some where the schedule began anew after its
            clock was ahead: a due time is decided once, so they are passed over.
    """
    found = due(schedule, last, now, paused=paused, rows=TOLD)
    if not found:
        return None
    if schedule.overlap == "allow":
        found = _cut(found)
    fires = _settled(schedule, list(_untaken(schedule, found, taken)), turn)
    new = tuple(_new(schedule, fire, submitter) for fire in fires)
    alone = schedule.overlap != "allow" and any(fire.work is not None for fire in new)
    return Decision(schedule.key, schedule.name, schedule.client, last, found[-1].due_at, new, alone)


def _untaken(schedule: Schedule, fires: Sequence[Fire], taken: Collection[int]) -> Iterator[Fire]:
    """Yield the fires without the due times that are decided."""
    timing = schedule.timing
    mine = {due_at for due_at in taken if timing.count(due_at - 1, due_at)}  # its times may have been others then
    for fire in fires:
        if fire.count == 1:
            left = int(fire.due_at not in mine)
        else:
            left = fire.count - sum(fire.since <= due_at <= fire.due_at for due_at in mine)
        if left == fire.count:
            yield fire
        elif left:
            newest = next(at for at in timing.back(fire.since - 1, fire.due_at) if at not in mine)
            oldest = next(at for at in timing.times(fire.since - 1, fire.due_at) if at not in mine)
            yield replace(fire, due_at=newest, since=oldest, count=left)


def _cut(fires: Sequence[Fire]) -> list[Fire]:
    """Return the first of them, up to as many to submit as one transaction takes."""
    kept, count = [], 0
    for fire in fires:
        count += fire.runs
        if count > AT_ONCE:
            break
        kept.append(fire)
    return kept


def _settled(schedule: Schedule, fires: Sequence[Fire], turn: Turn) -> list[Fire]:
    """Return the fires after the overlap policy. What people had made up for is no reason to skip one: it waits."""
    there = [*turn.runs, *([turn.next] if turn.next else [])]
    if there and schedule.overlap == "skip" and all(row.how == BACKFILL for row in there):
        return [replace(fire, after_previous=True) if fire.runs else fire for fire in fires]
    return list(_bounded(settled(schedule, fires, busy=bool(there)), turn.waiting))


def _bounded(fires: Sequence[Fire], waiting: int) -> Iterator[Fire]:
    """Yield the fires; those that would wait behind too many others are skipped."""
    for fire in fires:
        waiting += fire.after_previous
        if fire.after_previous and waiting > MOST_WAITING:
            why = f"{MOST_WAITING:,} wait already (overlap = queue)"
            yield replace(fire, outcome="skipped", why=why, after_previous=False)
        else:
            yield fire


def _new(schedule: Schedule, fire: Fire, submitter: Submitter) -> NewFire:
    new = NewFire(fire.due_at, fire.outcome, fire.why, fire.since or fire.due_at, fire.count)
    if not fire.runs:
        return new
    new = new._replace(expected_by=schedule.expected_by(fire.due_at))
    if fire.after_previous:
        return new._replace(waits=True)
    try:
        return new._replace(work=prepared(submitter, order_of(schedule, fire.due_at), fire.due_at))
    except MillraceError as error:
        return new._replace(outcome="missed", why=str(error))
