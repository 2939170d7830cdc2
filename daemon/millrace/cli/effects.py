"""`millrace effects`: what jobs did to the outside world with `once`, and what nobody knows whether it was done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.output import as_json, echo_json, plain
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.times import ago
from millrace.clock import rfc3339
from millrace.errors import WrongStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from millrace.ledger.effect_rows import EffectRow

_ROWS: Final = (
    Column("KEY", elastic=True),
    Column("STATUS"),
    Column("BEGUN", right=True),
    Column("CALL", optional=True, elastic=True, first=True),
    Column("JOB"),
    Column("CLIENT", optional=True),
)
_SAYS: Final = {"done": "done", "not_done": "not done", "doubt": "in doubt", "begun": "being done"}


@click.group("effects")
def effects() -> None:
    """What was done to the outside world: list, settle."""


@effects.command("list")
@click.option("--doubt", is_flag=True, help="Only those of which nobody knows whether they were done.")
@click.option("--client", metavar="NAME", help="Only those of a client.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@as_json
@pass_session
def list_(session: Session, *, doubt: bool, client: str | None, limit: int, as_json: bool) -> None:
    r"""
    List effects, newest first.

    \b
    Exit: 0 listed, also when there are none.
    """
    with session.reads() as reads:
        rows = reads.effects(client=client, doubt=doubt, limit=limit)
    if as_json:
        echo_json([row.as_json() for row in rows])
    elif rows:
        click.echo(_table(rows, session.clock.now_ms()))
    else:
        tell("Nothing is in doubt." if doubt else "No effects yet: a job makes one with `once`.")
    if not as_json and any(row.status == "begun" for row in rows) and not session.served():
        tell(
            "The daemon is not running: what is shown as being done was cut off, and its next start finds out what is "
            "in doubt (millrace serve)."
        )


def _table(rows: Iterable[EffectRow], now_ms: int) -> str:
    lines = [
        (plain(row.key), _SAYS[row.status], ago(row.at, now_ms), plain(row.what), row.job_id, row.client)
        for row in rows
    ]
    return table(_ROWS, lines, terminal_width())


@effects.command("settle")
@click.argument("key")
@click.option(
    "--done", metavar="[RESULT]", is_flag=False, flag_value="", help="It was done; what it returned, as JSON."
)
@click.option("--not-done", is_flag=True, help="It was not done: the next attempt does it.")
@click.option("--client", metavar="NAME", default="default", show_default=True, help="Whose effect it is.")
@as_json
@pass_session
def settle(session: Session, key: str, *, done: str | None, not_done: bool, client: str, as_json: bool) -> None:
    r"""
    Say whether the effect KEY was done.

    Ask the other side first: what you say is believed. Jobs that wait for it go on. A job that comes with the KEY
    later gets RESULT, or null when it is left out. Of an effect that is done, --done changes the result.

    \b
    Exit: 0 settled; 2 say one of --done and --not-done; 4 no such effect;
    5 it is being done, or is not in doubt.
    """
    if (done is None) != not_done:
        raise click.UsageError("say either --done [RESULT] or --not-done", click.get_current_context())
    result = _result(done) if done else None
    with session.ledger() as ledger:
        try:
            ledger.moves.effect_settle(client, key, actor=session.actor, done=not not_done, result=result).wait()
        except WrongStatus as error:
            if ledger.reads.effect(client, key).status != "begun" or session.served():
                raise
            raise WrongStatus(
                f'effect "{key}" was being done when the daemon died: start the daemon (millrace serve), which takes '
                "the job back; what is in doubt then can be settled"
            ) from error
        row = ledger.reads.effect(client, key)
    if as_json:
        echo_json(row.as_json())
    else:
        click.echo(f"{plain(key)}  {_SAYS[row.status]}")


def _result(text: str) -> str:
    try:
        value = json.dumps(json.loads(text, parse_constant=_no_number), ensure_ascii=False, separators=(",", ":"))
        value.encode()
    except ValueError as error:
        raise click.UsageError(f"--done {text}: this is no JSON: {error}", click.get_current_context()) from error
    return value


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def effect_lines(rows: Iterable[EffectRow]) -> Iterator[str]:
    """Yield a line for each effect of a job, for `jobs show`."""
    for row in rows:
        by = f", as {row.settled_by} said" if row.settled_by else ""
        yield plain(f"{row.key}  {_SAYS[row.status]}{by}, begun {rfc3339(row.at)}")
