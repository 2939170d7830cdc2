"""`millrace prune`: remove what `[retention]` says is old, now rather than in a while."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.acting import confirm, yes_option
from millrace.cli.output import as_json, echo_json, plural
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.table import Column, table, terminal_width
from millrace.clock import format_duration
from millrace.config.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.process.retention import Planned, Sums

_COLUMNS: Final = (
    Column("WHAT"),
    Column("KEPT FOR", right=True),
    Column("OLDER", right=True),
    Column("WITH JOBS", right=True),
)


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing.")
@yes_option
@as_json
@pass_session
def prune(session: Session, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    r"""
    Remove what is older than [retention] says.

    The daemon does this by itself; here it is shown first. What goes is counted as pruned, so that the balance holds.
    Keys of what goes are free again. Free space in the file is given back to the disk.

    \b
    Exit: 0 removed, or shown; 1 not confirmed; 4 no ledger yet;
    78 bad configuration.
    """
    from millrace.events import ignore
    from millrace.ledger import blob_rows
    from millrace.process.retention import Retention

    settings = session.site().settings.retention
    with session.reads() as reads, session.ledger() as ledger:
        retention = Retention(ledger.moves, reads, session.clock, ignore, threading.Event())
        planned = list(retention.plan(settings))
        if dry_run:
            _show(planned, as_json=as_json)
            return
        if not as_json:
            _show(planned, as_json=False)
        over_size = retention.over_size(settings)
        if over_size:
            tell("The ledger is larger than max_size: the oldest that is over, and is not dead, goes too.")
        if over_size or any(row.number for row in planned):
            confirm("Remove it?", yes=yes)
        in_files = blob_rows.total_bytes(reads)
        sums = retention.run(settings)
        given = retention.give_back(idle=True) * retention.page_size + in_files - blob_rows.total_bytes(reads)
        facts = {"jobs": sums.jobs, "runs": sums.runs, "audit_rows": sums.audit_rows}
        ledger.moves.audit(session.actor, "prune", "", facts).wait()
    _done(sums, given, as_json=as_json)


def _show(planned: Sequence[Planned], *, as_json: bool) -> None:
    if as_json:
        echo_json([row._asdict() for row in planned])
        return
    lines = [
        (row.kind, format_duration(row.kept_s) if row.kept_s else "ever", f"{row.number:,}", f"{row.jobs or ''}")
        for row in planned
    ]
    click.echo(table(_COLUMNS, lines, terminal_width()))


def _done(sums: Sums, given: int, *, as_json: bool) -> None:
    if as_json:
        echo_json({**vars(sums), "returned_bytes": given})
        return
    gone = [plural(sums.jobs, "job"), plural(sums.runs, "run"), f"{sums.audit_rows:,} rows of the audit log"]
    if sums.stray_files:
        gone.append(f"{plural(sums.stray_files, 'file')} that no value has, left by a kill")
    click.echo(f"removed {', '.join(gone)}")
    tell(f"{format_size(given)} given back to the disk.")
