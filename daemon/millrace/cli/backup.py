"""`millrace backup` and `millrace restore`: a copy of the site, and the way back to it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from millrace.cli.acting import confirm
from millrace.cli.output import as_json, echo_json, plain, plural
from millrace.cli.session import Session, pass_session, tell
from millrace.config.sizes import format_size
from millrace.errors import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.ledger.snapshot import Examined
    from millrace.process.backup.restore import Rehearsed, Restored


@click.command("backup")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@as_json
@pass_session
def backup(session: Session, *, file: Path | None, as_json: bool) -> None:
    r"""
    Back the site up into FILE, while it works.

    The ledger, config.toml and jobs/, checked, in one file; no secrets. Without FILE it goes into the folder of
    [backup], under a name with the time.

    \b
    Exit: 0 there is a backup, and stderr names what is wrong with the ledger in
    it, if anything is; 1 there is none, as when its folder is not there; 4 no
    ledger yet; 75 too little room; 77 not permitted; 78 bad configuration.
    """
    from millrace.ledger.notes import BACKUP
    from millrace.process.backup.make import make, name_for
    from millrace.process.backup.rota import folder_of, keep_note, lies_in

    session.need_config()
    at = session.clock.now_ms()
    folder = folder_of(session.places, session.site().settings.backup)
    target = file or name_for(folder, at)
    with session.permitted():
        done = make(session.places, target.absolute(), clock=session.clock)
    try:
        with session.ledger() as ledger:
            if lies_in(done.file, folder):  # one elsewhere, as before an upgrade, takes the place of none
                keep_note(ledger.moves, done, at)
            ledger.moves.audit(session.actor, BACKUP, str(done.file)).wait()
    except NotPermitted as error:  # who may read the ledger may have a copy of it
        tell(f"The backup is not noted in the ledger: {error}.")
    if as_json:
        echo_json({**done._asdict(), "file": str(done.file)})
    else:
        whole = f"{plural(len(done.lost), 'large value')} lost" if done.lost else "whole"
        click.echo(f"{done.file}  {format_size(done.size)}, {plural(done.accepted, 'accepted job')}, {whole}")
    for text in done.lost:
        tell(f"Not in it: {text}.")
    if done.difference:
        tell(f"The ledger does not account for {plural(done.difference, 'job')}: see `millrace doctor`.")
    if done.audit_flaw:
        tell(f"The backup has a flaw of the ledger: {done.audit_flaw}. See `millrace doctor`.")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--check", is_flag=True, help="Rehearse it in a scratch folder; nothing is changed.")
@click.option("--yes", is_flag=True, help="Do not ask before a ledger is replaced.")
@as_json
@pass_session
def restore(session: Session, *, file: Path, check: bool, yes: bool, as_json: bool) -> int:
    r"""
    Put the backup FILE back.

    The ledger that is there is kept beside the new one. config.toml and job files are written where there are none;
    those that differ are named, and left. Work that was finished after the backup is done again.

    \b
    Exit: 0 restored, or the rehearsal found nothing wrong; 1 the backup is not
    whole, or not confirmed; 75 a daemon runs.
    """
    if check:
        return _check(session, file, as_json=as_json)
    from millrace.process.backup.restore import restore as put_back

    with _alone(session):
        if session.places.ledger.exists():
            confirm(f"Replace {session.places.ledger}?", yes=yes)
        done = put_back(file, session.places, clock=session.clock)
        with session.ledger(anywhere=True) as ledger:  # a backup may be what makes the site
            ledger.moves.audit(session.actor, "restore", str(file.absolute())).wait()
    if as_json:
        echo_json(_as_json(done))
    else:
        _print(done)
    return 0


@contextmanager
def _alone(session: Session) -> Iterator[None]:
    """Hold the daemon's lock, so that none starts meanwhile."""
    from millrace.process.lock import take_lock

    lock = take_lock(session.places.ledger)
    try:
        yield
    finally:
        os.close(lock)


def _check(session: Session, file: Path, *, as_json: bool) -> int:
    from tempfile import gettempdir

    from millrace.process.backup.restore import rehearse

    state = session.places.state
    parent = state if os.access(state, os.W_OK | os.X_OK) else Path(gettempdir())
    seen = rehearse(file, parent, clock=session.clock)
    if as_json:
        echo_json(seen.as_json())
    else:
        _print_check(seen)
    return int(bool(seen.problems))


def _print_check(seen: Rehearsed) -> None:
    if seen.made_at:
        click.echo(f"made at   {plain(seen.made_at)}, {plural(seen.files, 'other file')}")
    if seen.found is not None:
        _print_ledger(seen.found)
    for problem in seen.problems:
        click.echo(f"problem   {plain(problem)}")
    click.echo("not whole" if seen.problems else "whole     it could be restored")


def _print_ledger(found: Examined) -> None:
    counts = ", ".join(f"{count:,} {status}" for status, count in found.counts.items() if count)
    click.echo(f"jobs      {found.accepted:,} accepted: {counts or 'none'}; difference {found.difference}")
    click.echo(f"audit     {plural(found.audit_rows, 'row')}, the newest is {found.audit_head or 'none'}")


def _as_json(done: Restored) -> dict[str, object]:
    return {
        "ledger": {**done.found._asdict(), "flaws": list(done.found.flaws)},
        "before": str(done.before) if done.before else None,
        "written": [str(path) for path in done.written],
        "differ": [str(path) for path in done.differ],
        "lost": list(done.lost),
        "other_site": done.other_site,
    }


def _print(done: Restored) -> None:
    _print_ledger(done.found)
    if done.found.audit_flaw:
        tell(f"What was restored has a flaw: {done.found.audit_flaw}. See `millrace doctor`.")
    for text in done.lost:
        tell(f"Lost: {text}.")
    if done.before is not None:
        click.echo(f"before    {done.before}")
    for path in done.written:
        click.echo(f"written   {path}")
    for path in done.differ:
        tell(f"{path} is not what was backed up; it was left as it is.")
    if done.other_site:
        tell(
            "The backup is of another ledger than the one that was here: its tokens hold now, and the one in "
            "admin.token does not. Make one with `millrace tokens create`."
        )
    tell("Start the daemon; what the backup has as running is queued again.")
