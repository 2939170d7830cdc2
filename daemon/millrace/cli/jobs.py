"""`millrace jobs`: what was asked for, and what became of it."""

from __future__ import annotations

from typing import Any

import click

from millrace.cli.acting import Acts, Retries, confirm, jobs_words, some_ids_argument, yes_option
from millrace.cli.filters import job_table, page_of, paged, print_page, status_option, whose
from millrace.cli.ids import job_of, job_or_run
from millrace.cli.names import tell_unknown
from millrace.cli.output import as_json, echo_json
from millrace.cli.progress import progress_words
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.times import Duration


@click.group("jobs")
def jobs() -> None:
    """What was asked for: list, show, retry, cancel, wait."""


@jobs.command("list")
@status_option
@whose
@paged
@pass_session
def list_(session: Session, /, *, as_json: bool, after: str | None, **wanted: Any) -> None:
    r"""
    List jobs, newest first.

    With --json the payload of a stage's job is {}: its arguments are results of other jobs, which `jobs show` gathers.
    A payload or result of more than 50,000 bytes is {"$large": BYTES}: `jobs show` and `export` have it whole.

    \b
    Exit: 0 listed, also when there are none; 4 there is no job --after.
    """
    page = page_of(session, after, **wanted)
    now_ms = session.clock.now_ms()
    picked = any(value is not None for name, value in wanted.items() if name != "limit")
    nothing = (
        "No jobs like that."
        if picked or after
        else "No jobs yet. Submit one: millrace submit TASK (millrace tasks list)"
    )
    print_page(page, lambda found: job_table(found, now_ms), nothing, as_json=as_json)
    if not page.jobs:
        tell_unknown(session, wanted)
    if not as_json and any(job.status == "running" for job in page.jobs) and not session.served():
        tell("The daemon is not running: what is shown as running was cut off, and its next start takes it back.")


@jobs.command("show")
@click.argument("job_id", metavar="ID")
@as_json
@pass_session
def show(session: Session, job_id: str, *, as_json: bool) -> None:
    r"""
    Show a job with its whole history.

    The ID may be shortened to a start that no other job has.

    \b
    Exit: 0 shown; 4 no such job.
    """
    print_job(session, job_id, as_json=as_json)


def print_job(session: Session, job_id: str, *, as_json: bool, dead_only: bool = False) -> None:
    """Print one job with its attempts and events."""
    from millrace.cli.timeline import job_text
    from millrace.errors import WrongStatus
    from millrace.ledger.run_view import with_arguments

    with session.reads() as reads:
        job = with_arguments(reads, job_of(reads, job_id))
        progress = reads.progress(job.id)
        attempts, events = reads.attempts(job.id), reads.events(job.id)
        done = reads.effects_of(job.id)
    if dead_only and job.status != "dead":
        raise WrongStatus(f"job {job.id} is {job.status}, no dead letter: millrace jobs show {job.id}")
    if as_json:
        history = {"attempts": [row.as_json() for row in attempts], "events": [row.as_json() for row in events]}
        history["effects"] = [row.as_json() for row in done]
        echo_json({**job.as_json(), "progress": progress.as_json() if progress else None, **history})
    else:
        served = job.status != "running" or session.served()
        now_ms = session.clock.now_ms()
        said = progress_words(progress, now_ms)
        click.echo(job_text(job, attempts, events, now_ms, served=served, progress=said, effects=done))


@jobs.command("retry")
@some_ids_argument
@yes_option
@as_json
@pass_session
def retry(session: Session, job_ids: tuple[str, ...], *, yes: bool, as_json: bool) -> int:
    r"""
    Put dead or cancelled jobs back on their queues.

    Their failures are forgotten, their history stays. What one command puts
    back of a run is collected once. One that waits before its next attempt is
    tried at once, and keeps its account. Asks when there are several.

    \b
    Exit: 0 queued; 1 not confirmed; 4 no such job; 5 wrong status.
    """
    if len(job_ids) > 1:
        confirm(f"Put {jobs_words(len(job_ids))} back on the queue?", yes=yes)
    acts = Retries(session)
    acts.on_words(job_ids)
    return acts.print(as_json=as_json)


@jobs.command("cancel")
@some_ids_argument
@yes_option
@as_json
@pass_session
def cancel(session: Session, job_ids: tuple[str, ...], *, yes: bool, as_json: bool) -> int:
    r"""
    Cancel jobs that wait, and stop those that run.

    One that runs is printed as "running" until the daemon has stopped it. Asks when there are several.

    \b
    Exit: 0 cancelled, or to be stopped; 1 not confirmed; 4 no such job;
    5 wrong status.
    """
    if len(job_ids) > 1:
        confirm(f"Cancel {jobs_words(len(job_ids))}?", yes=yes)
    acts = Acts(session, lambda moves, job_id: moves.cancel(job_id, actor=session.actor))
    acts.on_words(job_ids)
    return acts.print(as_json=as_json)


@jobs.command("wait")
@some_ids_argument
@click.option("--timeout", type=Duration(), metavar="5m", help="Wait at most so long.")
@as_json
@pass_session
def wait(session: Session, job_ids: tuple[str, ...], timeout: float | None, *, as_json: bool) -> int:
    r"""
    Wait until jobs or runs are over, and print what they came to.

    Each result of a job is one line of JSON; those that died or were cancelled are named on stderr. Of a run, which
    is waited for by its id as well, the counts of its stages and its results are printed.

    \b
    Exit: 0 all succeeded; 1 one died or was cancelled, or a run is partial or
    failed; 4 no such job or run; 75 not over in time.
    """
    from millrace.cli.both_waiting import look_at_both, wait_for_both
    from millrace.cli.watching import shown_as_it_stands

    with session.reads() as reads:
        wanted = [job_or_run(reads, word) for word in job_ids]
        with shown_as_it_stands(lambda: [one.as_json() for one in look_at_both(reads, wanted)], as_json=as_json):
            ended = wait_for_both(session, reads, wanted, timeout)
    if as_json:
        echo_json([one.as_json() for one in ended.shown])
    return ended.print(results=not as_json)
