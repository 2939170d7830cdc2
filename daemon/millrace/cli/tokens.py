"""`millrace tokens`: who may use the HTTP interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from millrace.cli.acting import confirm, yes_option
from millrace.cli.output import as_json, echo_json, plain
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.times import Duration, ago
from millrace.clock import MS, rfc3339
from millrace.errors import MillraceError, NotFound, UnknownTask, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.rows import TokenRow

_ROLES: Final = ("viewer", "operator", "admin")
_ROWS: Final = (
    Column("ID"),
    Column("NAME", elastic=True),
    Column("ROLE"),
    Column("STATE"),
    Column("CREATED", right=True),
    Column("CLIENT", optional=True),
    Column("EXPIRES", optional=True),
)


@click.group("tokens")
def tokens() -> None:
    """Who may use the HTTP interface: create, list, revoke."""


@tokens.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(_ROLES), default="viewer", show_default=True, help="What it may do.")
@click.option("--client", metavar="NAME", help="The only client that it may see and submit for.")
@click.option("--expires", type=Duration(), metavar="90d", help="It ends after this; never, when left out.")
@as_json
@pass_session
def create(session: Session, name: str, *, role: str, client: str | None, expires: float | None, as_json: bool) -> None:
    r"""
    Make a token and print it, this once.

    A viewer looks; an operator also submits, retries, cancels and pauses; an admin may do everything. The ledger keeps
    the SHA-256 of the token alone: who loses it makes another one.

    \b
    Exit: 0 made; 1 the name is taken; 4 no such client.
    """
    from millrace.ledger.ids import new_id
    from millrace.ledger.rows import TokenRow
    from millrace.web.tokens import hash_of, new_text

    known = session.site().settings.client_names()
    if client is not None and client not in known:
        raise UnknownTask(f'no client "{client}" in config.toml.{did_you_mean(client, known)}', field="client")
    now_ms, text = session.clock.now_ms(), new_text()
    row = TokenRow(
        id=new_id(now_ms),
        name=_checked(name),
        role=role,
        client=client,
        created_at=now_ms,
        expires_at=None if expires is None else now_ms + round(expires * MS),
        revoked_at=None,
    )
    with session.ledger() as ledger:
        if any(other.name == name and _state(other, now_ms) == "valid" for other in ledger.reads.tokens()):
            raise MillraceError(f'there is a valid token "{name}" already: revoke it first, or choose another name')
        ledger.moves.add_token(row, hash_of(text), actor=session.actor).wait()
    if as_json:
        echo_json({**_as_json(row, now_ms), "token": text})
        return
    click.echo(text)
    tell("It is not shown again. Send it as the header `Authorization: Bearer TOKEN`.")


def _checked(name: str) -> str:
    if not name.isprintable() or not 0 < len(name) <= 100:  # noqa: PLR2004 - said in the message
        raise click.UsageError("a token's name has 1 to 100 printable characters", click.get_current_context())
    return name


@tokens.command("list")
@as_json
@pass_session
def list_(session: Session, *, as_json: bool) -> None:
    r"""
    List the tokens, without their texts.

    \b
    Exit: 0 listed.
    """
    with session.reads() as reads:
        rows = reads.tokens()
    now_ms = session.clock.now_ms()
    if as_json:
        echo_json([_as_json(row, now_ms) for row in rows])
    elif rows:
        click.echo(_table(rows, now_ms))
    else:
        tell("No tokens yet: the daemon makes the first one when it starts.")


def _table(rows: Sequence[TokenRow], now_ms: int) -> str:
    lines = [
        (
            row.id,
            plain(row.name),
            row.role,
            _state(row, now_ms),
            ago(row.created_at, now_ms),
            row.client or "",
            rfc3339(row.expires_at) or "",
        )
        for row in rows
    ]
    return table(_ROWS, lines, terminal_width())


@tokens.command("revoke")
@click.argument("which", metavar="ID|NAME")
@yes_option
@pass_session
def revoke(session: Session, which: str, *, yes: bool) -> None:
    r"""
    Close a token for good, from the next request on.

    \b
    Exit: 0 revoked; 1 not confirmed; 4 no valid token of that id or name.
    """
    with session.reads() as reads:
        row = _found(reads.tokens(), which, session.clock.now_ms())
    confirm(f'Revoke token "{plain(row.name)}" ({row.role}, {row.id}) for good?', yes=yes)
    with session.ledger() as ledger:
        ledger.moves.revoke_token(row.id, actor=session.actor).wait()
    click.echo(f"{row.id}  revoked")


def _found(rows: Sequence[TokenRow], which: str, now_ms: int) -> TokenRow:
    """Return the token of a name, an id, or a unique start of one."""
    open_ones = [row for row in rows if row.revoked_at is None]
    named = [row for row in open_ones if row.name == which] or [row for row in open_ones if row.id.startswith(which)]
    valid = [row for row in named if _state(row, now_ms) == "valid"] or named
    if len(valid) == 1:
        return valid[0]
    if valid:
        raise NotFound(f'"{which}" could be any of {", ".join(row.id for row in valid)}: give more of the id')
    raise NotFound(f'no valid token "{which}".{did_you_mean(which, [row.name for row in open_ones])}')


def _state(row: TokenRow, now_ms: int) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now_ms else "valid"


def _as_json(row: TokenRow, now_ms: int) -> dict[str, str | None]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "client": row.client,
        "state": _state(row, now_ms),
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
        "revoked_at": rfc3339(row.revoked_at),
    }
