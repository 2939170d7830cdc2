"""A clock of one's own and a ledger that is driven move by move, for the tests of the ledger."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import apsw

from millrace.ledger.rows import NewJob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from millrace.events import Event
    from millrace.ledger.ledger import Ledger
    from millrace.ledger.rows import Claim, JobRow
    from millrace.ledger.ticket import Ticket

LIMIT_S = 20.0
START_MS = 1_800_000_000_000


class OwnClock:
    """Time stands still until a test moves it."""

    def __init__(self) -> None:
        self.ms = START_MS
        self.mono = 1000.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.mono

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        return event.wait(timeout_s)

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)
        self.mono += seconds


@dataclass
class Book:
    """A ledger with its clock, its events, and short names for what tests do all the time."""

    ledger: Ledger
    clock: OwnClock
    path: Path
    events: list[Event] = field(default_factory=list)

    def accept(self, task: str = "add", queue: str = "q", **given: Any) -> str:
        """Accept one job; return its id."""
        return self.ledger.moves.accept([NewJob(task, queue, **given)]).wait(LIMIT_S)[0].id

    def claim(self, slots: int = 1, queue: str = "q") -> list[Claim]:
        """Claim jobs."""
        return self.ledger.moves.claim(queue, slots).wait(LIMIT_S)

    def one(self, **given: Any) -> Claim:
        """Accept a job and claim it."""
        job_id = self.accept(**given)
        (held,) = self.claim(queue=given.get("queue", "q"))
        assert held.job_id == job_id
        return held

    def row(self, job_id: str) -> JobRow:
        """Return the job."""
        return self.ledger.reads.job(job_id)

    def sql(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Do by hand, over a connection of another program, what Millrace would not do."""
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(5000)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def balanced(self) -> bool:
        """Whether counters and rows agree."""
        return self.ledger.reads.balance(count_rows=True).difference == 0


@dataclass
class Held:
    """The writer at a standstill inside a unit, so that what is handed in meanwhile makes one batch."""

    ticket: Ticket[None]
    go: Callable[[], None]


def hold(ledger: Ledger) -> Held:
    """Keep the writer inside a unit until `go` is called."""
    entered, leave = threading.Event(), threading.Event()

    def stand(_tx: object) -> None:
        entered.set()
        assert leave.wait(LIMIT_S)

    ticket = ledger.writer.submit(stand)
    assert entered.wait(LIMIT_S)
    return Held(ticket, leave.set)
