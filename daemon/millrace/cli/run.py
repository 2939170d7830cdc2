"""`millrace run`: start a run of a pipeline, and wait for it if wanted. Works while the daemon is down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from millrace.cli.output import as_json, echo_json
from millrace.cli.session import Session, inside, pass_session, tell
from millrace.cli.stages import stage_table
from millrace.cli.submit import misused, read_payload, word_map
from millrace.cli.times import Duration
from millrace.ledger.rows import Source

if TYPE_CHECKING:
    from millrace.queue.runs import RunSubmission
    from millrace.queue.site import OpenSite


@click.command("run")
@click.argument("pipeline")
@click.argument("words", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--payload", metavar="JSON|@FILE|-", help="The inputs as a JSON object, instead of NAME=VALUE.")
@click.option("--client", metavar="NAME", help="For whom; a client of config.toml.")
@click.option("--priority", type=int, default=0, metavar="N", help="Of its jobs: higher goes first; 0 is usual.")
@click.option("--key", metavar="TEXT", help="Idempotency key: the same key again is the same run.")
@click.option("--dry-run", is_flag=True, help="Check the inputs and print the plan; start nothing.")
@click.option("--wait", is_flag=True, help="Wait until it is over.")
@click.option("--timeout", type=Duration(), metavar="5m", help="With --wait: wait at most so long.")
@as_json
@pass_session
def run(session: Session, /, pipeline: str, words: tuple[str, ...], **options: Any) -> int:
    r"""
    Start a run of a pipeline.

    Its inputs are made of NAME=VALUE words, read by their types, or given as JSON. They are checked before anything
    is started, and the run is on disk when its id is printed.

    With --wait the counts of its stages and what it came to are printed when it is over; on a terminal, how far it is
    until then.

    \b
    Exit: 0 started; with --wait: 0 succeeded, 1 partial, failed or cancelled,
    75 not over in time; 2 an input does not fit; 4 no such pipeline or client;
    5 the key belongs to other inputs; 75 the queue or the disk is full; 77 not
    permitted.
    """
    _check_options(words, options)
    with session.opened() as opened:
        wanted = _submission(session, pipeline, words, options, max_body=opened.site.settings.web.max_body)
        if options["dry_run"]:
            return _plan(opened, wanted, as_json=options["as_json"])
        with inside(opened.site.places.root):
            started = opened.submitter.start_run(wanted)
        if started.existed:
            tell("The key is known: this is the run that has it; nothing was started.")
        if options["wait"]:
            return _wait(session, opened, started.id, options)
        if options["as_json"]:
            echo_json(opened.ledger.reads.run(started.id).as_json())
        else:
            click.echo(started.id)
    return 0


def _check_options(words: tuple[str, ...], options: dict[str, Any]) -> None:
    if words and options["payload"] is not None:
        misused("either NAME=VALUE words or --payload, not both")
    if options["timeout"] is not None and not options["wait"]:
        misused("--timeout goes with --wait")
    if options["dry_run"] and options["wait"]:
        misused("either --dry-run, which starts nothing, or --wait")


def _submission(
    session: Session, pipeline: str, words: tuple[str, ...], options: dict[str, Any], *, max_body: int
) -> RunSubmission:
    from millrace.queue.runs import RunSubmission

    payload = options["payload"]
    return RunSubmission(
        pipeline=pipeline,
        text=read_payload(payload, max_body) if payload is not None else None,
        words=word_map(words, "inputs") if payload is None else None,
        client=options["client"],
        priority=options["priority"],
        key=options["key"],
        source=Source("cli", session.user),
    )


def _plan(opened: OpenSite, wanted: RunSubmission, *, as_json: bool) -> int:
    """Print the run that would be started: its checked inputs, its stages in order, and the run that has its key."""
    from millrace.ledger.run_keys import known_run

    with inside(opened.site.places.root):
        planned = opened.submitter.plan_run(wanted)
    known = known_run(opened.ledger.reads.rows, planned)
    stages = opened.registry.find_pipeline(planned.pipeline).describe()["stages"]
    if as_json:
        facts = {"pipeline": planned.pipeline, "client": planned.client, "priority": planned.priority}
        facts |= {"run_id": known} if known is not None else {}
        echo_json({**facts, "inputs": json.loads(planned.inputs), "fan_out": planned.plan.bound, "stages": stages})
        return 0
    click.echo(f"A run of {planned.pipeline} for client {planned.client} with {planned.inputs}\n")
    click.echo(stage_table(stages, opened.site.settings.defaults))
    if known is not None:
        tell(f"The key is known: run {known} has it, so that nothing would be started.")
    tell("Nothing was started: this was a dry run.")
    return 0


def _wait(session: Session, opened: OpenSite, run_id: str, options: dict[str, Any]) -> int:
    from millrace.cli.run_waiting import print_ended, wait_for_run
    from millrace.cli.watching import shown_as_it_stands
    from millrace.ledger.run_view import view_run

    tell(f"Run {run_id}")  # so that whoever interrupts the wait knows what to ask for
    reads = opened.ledger.reads
    with shown_as_it_stands(lambda: view_run(reads, run_id).as_json(), as_json=options["as_json"]):
        wait_for_run(session, reads, run_id, options["timeout"])
    view = view_run(reads, run_id)
    if options["as_json"]:
        echo_json(view.as_json())
    return print_ended(view, counts=not options["as_json"])
