"""A scheduler over a real ledger under a clock of its own; jobs are claimed and ended by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millrace.config.settings import Settings
from millrace.define.pipeline import Pipeline
from millrace.define.registry import Registry
from millrace.define.task import task
from millrace.events import AttemptEnded, Event
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import JobFilter, JobRow
from millrace.queue.submit import Submitter
from millrace.triggers.scheduler import Scheduler
from tests.ledger.rig import OwnClock

if TYPE_CHECKING:
    from pathlib import Path

    from millrace.ledger.fire_rows import FireRow
    from millrace.ledger.rows import Claim

LIMIT_S = 20.0
MINUTE_S = 60.0


def registry() -> Registry:
    """Return two tasks and a pipeline."""

    @task
    def report(month: str = "") -> str:
        """Write a report."""
        return month

    @task(schedule="*/5 * * * *")
    def sweep() -> None:
        """Sweep up."""

    close = Pipeline("close", inputs={"month": (str, "now")})

    @close.stage
    def books(month: str) -> str:
        return month

    return Registry({found.name: found for found in (report, sweep)}, pipelines={"close": close})


@dataclass
class Room:
    """A ledger, a scheduler of the schedules that a test names, and short names for what tests do."""

    folder: Path
    schedules: dict[str, dict[str, Any]]
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    clock: OwnClock = field(default_factory=OwnClock)
    events: list[Event] = field(default_factory=list)
    tasks: Registry = field(default_factory=registry)

    def __post_init__(self) -> None:
        self.nudged = 0
        self.tasks.tasks["sweep"].schedule = None
        self.ledger = Ledger(self.folder / "ledger.db", synchronous="normal", clock=self.clock, emit=self.emit)
        self.ledger.moves.daemon = "d1"
        self.scheduler = self.another()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if hasattr(self, "scheduler"):
            self.scheduler.hear(event)

    def settings(self) -> Settings:
        return Settings(schedules=self.schedules, clients=self.clients)

    def another(self) -> Scheduler:
        """Return a scheduler of its own over the same ledger, as a daemon has that was started again."""
        settings, moves, reads = self.settings(), self.ledger.moves, self.ledger.reads
        return Scheduler(
            self.tasks,
            settings,
            submitter=Submitter(self.tasks, settings, moves, reads, emit=self.emit),
            moves=moves,
            reads=reads,
            clock=self.clock,
            emit=self.emit,
            nudge=self._nudge,
        )

    def _nudge(self) -> None:
        self.nudged += 1

    def start(self) -> None:
        self.begin(self.scheduler)

    @staticmethod
    def begin(scheduler: Scheduler) -> None:
        """Start a scheduler as a daemon does, whose upkeep gives it its first turn."""
        scheduler.start()
        scheduler.turn()

    def restart(self) -> None:
        """Let the daemon be another one; the one before said nothing at its end."""
        self.scheduler.stop()
        self.scheduler = self.another()
        self.begin(self.scheduler)

    def pass_time(self, minutes: float, key: str) -> None:
        """Let time pass, and a schedule see it."""
        self.clock.advance(minutes * MINUTE_S)
        self.scheduler.fire(key)

    def fires(self, key: str) -> list[FireRow]:
        """Return the fires of a schedule, oldest first."""
        return self.ledger.reads.fires(key, limit=20_000)[::-1]

    def outcomes(self, key: str) -> dict[str, int]:
        """Return how many due times came to what."""
        found: Counter[str] = Counter()
        for row in self.fires(key):
            found[row.outcome] += row.count
        return dict(found)

    def jobs(self) -> list[JobRow]:
        """Return all jobs, oldest first."""
        return self.ledger.reads.jobs(JobFilter(limit=1000)).jobs[::-1]

    def claim(self) -> Claim:
        (held,) = self.ledger.moves.claim("default", 1).wait(LIMIT_S)
        return held

    def end(self, held: Claim) -> None:
        """Let a job succeed, and tell as its runner does."""
        self.ledger.moves.succeed(held, "null", duration_s=0.1).wait(LIMIT_S)
        self.emit(
            AttemptEnded(
                held.job_id, held.task, held.queue, held.client, held.attempt, "succeeded", "succeeded", None, None,
                0.1, "",
            )
        )  # fmt: skip

    def close(self) -> None:
        self.scheduler.stop()
        assert self.ledger.reads.balance(count_rows=True).difference == 0
        self.ledger.close()
