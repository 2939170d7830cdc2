"""`millrace explain`: why something waits, ran twice, is dead or late, and what would change that."""

from __future__ import annotations

from functools import partial
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.output import as_json, colored, echo_json, plain
from millrace.cli.queues import all_queues
from millrace.cli.session import Session, pass_session
from millrace.cli.table import terminal_width
from millrace.errors import MillraceError, NotFound, did_you_mean

if TYPE_CHECKING:
    from millrace.ledger.reads import Reads
    from millrace.observe.explain import Around, Explanation
    from millrace.observe.explain_disk import Disk

_TIME: Final = 20  # characters of a time to the second
_NOW: Final = "now"
_INDENT: Final = _TIME + 4
_NARROWEST: Final = 40


@click.command("explain")
@click.argument("what", metavar="JOB|RUN|SCHEDULE|QUEUE")
@as_json
@pass_session
def explain(session: Session, what: str, *, as_json: bool) -> None:
    r"""
    Explain why a job, run, schedule or queue is as it is.

    It says why something waits and until when, why it ran twice, why it is dead, skipped or late, and what would
    change that. Ids may be shortened to a start that no other has.

    \b
    Exit: 0 explained; 4 there is nothing of that id or name.
    """
    found = _found(session, what)
    if as_json:
        echo_json(found.as_json())
    else:
        click.echo(_text(found))


def _found(session: Session, what: str) -> Explanation:
    from millrace.observe import explain_look

    queues = [row.name for row in all_queues(session)]
    with session.reads() as reads:
        around = _around(session, reads)
        if what in queues:
            return explain_look.queue(reads, what, around)
        found = _of_id(reads, what, around) or _of_schedule(session, reads, what, around)
    if isinstance(found, list):
        raise NotFound(f'there is no job, run, schedule or queue "{what}".{did_you_mean(what, [*queues, *found])}')
    return found


def _of_schedule(session: Session, reads: Reads, what: str, around: Around) -> Explanation | list[str]:
    """Explain the schedule of a name; return the names that there are if there is none."""
    from millrace.cli.schedules import load_timetable
    from millrace.observe import explain_look
    from millrace.triggers.board import board

    try:
        timetable = load_timetable(session)
    except MillraceError:
        return []
    try:
        wanted = timetable.named(what)
    except NotFound:
        return timetable.names()
    # What was decided while the job files were read is no time to come.
    around = around._replace(now_ms=session.clock.now_ms())
    rows = board(timetable, wanted, reads, now=around.now_ms)
    return explain_look.schedule(reads, what, rows, around)


def _of_id(reads: Reads, what: str, around: Around) -> Explanation | None:
    """Explain the job or the run of an id. Raises NotFound if a start of an id could be several."""
    from millrace.observe import explain_look

    refused: NotFound | None = None
    try:
        return explain_look.job(reads, reads.job(what), around)
    except NotFound as error:
        refused = error if "could be any" in str(error) else None
    try:
        return explain_look.run(reads, reads.run(what), around)
    except NotFound as error:
        if refused is not None:
            raise refused from error
        if "could be any" in str(error):
            raise
    return None


def _around(session: Session, reads: Reads) -> Around:
    from millrace.observe.explain import Around

    try:
        settings = session.site_or_defaults().settings
    except MillraceError:  # settings that are wrong explain nothing; the ledger still does
        settings = None
    return Around(
        session.clock.now_ms(),
        session.served(),
        settings.queues if settings is not None else None,
        partial(_knows, session),
        _disk(session, reads, settings.storage.reserve if settings is not None else None),
    )


def _disk(session: Session, reads: Reads, reserve: int | None) -> Disk | None:
    """Look at the disk, and ask the daemon what it could not write: of that, nothing stands in the ledger."""
    import json

    from millrace.ledger.wake import ask
    from millrace.observe.explain_disk import disk_of
    from millrace.queue.room import Room

    answer = ask(session.places.state)
    level = Room(session.places.ledger, reserve, open_jobs=reads.open_jobs).level()
    return disk_of(level, json.loads(answer) if answer else {})


def _knows(session: Session, task: str) -> bool:
    """Whether the site has a task. Job files are imported for a job of which that matters, and for no other."""
    from millrace.cli.tasks import load_registry

    try:
        registry = load_registry(session, quiet=True)
    except MillraceError:  # what cannot be read explains nothing; the ledger still does
        return True
    return registry.knows(task)


def _text(found: Explanation) -> str:
    head = f"{found.kind.capitalize()} {found.id}"
    head += f"  {click.style(plain(found.name), bold=True)}" if found.name != found.id else ""
    lines = [f"{head}  {colored(found.status)}", ""]
    for one in found.because:
        when = one.as_json()["at"]
        stamp = f"{when[:19]}Z" if when is not None else _NOW
        lines.append(f"  {stamp:<{_TIME}}  {_folded(one.text)}")
    if found.change:
        lines += ["", click.style("What would change it:", bold=True)]
    for change in found.change:
        lines.append(f"  {plain(change.text)}")
        lines += [f"      {change.command}"] if change.command else []
    return "\n".join(lines)


def _folded(text: str) -> str:
    """Break a long sentence below its own beginning; a pipe gets it whole."""
    width = terminal_width()
    if width is None:
        return plain(text)
    return f"\n{' ' * _INDENT}".join(wrap(plain(text), max(_NARROWEST, width - _INDENT)))
