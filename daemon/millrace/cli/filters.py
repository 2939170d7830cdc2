"""The options that pick jobs, the same for every list, and the list itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from millrace.cli.ids import job_of, run_of
from millrace.cli.output import as_json, echo_json, one_line
from millrace.cli.session import tell
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.times import Since, age, ago, briefly
from millrace.ledger.rows import JobFilter, Page
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from millrace.cli.session import Session
    from millrace.ledger.rows import JobRow

F = TypeVar("F", bound="Callable[..., Any]")
MOST: Final = 1000

_JOBS: Final = (
    Column("ID"),
    Column("TASK", elastic=True),
    Column("STATUS", colored=True),
    Column("CREATED", right=True),
    Column("QUEUE", optional=True),
    Column("TOOK", right=True, optional=True),
    Column("FAILURES", right=True, optional=True),
    Column("CLIENT", optional=True),
    Column("ERROR", optional=True, elastic=True, first=True),
)
_DEAD: Final = (
    Column("ID"),
    Column("TASK", elastic=True),
    Column("DIED", right=True),
    Column("ERROR", elastic=True),
)
_RUN: Final = Column("RUN", optional=True)


def whose(command: F) -> F:
    """Add the options that say whose jobs are meant."""
    for option in (
        click.option("--client", metavar="NAME", help="Only of this client."),
        click.option("--queue", metavar="NAME", help="Only in this queue."),
        click.option("--task", metavar="NAME", help="Only of this task."),
    ):
        command = option(command)
    return command


def paged(command: F) -> F:
    """Add the options that bound a list."""
    for option in (
        as_json,
        click.option("--after", metavar="ID", help="Go on after this id, where the last list ended."),
        click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="At most so many."),
        click.option("--since", type=Since(), metavar="2h|TIME", help="Only those created since."),
        click.option("--run", metavar="ID", help="Only of this run."),
    ):
        command = option(command)
    return command


status_option = click.option(
    "--status", type=click.Choice([status.value for status in Status]), help="Only with this status."
)


def page_of(session: Session, after: str | None, **wanted: Any) -> Page:
    """Return the page of jobs that the options ask for; ids may be shortened. No ledger yet, no jobs."""
    if session.never_made():
        return Page([], None)
    with session.reads() as reads:
        if wanted.get("run"):
            wanted["run"] = run_of(reads, wanted["run"]).id
        return reads.jobs(JobFilter(**wanted, after=job_of(reads, after).id if after else None))


def print_page(page: Page, text: Callable[[Sequence[JobRow]], str], nothing: str, *, as_json: bool) -> None:
    """Print a page of jobs; where there are more, stderr says how to get them."""
    if as_json:
        echo_json([job.as_json() for job in page.jobs])
    elif page.jobs:
        click.echo(text(page.jobs))
    else:
        tell(nothing)
    if page.next:
        tell(f"There are more: --after {page.next}")


def job_table(jobs: Sequence[JobRow], now_ms: int) -> str:
    """Return jobs as a table."""
    rows = [
        (
            job.id,
            task_words(job),
            status_words(job),
            ago(job.created_at, now_ms),
            job.queue,
            _took(job, now_ms),
            str(job.failures or ""),
            job.client,
            error_words(job) if job.status == Status.DEAD else "",
        )
        for job in jobs
    ]
    return table(_JOBS, rows, terminal_width())


def dead_table(jobs: Sequence[JobRow], now_ms: int) -> str:
    """Return dead letters as a table."""
    columns = (*_DEAD, _RUN) if any(job.run_id for job in jobs) else _DEAD
    rows = [
        (job.id, task_words(job), ago(job.finished_at, now_ms), error_words(job), job.run_id or "")[: len(columns)]
        for job in jobs
    ]
    return table(columns, rows, terminal_width())


def task_words(job: JobRow) -> str:
    """Return what a job runs, and for which record of its run, or in which edition: "leads.points #17"."""
    if job.record is None:
        return job.task
    return f"{job.task} {job.record}" if job.record.startswith("@") else f"{job.task} #{job.record}"


def status_words(job: JobRow) -> str:
    """Return a job's status, and why it waits: "waiting: backoff"."""
    if job.status == Status.RUNNING and job.cancel_requested:
        return "running: to be cancelled"
    return f"{job.status}: {job.reason}" if job.reason else job.status


def error_words(job: JobRow) -> str:
    """Return a job's last error on one line: "ValueError: no such month"."""
    return f"{job.error.type}: {one_line(job.error.message)}" if job.error else ""


def _took(job: JobRow, now_ms: int) -> str:
    if job.status == Status.RUNNING and job.started_at is not None:
        return age(max(0, now_ms - job.started_at) / 1000)
    return briefly(job.duration_s)
