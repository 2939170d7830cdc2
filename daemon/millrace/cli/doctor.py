"""`millrace doctor`: examines the site and says how to repair what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from millrace.cli import checks
from millrace.cli.output import as_json, colored, echo_json, plain
from millrace.cli.rights_checks import check_rights
from millrace.cli.session import Session, pass_session
from millrace.errors import MillraceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.cli.checks import Check, Level

SICK = 1
_NAME = 13


@click.command("doctor")
@as_json
@pass_session
def doctor(session: Session, *, as_json: bool) -> int:
    r"""
    Examine the site and say how to repair what is wrong.

    Reads the whole ledger, which takes a while when it is large. Imports the job files.

    \b
    Exit: 0 nothing failed; 1 something did.
    """
    found = list(_examine(session))
    worst = _worst(found)
    if as_json:
        echo_json({"status": worst, "checks": [check.as_json() for check in found]})
    else:
        click.echo(_text(found))
    return SICK if worst == "fail" else 0


def _examine(session: Session) -> Iterator[Check]:
    yield from checks.check_settings(session)
    yield from checks.check_jobs(session)
    yield from checks.check_schedules(session)
    yield from checks.check_sqlite_version()
    try:
        places = session.places
    except MillraceError:
        return  # where the site is cannot be known; the first check has told why
    try:
        pid = session.daemon_pid()
    except MillraceError as error:
        yield checks.Check("daemon", "fail", str(error), checks.as_owner(places))
        yield from checks.check_state(places)
        yield from check_rights(places)
        return
    yield from checks.check_state(places)
    yield from check_rights(places)
    yield from checks.check_disk(places)
    of_ledger = list(checks.check_ledger(session))
    yield from of_ledger
    yield from checks.check_token(session)
    yield from checks.check_listen(session, pid=pid)
    sound = not any(check.name == "ledger" and check.level == "fail" for check in of_ledger)
    yield from checks.check_daemon(session, pid, sound=sound)
    if pid is not None:
        yield from checks.check_threads(session)


def _worst(found: Sequence[Check]) -> Level:
    levels = {check.level for check in found}
    return "fail" if "fail" in levels else "warn" if "warn" in levels else "ok"


def _text(found: Sequence[Check]) -> str:
    lines = []
    for check in found:
        lines.append(f"{colored(f'{check.level:<4}', check.level)}  {check.name:<{_NAME}} {plain(check.text)}")
        if check.repair:
            lines.append(f"{'':<{_NAME + 7}}→ {plain(check.repair)}")
    return "\n".join(lines)
