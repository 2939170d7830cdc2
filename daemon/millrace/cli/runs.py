"""`millrace runs`: executions of pipelines, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.acting import confirm, yes_option
from millrace.cli.ids import run_of
from millrace.cli.names import tell_unknown
from millrace.cli.output import as_json, echo_json, plural
from millrace.cli.run_acting import RunActs
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.times import Since, ago, briefly
from millrace.ledger.run_rows import RunFilter, RunPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.run_rows import RunRow

RUN_STATUSES: Final = ("running", "succeeded", "partial", "failed", "cancelled")
_RUNS: Final = (
    Column("ID"),
    Column("PIPELINE", elastic=True),
    Column("STATUS", colored=True),
    Column("CREATED", right=True),
    Column("TOOK", right=True, optional=True),
    Column("RECORDS", right=True, optional=True),
    Column("DEAD", right=True, optional=True),
    Column("CLIENT", optional=True),
)
_ids_argument = click.argument("run_ids", metavar="ID...", nargs=-1, required=True)


@click.group("runs")
def runs() -> None:
    """Runs of pipelines: list, show, cancel, resume."""


@runs.command("list")
@click.option("--status", type=click.Choice(RUN_STATUSES), help="Only with this status.")
@click.option("--pipeline", metavar="NAME", help="Only of this pipeline.")
@click.option("--client", metavar="NAME", help="Only of this client.")
@click.option("--since", type=Since(), metavar="2h|TIME", help="Only those created since.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--after", metavar="ID", help="Go on after this id, where the last list ended.")
@as_json
@pass_session
def list_(session: Session, /, *, as_json: bool, after: str | None, **wanted: Any) -> None:
    r"""
    List runs, newest first.

    \b
    Exit: 0 listed, also when there are none; 4 there is no run --after.
    """
    page = _page_of(session, after, **wanted)
    picked = any(value is not None for name, value in wanted.items() if name != "limit") or after
    if as_json:
        echo_json([run.as_json() for run in page.runs])
    elif page.runs:
        click.echo(_run_table(page.runs, session.clock.now_ms()))
    else:
        nothing = "No runs yet. Start one: millrace run PIPELINE (millrace pipelines list)"
        tell("No runs like that." if picked else nothing)
    if not page.runs:
        tell_unknown(session, wanted, of_runs=True)
    if page.next:
        tell(f"There are more: --after {page.next}")


@runs.command("show")
@click.argument("run_id", metavar="ID")
@as_json
@pass_session
def show(session: Session, run_id: str, *, as_json: bool) -> None:
    r"""
    Show a run: how far each stage has come, and what died.

    The ID may be shortened to a start that no other run has.

    \b
    Exit: 0 shown; 4 no such run.
    """
    from millrace.cli.run_text import run_text
    from millrace.ledger.run_view import view_run

    with session.reads() as reads:
        view = view_run(reads, run_of(reads, run_id).id)
    if as_json:
        echo_json(view.as_json())
        return
    click.echo(run_text(view, session.clock.now_ms()))
    if view.run.status == "running" and not session.served():
        tell("The daemon is not running: the run goes on when it does (millrace serve).")


@runs.command("cancel")
@_ids_argument
@yes_option
@as_json
@pass_session
def cancel(session: Session, run_ids: tuple[str, ...], *, yes: bool, as_json: bool) -> int:
    r"""
    Cancel runs: what waits is cancelled, what runs is stopped.

    What has succeeded stays, and `runs resume` takes the run up again. A run with jobs that the daemon has yet to
    stop is printed as "running". Asks when there are several.

    \b
    Exit: 0 cancelled, or to be stopped; 1 not confirmed; 4 no such run;
    5 it is over.
    """
    if len(run_ids) > 1:
        confirm(f"Cancel {plural(len(run_ids), 'run')}?", yes=yes)
    acts = RunActs(session)
    acts.cancel(run_ids)
    return acts.print(as_json=as_json)


@runs.command("resume")
@_ids_argument
@yes_option
@as_json
@pass_session
def resume(session: Session, run_ids: tuple[str, ...], *, yes: bool, as_json: bool) -> int:
    r"""
    Put what died or was cancelled in runs back on its queue.

    What has succeeded is not done again. Where records are mended, the stages that collect them make a second edition.
    Asks when there are several.

    \b
    Exit: 0 resumed; 1 not confirmed; 4 no such run; 5 nothing to put back.
    """
    if len(run_ids) > 1:
        confirm(f"Resume {plural(len(run_ids), 'run')}?", yes=yes)
    acts = RunActs(session)
    acts.resume(run_ids)
    return acts.print(as_json=as_json)


def _page_of(session: Session, after: str | None, **wanted: Any) -> RunPage:
    """Return the page of runs that the options ask for. No ledger yet, no runs."""
    if session.never_made():
        return RunPage([], None)
    with session.reads() as reads:
        return reads.runs(RunFilter(**wanted, after=run_of(reads, after).id if after else None))


def _run_table(found: Sequence[RunRow], now_ms: int) -> str:
    from millrace.cli.run_text import count_of, duration_s, run_words

    rows = [
        (
            run.id,
            run.pipeline,
            run_words(run),
            ago(run.created_at, now_ms),
            briefly(duration_s(run, now_ms)),
            f"{sum(run.records.values()):,}" if run.records else "",
            f"{count_of(run, 'dead'):,}" if count_of(run, "dead") else "",
            run.client,
        )
        for run in found
    ]
    return table(_RUNS, rows, terminal_width())
