"""`millrace dead`: jobs that are out of attempts, kept with their history until somebody decides."""

from __future__ import annotations

from typing import Any

import click

from millrace.cli.acting import Acts, Retries, confirm, count_dead, dead_ids, ids_argument, yes_option
from millrace.cli.filters import dead_table, page_of, paged, print_page, whose
from millrace.cli.jobs import print_job
from millrace.cli.names import tell_unknown
from millrace.cli.output import as_json, plural
from millrace.cli.session import Session, pass_session, tell

_all_option = click.option("--all", "all_", is_flag=True, help="All dead letters, or all of --task, --queue, --client.")


@click.group("dead")
def dead() -> None:
    """The dead letters: list, show, retry, discard."""


@dead.command("list")
@whose
@paged
@pass_session
def list_(session: Session, /, *, as_json: bool, after: str | None, **wanted: Any) -> None:
    r"""
    List the dead letters, newest job first.

    \b
    Exit: 0 listed, also when there are none; 4 there is no job --after.
    """
    page = page_of(session, after, status="dead", **wanted)
    now_ms = session.clock.now_ms()
    picked = any(value is not None for name, value in wanted.items() if name != "limit") or after
    print_page(page, lambda found: dead_table(found, now_ms), _nothing(picked=bool(picked)), as_json=as_json)
    if not page.jobs:
        tell_unknown(session, wanted)


@dead.command("show")
@click.argument("job_id", metavar="ID")
@as_json
@pass_session
def show(session: Session, job_id: str, *, as_json: bool) -> None:
    r"""
    Show a dead letter with its whole history.

    \b
    Exit: 0 shown; 4 no such job; 5 the job is not dead.
    """
    print_job(session, job_id, as_json=as_json, dead_only=True)


@dead.command("retry")
@ids_argument
@_all_option
@whose
@yes_option
@as_json
@pass_session
def retry(
    session: Session, /, job_ids: tuple[str, ...], *, all_: bool, yes: bool, as_json: bool, **whose: str | None
) -> int:
    r"""
    Put dead letters back on their queues.

    Their failures are forgotten, their history stays. What one command puts
    back of a run is collected once. Asks when there are several.

    \b
    Exit: 0 queued; 1 not confirmed; 4 no such job; 5 wrong status.
    """
    acts = Retries(session)
    return _decide(acts, job_ids, whose, "Put {} back on the queue?", all_=all_, yes=yes, as_json=as_json)


@dead.command("discard")
@ids_argument
@_all_option
@whose
@click.option("--reason", metavar="TEXT", help="Why, for the history.")
@yes_option
@as_json
@pass_session
def discard(
    session: Session,
    /,
    job_ids: tuple[str, ...],
    *,
    all_: bool,
    reason: str | None,
    yes: bool,
    as_json: bool,
    **whose: str | None,
) -> int:
    r"""
    Decide that dead letters stay undone.

    They become cancelled and keep their history; `jobs retry` brings them back. Asks first.

    \b
    Exit: 0 cancelled; 1 not confirmed; 4 no such job; 5 wrong status.
    """
    acts = Acts(session, lambda moves, job_id: moves.discard(job_id, actor=session.actor, reason=reason))
    return _decide(acts, job_ids, whose, "Discard {}?", all_=all_, yes=yes, as_json=as_json, ask_for_one=True)


def _decide(
    acts: Acts,
    job_ids: tuple[str, ...],
    whose: dict[str, str | None],
    question: str,
    *,
    all_: bool,
    yes: bool,
    as_json: bool,
    ask_for_one: bool = False,
) -> int:
    """Ask where needed, and move the dead letters that were named, or all that the options pick."""
    _check_choice(job_ids, whose, all_=all_)
    if not all_:
        if len(job_ids) > 1 or ask_for_one:
            confirm(question.format(plural(len(job_ids), "dead letter")), yes=yes)
        acts.on_words(job_ids)
        return acts.print(as_json=as_json)
    with acts.session.reads() as reads:
        count = count_dead(reads, **whose)
        if count:
            confirm(question.format(plural(count, "dead letter")), yes=yes)
            acts.on_ids(dead_ids(reads, **whose))
    if not count:
        tell_unknown(acts.session, whose)
    if as_json:
        return acts.print(as_json=True)
    if count:
        click.echo(f"{plural(len(acts.moved), 'dead letter')} now {acts.moved[0][1] if acts.moved else 'unchanged'}")
    else:
        tell(_nothing(picked=any(whose.values())))
    return acts.code


def _nothing(*, picked: bool) -> str:
    return "No dead letters like that." if picked else "No dead letters."


def _check_choice(job_ids: tuple[str, ...], whose: dict[str, str | None], *, all_: bool) -> None:
    context = click.get_current_context()
    if all_ == bool(job_ids):
        raise click.UsageError(
            "name the ids of dead letters, or say --all" if not all_ else "either ids or --all, not both", context
        )
    if job_ids and any(whose.values()):
        raise click.UsageError("--task, --queue and --client go with --all; ids need no picking", context)
