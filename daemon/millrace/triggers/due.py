"""
Which due times of a schedule have passed undecided, and what becomes of each. Decided against the latest decided due
time and not against the last look at the clock: so a due time comes up once, however the clock jumps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from millrace.clock import MS, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from millrace.triggers.schedule import Schedule

ON_TIME_MS: Final = 10_000  # a fire that is not later than this is on time
PROMPT_MS: Final = (
    60_000  # nothing was missed, only delayed: a quick restart does not cost a fire, whatever catch_up says
)
ROWS: Final = 100  # of the fires that will not run, so many have a row each; those before share one


@dataclass(frozen=True, slots=True)
class Fire:
    """
    A due time that has passed, and what becomes of it.

    `on_time` and `late` run; `missed` (nobody was there) and `skipped` (somebody decided so) do not, and `why` tells
    the reason. `after_previous`: it is to wait until the run before it is over. One with `count` above 1 stands for all
    due times from `since` to `due_at`, which share their reason. All times are epoch ms.
    """

    due_at: int
    outcome: Literal["on_time", "late", "missed", "skipped"]
    why: str = ""
    since: int = 0
    count: int = 1
    after_previous: bool = False

    @property
    def runs(self) -> bool:
        """Whether it is to be submitted."""
        return self.outcome in ("on_time", "late")


def due(schedule: Schedule, last: int, now: int, *, paused: bool = False, rows: int = ROWS) -> list[Fire]:
    """
    Return what becomes of each due time after `last` that has passed, in order; empty if the clock went back.

    Args:
        last: The latest due time that was decided, or since when the schedule is there as it is; epoch ms.
        now: Epoch ms.
        paused: Whether somebody has paused the schedule.
        rows: How many fires that will not run are told one by one, the latest ones; those before share a `Fire`.
    """
    until = _released(schedule, last, now)
    if until <= last:
        return []
    if paused or not schedule.enabled:
        stopped = Fire(0, "skipped", "paused" if paused else "enabled = false")
        return _unwanted(schedule, last, until, stopped, rows)
    edge = max(last, min(until, now - schedule.window_ms - schedule.jitter_ms))
    window = format_duration(schedule.window_ms / MS)
    too_old = Fire(0, "missed", f"older than catch_up_window ({window})")
    return _unwanted(schedule, last, edge, too_old, rows=0) + _within(schedule, edge, until, now, rows)


def settled(schedule: Schedule, fires: Iterable[Fire], *, busy: bool) -> list[Fire]:
    """
    Return the fires after the overlap policy.

    Several that are made up for at once run one after the other unless overlap is `allow`: when they were due, nothing
    ran, so none of them is skipped for another.

    Args:
        busy: Whether a run of this schedule is still open.
    """
    settled: list[Fire] = []
    for fire in fires:
        if not fire.runs or schedule.overlap == "allow":
            settled.append(fire)
        elif busy and schedule.overlap == "skip":
            settled.append(replace(fire, outcome="skipped", why="the run before is not over (overlap = skip)"))
        else:
            first = not busy and not any(other.runs for other in settled)
            settled.append(fire if first else replace(fire, after_previous=True))
    return settled


def _released(schedule: Schedule, last: int, now: int) -> int:
    """Return the latest due time whose jitter is over too; in order, so that a later one never overtakes."""
    if not schedule.jitter_ms:
        return now
    until = max(last, now - schedule.jitter_ms)
    for due_at in schedule.timing.times(until, now):
        if due_at + schedule.jitter(due_at) > now:
            break
        until = due_at
    return until


def _within(schedule: Schedule, edge: int, until: int, now: int, rows: int) -> list[Fire]:
    if schedule.catch_up == "all":
        return [_run(schedule, due_at, now) for due_at in schedule.timing.times(edge, until)]
    newest = next(schedule.timing.back(edge, until), None)
    if newest is None:
        return []
    fire = _run(schedule, newest, now)
    if schedule.catch_up == "none" and _late_by(schedule, newest, now) > PROMPT_MS:
        return _unwanted(schedule, edge, until, Fire(0, "missed", "catch_up = none"), rows)
    passed_over = Fire(0, "missed", f"catch_up = {schedule.catch_up}: a later one was due")
    return [*_unwanted(schedule, edge, newest - 1, passed_over, rows), fire]


def _run(schedule: Schedule, due_at: int, now: int) -> Fire:
    late_by = _late_by(schedule, due_at, now)
    if late_by <= ON_TIME_MS:
        return Fire(due_at, "on_time", since=due_at)
    return Fire(due_at, "late", f"{format_duration(late_by / MS)} late", since=due_at)


def _late_by(schedule: Schedule, due_at: int, now: int) -> int:
    return now - due_at - schedule.jitter(due_at)


def _unwanted(schedule: Schedule, after: int, until: int, like: Fire, rows: int) -> list[Fire]:
    """Return fires that do not run, all with the outcome and the reason of `like`."""
    if until <= after:
        return []
    told = list(islice(schedule.timing.back(after, until), rows))[::-1]
    fires = [Fire(due_at, like.outcome, like.why, due_at) for due_at in told]
    before = (told[0] if told else until + 1) - 1
    latest = next(schedule.timing.back(after, before), None)
    if latest is None:
        return fires
    since = next(schedule.timing.times(after, before))
    return [Fire(latest, like.outcome, like.why, since, schedule.timing.count(after, before)), *fires]
