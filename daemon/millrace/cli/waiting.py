"""Waiting until jobs are over: watches the ledger's data version, which costs next to nothing, then the jobs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.filters import error_words, status_words
from millrace.cli.history import waits
from millrace.cli.output import plain
from millrace.cli.session import tell
from millrace.cli.watching import Watch, interruptible
from millrace.errors import StillOpen
from millrace.ledger.states import FINAL, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from millrace.cli.session import Session
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import JobRow

_LOOK_EVERY_S: Final = 0.05
# What ends only when somebody does something: a wait that says nothing of it would look like a hang.
_FOR_SOMEBODY: Final = frozenset({"unknown_task", "payload", "doubt", "answer"})


def wait_for(session: Session, reads: Reads, ids: Sequence[str], timeout_s: float | None) -> list[JobRow]:
    """
    Return jobs as they stand when all of them are over.

    Args:
        ids: Full ids.
        timeout_s: Seconds to wait at most, ≥ 0; None waits for as long as it takes.
    Raises: NotFound; StillOpen if the time is up, which leaves the jobs as they are.
    """
    deadline = None if timeout_s is None else session.clock.monotonic() + timeout_s
    watch = Watch(session, "job")
    with interruptible("job", ids):
        return _wait(session, reads, ids, deadline, watch)


def _wait(session: Session, reads: Reads, ids: Sequence[str], deadline: float | None, watch: Watch) -> list[JobRow]:
    ended: dict[str, JobRow] = {}
    seen = None
    named: set[str] = set()
    while True:
        version = reads.data_version()
        if version != seen:
            seen = version
            jobs = [reads.job(job_id) for job_id in ids if job_id not in ended]
            ended |= {job.id: job for job in jobs if job.status in FINAL}
            _tell_what_is_stuck(jobs, named)
            tell_of_pauses(reads, {job.queue for job in jobs if job.status == Status.QUEUED}, named)
        open_ids = [job_id for job_id in ids if job_id not in ended]
        if not open_ids:
            return [ended[job_id] for job_id in ids]
        watch.look()
        _nap(session, reads, open_ids, deadline)


def _tell_what_is_stuck(jobs: Sequence[JobRow], named: set[str]) -> None:
    """Say of each job, once, that it waits for somebody to do something."""
    for job in jobs:
        if job.status == Status.WAITING and job.reason in _FOR_SOMEBODY and job.id not in named:
            named.add(job.id)
            tell(f"Job {job.id} {waits(job.reason)} (millrace explain {job.id}).")


def tell_of_pauses(reads: Reads, queues: Collection[str], named: set[str]) -> None:
    """Say of each queue, once, that it gives out nothing until somebody lets it go on."""
    for queue in sorted(reads.paused().intersection(queues) - named) if queues else ():
        named.add(queue)
        tell(f"Queue {queue} is paused, and what waits in it does not start (millrace queues resume {queue}).")


def _nap(session: Session, reads: Reads, open_ids: Sequence[str], deadline: float | None) -> None:
    left = _LOOK_EVERY_S if deadline is None else deadline - session.clock.monotonic()
    if left <= 0:
        job = reads.job(open_ids[0])
        more = f", and {len(open_ids) - 1} more" if len(open_ids) > 1 else ""
        raise StillOpen(
            f"job {job.id} is still {status_words(job)}{more}: the time to wait is up, the job goes on "
            f"(millrace jobs wait {job.id})"
        )
    session.clock.wait(threading.Event(), min(left, _LOOK_EVERY_S))


def print_ended(jobs: Sequence[JobRow], *, results: bool) -> int:
    """Print the results of jobs that are over; return 0 if all of them succeeded, else 1."""
    for job in jobs:
        if job.status == Status.SUCCEEDED:
            if results:
                click.echo(job.result or "null")
        else:
            why = f": {plain(error_words(job))}" if job.status == Status.DEAD and job.error else ""
            tell(f"millrace: job {job.id} is {job.status}{why} (millrace jobs show {job.id})")
    return 0 if all(job.status == Status.SUCCEEDED for job in jobs) else 1
