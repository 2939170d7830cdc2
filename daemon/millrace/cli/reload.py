"""`millrace reload`: new settings for the daemon that runs."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.output import as_json, echo_json
from millrace.cli.session import Session, pass_session, tell
from millrace.clock import MS, rfc3339
from millrace.errors import LedgerBusy, NotPermitted, NotRunning, SettingsError

if TYPE_CHECKING:
    from millrace.ledger.reads import Reads

LIMIT_S: Final = 10.0
LOOK_S: Final = 0.02


@click.command("reload")
@as_json
@pass_session
def reload(session: Session, *, as_json: bool) -> None:
    r"""
    Let a changed config.toml hold.

    All of it or none: a file that is wrong changes nothing. The daemon also looks by itself when the file changes.
    What it made at its start (queues, the address, the database) and the code of jobs wait for the next start.

    \b
    Exit: 0 the new settings hold; 3 the daemon is not running; 75 it did not
    answer; 77 not permitted; 78 the settings are wrong, and the old ones hold.
    """
    from millrace.process.reload import NOTE

    _check(session)
    pid = session.daemon_pid()
    if not pid:
        raise NotRunning("the daemon is not running: it reads config.toml when it starts")
    with session.reads() as reads:
        before = reads.note(NOTE)
        try:
            os.kill(pid, signal.SIGHUP)
        except PermissionError as error:
            raise NotPermitted(f"the daemon is not {session.user}'s: call it as the daemon's user") from error
        answer = _answer(session, reads, before)
    if answer["ok"] and not answer["applied"] and before is not None:
        answer["applied"] = _applied_before(session, json.loads(before), answer)
    if as_json:
        echo_json({**answer, "at": rfc3339(answer["at"])})
    elif answer["ok"]:
        _print(answer)
    if not answer["ok"]:
        raise SettingsError(f"the daemon refused the new settings, and goes on with the old ones:\n{answer['reason']}")


def _answer(session: Session, reads: Reads, before: str | None) -> dict[str, Any]:
    """Wait for the daemon's note about this reload."""
    from millrace.process.reload import NOTE

    end = session.clock.monotonic() + LIMIT_S
    while (found := reads.note(NOTE)) in (before, None):
        if session.clock.monotonic() > end:
            raise LedgerBusy(f"the daemon did not answer within {LIMIT_S:g} s: see its log, and `millrace status`")
        session.clock.wait(threading.Event(), LOOK_S)
    answer: dict[str, Any] = json.loads(found or "{}")
    return answer


def _check(session: Session) -> None:
    """Tell what is wrong here, before the daemon is asked. Raises SettingsError."""
    try:
        session.site()
    except SettingsError as error:
        if session.config is None or not session.served():
            raise
        raise SettingsError(f"{error}\nNothing was changed: the daemon goes on with the old settings.") from error


def _applied_before(session: Session, earlier: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Return what the daemon made of this very file before it was asked: it saw by itself that it had changed."""
    written_ms = session.config.stat().st_mtime * MS if session.config is not None else math.inf
    same = earlier["ok"] and earlier.get("daemon") == answer["daemon"] and earlier["at"] >= written_ms
    return earlier["applied"] if same else []


def _print(answer: dict[str, Any]) -> None:
    for key in answer["applied"]:
        click.echo(f"{key}  holds now")
    for key in answer["at_next_start"]:
        click.echo(f"{key}  holds after the next start")
    for name in answer["jobs_changed"]:
        click.echo(f"{name}  was changed; its code is read at the next start")
    if not (answer["applied"] or answer["at_next_start"] or answer["jobs_changed"]):
        tell("The settings are as they were.")
