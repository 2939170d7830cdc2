"""Schedules as people see them: when in words, the next times, what became of the last one, why one does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.clock import rfc3339
from millrace.triggers.schedule import timing_text
from millrace.triggers.today import undecided
from millrace.triggers.words import in_words, notes, upcoming

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from millrace.ledger.fire_rows import ScheduleState
    from millrace.ledger.reads import Reads
    from millrace.triggers.schedule import Schedule
    from millrace.triggers.timetable import Timetable

NEXT: Final = 3


def board(
    found: Timetable, wanted: Iterable[Schedule], reads: Reads | None, *, now: int, count: int = NEXT
) -> list[dict[str, Any]]:
    """
    Return what there is to tell of some schedules, in the order of their names.

    Args:
        reads: The ledger; None while there is none.
        now: Epoch ms.
        count: How many of the next times.
    """
    shown = sorted(wanted, key=lambda one: one.key)
    states = reads.schedules() if reads is not None else {}
    ahead = reads.decided_ahead([one.key for one in shown], now) if reads is not None else {}
    rows = []
    for schedule in shown:
        state = states.get(schedule.key)
        fires = reads.fires(schedule.key, until=now, limit=1) if reads is not None and state is not None else []
        row = _shown(schedule, state, ahead.get(schedule.key, ()), now, count)
        problem = found.problems.get(schedule.key)
        rows.append(row | {"last_fire": fires[0].as_json() if fires else None, "problem": problem})
    return rows


def _shown(
    schedule: Schedule, state: ScheduleState | None, ahead: Collection[int], now: int, count: int
) -> dict[str, Any]:
    times = upcoming(schedule.timing, now, count, ahead)
    return {
        "schedule": schedule.key,
        "name": schedule.name,
        "client": schedule.client,
        "kind": schedule.kind,
        "target": schedule.target,
        "payload": dict(schedule.payload),
        "when": timing_text(schedule.timing),
        "words": in_words(schedule.timing),
        "timezone": schedule.zone,
        "enabled": schedule.enabled,
        "paused": state is not None and state.paused_at is not None,
        "paused_by": state.paused_by if state is not None else None,
        "paused_at": rfc3339(state.paused_at) if state is not None else None,
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap,
        "done_by": schedule.done_by,
        "next": [{"at": time.utc, "local": time.local} for time in times],
        "notes": notes(schedule.timing, now, times[-1].due_at) if times else [],
        "ahead": _ahead(schedule, ahead),
        "undecided": _undecided(schedule, state, now),
    }


def _ahead(schedule: Schedule, decided: Collection[int]) -> dict[str, Any] | None:
    """Return which times to come were decided by a clock that was ahead; those of what it was before do not count."""
    mine = [due_at for due_at in decided if schedule.timing.count(due_at - 1, due_at)]
    return {"since": rfc3339(min(mine)), "due_at": rfc3339(max(mine)), "count": len(mine)} if mine else None


def _undecided(schedule: Schedule, state: ScheduleState | None, now: int) -> dict[str, Any] | None:
    gap = undecided(schedule, state, 0, now)
    return {"since": rfc3339(gap.since), "due_at": rfc3339(gap.due_at), "count": gap.count} if gap else None
