"""Waiting for jobs and runs by their ids, in one command: what was begun before can be waited for again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from millrace.cli import run_waiting, waiting
from millrace.ledger.rows import JobRow
from millrace.ledger.run_view import view_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.cli.session import Session
    from millrace.ledger.reads import Reads
    from millrace.ledger.run_rows import RunRow
    from millrace.ledger.run_view import RunView


class Ended(NamedTuple):
    """Jobs and runs that are over, in the order in which they were asked for."""

    shown: list[JobRow | RunView]

    def print(self, *, results: bool) -> int:
        """Print what they came to; return 0 if all of them succeeded, else 1."""
        codes = [
            waiting.print_ended([one], results=results)
            if isinstance(one, JobRow)
            else run_waiting.print_ended(one, counts=results)
            for one in self.shown
        ]
        return max(codes)


def look_at_both(reads: Reads, wanted: Sequence[JobRow | RunRow]) -> list[JobRow | RunView]:
    """Return jobs and runs as they stand now, in the order in which they were asked for."""
    return [reads.job(one.id) if isinstance(one, JobRow) else view_run(reads, one.id) for one in wanted]


def wait_for_both(session: Session, reads: Reads, wanted: Sequence[JobRow | RunRow], timeout_s: float | None) -> Ended:
    """
    Return jobs and runs as they stand when all of them are over.

    Args:
        wanted: At least one.
        timeout_s: Seconds to wait at most for all, ≥ 0; None waits for as long as it takes.
    Raises: StillOpen if the time is up, which leaves them as they are.
    """
    end = None if timeout_s is None else session.clock.monotonic() + timeout_s
    jobs = [one.id for one in wanted if isinstance(one, JobRow)]
    found: dict[str, JobRow | RunView] = {}
    if jobs:
        found |= {job.id: job for job in waiting.wait_for(session, reads, jobs, timeout_s)}
    for one in wanted:
        if not isinstance(one, JobRow):
            left = None if end is None else max(0.0, end - session.clock.monotonic())
            run_waiting.wait_for_run(session, reads, one.id, left)
            found[one.id] = view_run(reads, one.id)
    return Ended([found[one.id] for one in wanted])
