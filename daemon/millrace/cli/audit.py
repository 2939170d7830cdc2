"""`millrace audit`: who did what, and whether the log of it is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from millrace.cli.output import as_json, echo_json, plain, plural
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.times import ago

if TYPE_CHECKING:
    from millrace.ledger.audit import AuditRow

PAGE: Final = 1000
_ROWS: Final = (
    Column("NO", right=True),
    Column("WHEN", right=True),
    Column("WHO", elastic=True),
    Column("DID"),
    Column("TO WHAT", elastic=True),
    Column("FACTS", optional=True, elastic=True, first=True),
)


@click.group("audit")
def audit() -> None:
    """Who did what: list, verify."""


@audit.command("list")
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="At most so many.")
@as_json
@pass_session
def list_(session: Session, *, limit: int, as_json: bool) -> None:
    r"""
    List what people and programs decided, newest first.

    \b
    Exit: 0 listed, also when there is nothing.
    """
    with session.reads() as reads:
        rows = reads.audit_newest(limit)
    if as_json:
        echo_json([row.as_json() for row in rows])
        return
    if not rows:
        tell("Nobody has decided anything yet.")
        return
    now_ms = session.clock.now_ms()
    lines = [
        (str(row.id), ago(row.at, now_ms), plain(row.actor), row.action, plain(row.subject), plain(_words(row)))
        for row in rows
    ]
    click.echo(table(_ROWS, lines, terminal_width()))


def _words(row: AuditRow) -> str:
    return " ".join(f"{name}={value}" for name, value in row.shown_facts().items() if value is not None)


@audit.command("verify")
@as_json
@pass_session
def verify(session: Session, *, as_json: bool) -> int:
    r"""
    Check that no row was changed, removed or put in.

    Each row carries a hash of itself and of the one before it. Who can write to the ledger can also make the whole
    chain anew: keep what this prints somewhere else, and compare.

    \b
    Exit: 0 the chain holds; 1 it does not.
    """
    with session.reads() as reads:
        found, head, anchor = reads.audit_chain(), reads.audit_head(), reads.audit_anchor()
    if as_json:
        echo_json({"holds": found.broken_at is None, "head": head, "anchor": anchor, **found._asdict()})
    elif found.broken_at is None:
        click.echo(f"the chain holds: {plural(found.rows, 'row')}, the newest is {head or 'none'}")
        if anchor is not None:
            click.echo(f"what is older was pruned, up to {anchor}")
    else:
        click.echo(f"the chain is broken at row {found.broken_at}: {found.why}")
    return int(found.broken_at is not None)
