"""What goes into the ledger about schedules, and what comes out. Times are UTC epoch milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.clock import rfc3339

if TYPE_CHECKING:
    from millrace.ledger.rows import NewJob
    from millrace.ledger.run_rows import NewRun

CLOCK: Final = "clock"  # its time came
HAND: Final = "hand"  # somebody fired it
BACKFILL: Final = "backfill"  # somebody had a time made up for
# The statuses of jobs and of runs that are over.
OVER: Final = frozenset({"succeeded", "dead", "cancelled", "failed", "partial"})
EDITION: Final = "schedules"  # what in the ledger changes when somebody has acted on a schedule


class NewFire(NamedTuple):
    """
    A due time that has passed, and what becomes of it.

    Args:
        since, number: Of one that stands for several due times: the first, and how many.
        waits: It is to run when what the schedule runs now is over; it then has no `work` yet.
        expected_by: Until when its work should be done.
        work: What is submitted with it.
    """

    due_at: int
    outcome: str
    why: str = ""
    since: int = 0
    number: int = 1
    waits: bool = False
    expected_by: int | None = None
    work: NewJob | NewRun | None = None


class ByHand(NamedTuple):
    """
    A schedule that somebody fires.

    Args:
        place: Key, schedule and client.
        overlap: What holds if something of it is open: skip, queue or allow.
    """

    place: tuple[str, str, str]
    new: NewFire
    overlap: str


class Decision(NamedTuple):
    """
    What was decided about the due times of one schedule.

    Args:
        key, schedule, client: Which.
        last: What it was decided from: nobody may have decided about it since.
        upto: What is decided from now on.
        alone: Whether its first work may start only if nothing of this schedule is open.
    """

    key: str
    schedule: str
    client: str
    last: int
    upto: int
    fires: tuple[NewFire, ...]
    alone: bool


class Fired(NamedTuple):
    """
    What came of a decision: `done`; `stale` (somebody else has decided) or `busy` (something is open), with nothing
    written. `ids` are the jobs or runs of those that started, in order.
    """

    verdict: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """How far a schedule is decided, and since when and by whom it is paused."""

    key: str
    fingerprint: str
    last: int
    paused_at: int | None = None
    paused_by: str | None = None


@dataclass(frozen=True, slots=True)
class FireRow:
    """
    A due time that has passed.

    `how` is clock, hand or backfill; `outcome` on_time, late, missed or skipped; `state` none (nothing to run), pending
    (waits for the one before), open or over. `status` and `finished_at` are those of its job or run.
    """

    key: str
    due_at: int
    how: str
    schedule: str
    client: str
    outcome: str
    why: str
    since: int
    count: int
    state: str
    decided_at: int
    expected_by: int | None
    job_id: str | None
    run_id: str | None
    status: str | None
    finished_at: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the fire as the API gives it."""
        return {
            "schedule": self.schedule,
            "client": self.client,
            "due_at": rfc3339(self.due_at),
            "how": self.how,
            "outcome": self.outcome,
            "why": self.why or None,
            "since": rfc3339(self.since),
            "count": self.count,
            "state": self.state,
            "decided_at": rfc3339(self.decided_at),
            "expected_by": rfc3339(self.expected_by),
            "job_id": self.job_id,
            "run_id": self.run_id,
            "status": self.status,
            "finished_at": rfc3339(self.finished_at),
        }


class FireSum(NamedTuple):
    """
    How many due times of a schedule came to the same.

    Args:
        status: Of their jobs or runs; None where there is none, or not yet.
        late: overdue, done_late, or "" for what is not late, by what its schedule gives (done_by).
        why: Why they were missed.
        made_up: Whether people had them made up for since.
        due_at: The newest of them.
        since: The first of them.
    """

    key: str
    outcome: str
    status: str | None
    late: str
    why: str
    made_up: int
    number: int
    due_at: int
    since: int


class Missed(NamedTuple):
    """Due times of a schedule that were missed for one reason and not made up for: how many, the first, the last."""

    why: str
    number: int
    since: int
    due_at: int


class Turn(NamedTuple):
    """What of a schedule runs, what of it is to run next, and how many wait for their turn."""

    next: FireRow | None
    runs: tuple[FireRow, ...]
    waiting: int = 0
