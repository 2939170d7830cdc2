"""Expected against happened: what schedules should have done in the last hours, what came of it, and the gaps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import MS, rfc3339
from millrace.errors import NotFound
from millrace.triggers.due import ON_TIME_MS
from millrace.triggers.words import to_come

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from millrace.ledger.fire_rows import FireRow, FireSum, ScheduleState
    from millrace.ledger.reads import Reads
    from millrace.triggers.schedule import Schedule
    from millrace.triggers.timetable import Timetable

DAY_S: Final = 86400.0
_BAD: Final = frozenset({"dead", "failed", "partial", "cancelled"})
_LONGEST: Final = 200  # characters of an error
UNDECIDED: Final = "nobody has decided it: the daemon is not running, or is behind"


@dataclass(frozen=True, slots=True)
class Gap:
    """
    Something that was expected and did not come, or not as it should have.

    `kind` is missed, the bad status of its job or run, overdue (should be done by now), or done_late; `count` due times
    from `since` to `due_at` came to the same, for the same reason. The job or run is that of the newest.
    """

    schedule: str
    kind: str
    due_at: int
    since: int
    count: int
    why: str
    job_id: str | None = None
    run_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the gap as `today` gives it."""
        times = {"due_at": rfc3339(self.due_at), "since": rfc3339(self.since)}
        return {
            "schedule": self.schedule,
            "kind": self.kind,
            **times,
            "count": self.count,
            "why": self.why or None,
            "job_id": self.job_id,
            "run_id": self.run_id,
        }


@dataclass(frozen=True, slots=True)
class Line:
    """One schedule: how many times were due, and what they came to; `next_at` is the next one."""

    schedule: str
    target: str
    expected: int
    succeeded: int
    open: int
    failed: int
    missed: int
    skipped: int
    next_at: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the line as `today` gives it."""
        counts = {
            name: getattr(self, name) for name in ("expected", "succeeded", "open", "failed", "missed", "skipped")
        }
        return {"schedule": self.schedule, "target": self.target, **counts, "next_at": rfc3339(self.next_at)}


@dataclass(frozen=True, slots=True)
class Today:
    """The gaps, the newest first, and a line for each schedule, from one moment to another."""

    since: int
    until: int
    gaps: list[Gap]
    lines: list[Line]

    def as_json(self) -> dict[str, Any]:
        """Return it all as `today` gives it."""
        return {
            "from": rfc3339(self.since),
            "to": rfc3339(self.until),
            "gaps": [gap.as_json() for gap in self.gaps],
            "schedules": [line.as_json() for line in self.lines],
        }


def today(
    found: Timetable, reads: Reads | None, now: int, *, span_s: float = DAY_S, client: str | None = None
) -> Today:
    """
    Return what was expected and what happened.

    Args:
        reads: The ledger; None while there is none.
        now: Epoch ms.
        span_s: How far to look back, in seconds.
        client: Only the schedules for this one.
    """
    since = now - round(span_s * MS)
    wanted = {key: one for key, one in found.schedules.items() if client in (None, one.client)}
    if reads is None:
        return Today(since, now, [], [_line(one, Counter(), now) for one in _sorted(wanted.values())])
    states, ahead = reads.schedules(), reads.decided_ahead(wanted, now)
    missing = [gap for key, one in wanted.items() if (gap := undecided(one, states.get(key), since, now))]
    counts: dict[str, Counter[str]] = {key: Counter() for key in wanted}
    sums = reads.fire_sums(wanted, since, now, now=now)
    for one in sums:
        counts[one.key][_sort_of(one.outcome, one.status)] += one.number
    for gap in missing:
        counts[gap.schedule]["missed"] += gap.count
    gaps = [_gap(one, kind, reads) for one in sums if (kind := _kind(one))]
    ordered = sorted([*missing, *gaps], key=lambda gap: -gap.due_at)
    lines = [_line(one, counts[one.key], now, ahead.get(one.key, ())) for one in _sorted(wanted.values())]
    return Today(since, now, ordered, lines)


def _sorted(schedules: Collection[Schedule]) -> Sequence[Schedule]:
    return sorted(schedules, key=lambda one: one.key)


def _sort_of(outcome: str, status: str | None) -> str:
    if outcome in ("missed", "skipped"):
        return outcome
    if status in _BAD:
        return "failed"
    return "open" if status in (None, "waiting", "queued", "running") else "succeeded"


def _line(schedule: Schedule, counts: Counter[str], now: int, ahead: Collection[int] = ()) -> Line:
    return Line(
        schedule.key,
        schedule.target,
        counts.total(),
        succeeded=counts["succeeded"],
        open=counts["open"],
        failed=counts["failed"],
        missed=counts["missed"],
        skipped=counts["skipped"],
        next_at=next(to_come(schedule.timing, now, ahead), None),
    )


def undecided(schedule: Schedule, state: ScheduleState | None, since: int, now: int) -> Gap | None:
    """Return the due times after a moment that have passed and that no daemon has decided, None if there are none."""
    if state is None or state.paused_at is not None or not schedule.enabled:
        return None
    after, until = max(since, state.last), now - schedule.jitter_ms - ON_TIME_MS
    latest = next(schedule.timing.back(after, until), None) if until > after else None
    if latest is None:
        return None
    first = next(schedule.timing.times(after, until))
    return Gap(schedule.key, "missed", latest, first, schedule.timing.count(after, until), UNDECIDED)


def _kind(one: FireSum) -> str:
    """Return what kind of a gap due times are, "" if they are none."""
    if one.outcome == "missed":
        return "" if one.made_up else "missed"
    return one.status if one.status in _BAD else one.late


def _gap(one: FireSum, kind: str, reads: Reads) -> Gap:
    if kind == "missed":
        return Gap(one.key, kind, one.due_at, one.since, one.number, one.why)
    newest = reads.fire_of(one.key, one.due_at)
    why = f"should be done by {rfc3339(newest.expected_by)}" if kind == one.late else _came_to(newest, reads)
    return Gap(one.key, kind, one.due_at, one.since, one.number, why, newest.job_id, newest.run_id)


def _came_to(row: FireRow, reads: Reads) -> str:
    """Return what became of the work of a due time: the error of its job, or how many of its run's jobs are dead."""
    try:
        if row.job_id is not None:
            error = reads.job(row.job_id).error
            return f"{error.type}: {error.message}"[:_LONGEST] if error else ""
        dead = sum(counts.get("dead", 0) for counts in reads.run(row.run_id or "").counts.values())
    except NotFound:  # its row was pruned
        return ""
    return f"{dead:,} of its jobs {'is' if dead == 1 else 'are'} dead" if dead else ""
