"""`millrace queues`: the lanes in which jobs wait for workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.output import as_json, echo_json
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.times import age
from millrace.config.find import read_document
from millrace.errors import NotFound, did_you_mean
from millrace.ledger.rows import QueueRow

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT: Final = "default"
_QUEUES: Final = (
    Column("QUEUE", elastic=True),
    Column("WAITING", right=True),
    Column("QUEUED", right=True),
    Column("RUNNING", right=True),
    Column("OLDEST", right=True),
    Column("STATE"),
)


@click.group("queues")
def queues() -> None:
    """The lanes: list, pause, resume."""


@queues.command("list")
@as_json
@pass_session
def list_(session: Session, *, as_json: bool) -> None:
    r"""
    List the queues with their depths.

    \b
    Exit: 0 listed; 78 bad configuration.
    """
    rows = all_queues(session)
    now_ms = session.clock.now_ms()
    if as_json:
        echo_json([row.as_json(now_ms) for row in rows])
    else:
        click.echo(queue_table([row.as_json(now_ms) for row in rows]))


@queues.command("pause")
@click.argument("queue")
@pass_session
def pause(session: Session, queue: str) -> None:
    r"""
    Let QUEUE start no more jobs. What runs goes on, and submissions are still taken.

    \b
    Exit: 0 paused; 4 no such queue.
    """
    session.need_config()
    _check_known(session, queue)
    with session.ledger() as ledger:
        news = ledger.moves.pause(queue, actor=session.actor).wait()
    click.echo(f"{queue}  paused")
    tell(f"Start it again with: millrace queues resume {queue}" if news else "It was paused before.")


@queues.command("resume")
@click.argument("queue")
@pass_session
def resume(session: Session, queue: str) -> None:
    r"""
    Let QUEUE start jobs again.

    \b
    Exit: 0 it starts jobs; 4 no such queue.
    """
    session.need_config()
    _check_known(session, queue)
    with session.ledger() as ledger:
        news = ledger.moves.resume(queue, actor=session.actor).wait()
    click.echo(f"{queue}  resumed")
    if not news:
        tell("It was not paused.")


def all_queues(session: Session) -> list[QueueRow]:
    """Return the queues that config.toml names, and those of which the ledger still has jobs."""
    try:
        with session.reads() as reads:
            known = {row.name: row for row in reads.queues()}
    except NotFound:  # no ledger yet, so nothing is in any queue
        known = {}
    names = sorted({DEFAULT, *known, *_configured(session)})
    return [known.get(name) or QueueRow(name, False, 0, 0, 0, None) for name in names]  # noqa: FBT003 - a row


def queue_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return queues, as `QueueRow.as_json` gives them, as a table."""
    cells = [
        (
            row["queue"],
            f"{row['waiting']:,}",
            f"{row['queued']:,}",
            f"{row['running']:,}",
            age(row["oldest_queued_s"]),
            "paused" if row["paused"] else "",
        )
        for row in rows
    ]
    return table(_QUEUES, cells, terminal_width())


def _configured(session: Session) -> list[str]:
    """Return the names in [queues.*], without the cost of checking the whole file."""
    document, _ = read_document(session.config)
    section = document.get("queues", {})
    return list(section) if isinstance(section, dict) else []


def _check_known(session: Session, queue: str) -> None:
    names = [row.name for row in all_queues(session)]
    if queue not in names:
        raise NotFound(f'no queue "{queue}".{did_you_mean(queue, names)}')
