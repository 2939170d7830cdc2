"""`millrace submit`: one job from words or JSON, or one for each line of a file. Works while the daemon is down."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from millrace.cli.output import as_json, echo_json
from millrace.cli.session import Session, inside, pass_session, tell
from millrace.cli.times import Duration, ago
from millrace.clock import MS
from millrace.errors import PayloadError, Problem
from millrace.ledger.rows import Source

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import IO

    from millrace.config.load import Site
    from millrace.queue.site import OpenSite
    from millrace.queue.submit import Submission

STDIN = "-"


@click.command("submit")
@click.argument("task", required=False)
@click.argument("words", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--payload", metavar="JSON|@FILE|-", help="The payload as a JSON object, instead of NAME=VALUE.")
@click.option(
    "--lines", "lines_file", metavar="FILE|-", help="One job for each line, a JSON object: the payload of TASK."
)
@click.option("--client", metavar="NAME", help="For whom; a client of config.toml.")
@click.option("--queue", metavar="NAME", help="Another queue than the task's own.")
@click.option("--priority", type=int, default=0, metavar="N", help="Higher goes first; 0 is usual.")
@click.option("--in", "in_s", type=Duration(), metavar="5m", help="Not before so much time has passed.")
@click.option(
    "--at",
    metavar="TIME",
    help="Not before, such as 2026-12-01T06:00, a time of the site's zone; with Z or an offset of that one.",
)
@click.option("--key", metavar="TEXT", help="Idempotency key: the same key again is the same job.")
@click.option("--key-from", metavar="FIELD", help="With --lines: the field of each line that is its key.")
@click.option("--wait", is_flag=True, help="Wait until it is over, and print its result.")
@click.option("--timeout", type=Duration(), metavar="5m", help="With --wait: wait at most so long.")
@as_json
@pass_session
def submit(session: Session, /, task: str | None, words: tuple[str, ...], **options: Any) -> int:
    r"""
    Submit a job, or one for each line of a file.

    The payload is made of NAME=VALUE words, read by the types of the task's parameters, or given as JSON. It is
    checked before anything is queued, and the job is on disk when its id is printed.

    With --lines each line is checked by itself: a bad one is named on stderr and the good ones are kept. Without
    TASK a line is a whole submission: {"task": …, "payload": …, "queue": …, "key": …}. With keys, the same file
    can be submitted again, and nothing is doubled.

    \b
    Exit: 0 accepted; with --wait: 0 succeeded, 1 died or was cancelled, 75 not
    over in time; 2 a payload or line does not fit; 4 no such task, queue or
    client; 5 the key has another payload; 75 the queue or the disk is full;
    77 not permitted.
    """
    _check_options(task, words, options)
    if options["lines_file"] is not None:
        return _submit_lines(session, task, options)
    return _submit_one(session, task or "", words, options)


def _check_options(task: str | None, words: tuple[str, ...], options: dict[str, Any]) -> None:
    if options["in_s"] is not None and options["at"] is not None:
        misused("either --in or --at, not both")
    if options["lines_file"] is not None:
        _check_lines_options(words, options)
        return
    if task is None:
        misused("name a TASK (millrace tasks list), or give --lines")
    if options["key_from"] is not None:
        misused("--key-from goes with --lines; one job takes --key")
    if words and options["payload"] is not None:
        misused("either NAME=VALUE words or --payload, not both")
    if options["timeout"] is not None and not options["wait"]:
        misused("--timeout goes with --wait")


def _check_lines_options(words: tuple[str, ...], options: dict[str, Any]) -> None:
    for name in ("payload", "key", "wait", "timeout"):
        if options[name]:
            misused(f"--{name} is for one job, --lines for many")
    if words:
        misused("NAME=VALUE words are for one job, --lines for many")


def misused(message: str) -> NoReturn:
    """Refuse the words of the call, with a pointer to its help."""
    raise click.UsageError(message, click.get_current_context())


def _submit_one(session: Session, task: str, words: tuple[str, ...], options: dict[str, Any]) -> int:
    site = session.site()
    with session.opened() as opened:
        wanted = _submission(session, task, words, options, site)
        with inside(site.places.root):
            accepted = opened.submitter.submit(wanted)
        if accepted.existed:
            tell("The key is known: this is the job that has it; nothing was added.")
        else:
            _tell_due(session, wanted.due_at, site)
        if options["wait"]:
            return _wait(session, opened, accepted.id, options)
        if options["as_json"]:
            echo_json(opened.ledger.reads.job(accepted.id).as_json())
        else:
            click.echo(accepted.id)
    return 0


def _submission(session: Session, task: str, words: tuple[str, ...], options: dict[str, Any], site: Site) -> Submission:
    from millrace.queue.submit import Submission

    payload = options["payload"]
    return Submission(
        task=task,
        text=read_payload(payload, site.settings.web.max_body) if payload is not None else None,
        words=word_map(words) if payload is None else None,
        key=options["key"],
        source=Source("cli", session.user),
        **_common(session, options, site),
    )


def _common(session: Session, options: dict[str, Any], site: Site) -> dict[str, Any]:
    """Return the fields of a submission that one job and many lines have in common."""
    due_at = _due_at(session, options, site)
    return {"client": options["client"], "queue": options["queue"], "priority": options["priority"], "due_at": due_at}


def _due_at(session: Session, options: dict[str, Any], site: Site) -> int | None:
    in_s: float | None = options["in_s"]
    if in_s is not None:
        return session.clock.now_ms() + round(in_s * MS)
    if options["at"] is None:
        return None
    from millrace.triggers.at import At

    try:
        wanted = At(options["at"], site.settings.site.timezone)
    except (ValueError, OverflowError) as error:
        misused(f"--at: {error}")
    if wanted.note:
        tell(f"{wanted.note}.")
    return wanted.due_at


def _tell_due(session: Session, due_at: int | None, site: Site) -> None:
    """Say when it is due in the site's own time: who meant another zone sees it."""
    if due_at is None:
        return
    from millrace.triggers.words import local_text

    now_ms, local = session.clock.now_ms(), local_text(due_at, site.settings.site.timezone)
    passed = "; that time has passed: it is due now" if due_at < now_ms else ""
    tell(f"due {local} ({ago(due_at, now_ms)}){passed}")


def word_map(words: tuple[str, ...], what: str = "payload") -> dict[str, str]:
    """Return NAME=VALUE words as a mapping; `what` is what they make up, for the message."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            misused(f'"{word}" is not NAME=VALUE')
        if name in found:
            raise PayloadError([Problem(f"{what}.{name}", "is given twice", "keep one of them")])
        found[name] = value
    return found


def read_payload(told: str, max_body: int) -> str | bytes:
    """Return the payload's text; of a file no more than what is surely too much."""
    if told == STDIN:
        return sys.stdin.buffer.read(max_body + 1)
    if not told.startswith("@"):
        return told
    with open_input(told[1:]) as file:
        return file.read(max_body + 1)


def open_input(name: str) -> AbstractContextManager[IO[bytes]]:
    """Open a file, or standard input for "-"."""
    if name == STDIN:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as error:
        misused(f"{name}: {error.strerror}")


def _wait(session: Session, opened: OpenSite, job_id: str, options: dict[str, Any]) -> int:
    from millrace.cli.waiting import print_ended, wait_for
    from millrace.cli.watching import shown_as_it_stands

    tell(f"Job {job_id}")  # so that whoever interrupts the wait knows what to ask for
    reads = opened.ledger.reads
    with shown_as_it_stands(lambda: reads.job(job_id).as_json(), as_json=options["as_json"]):
        ended = wait_for(session, reads, [job_id], options["timeout"])
    if options["as_json"]:
        echo_json(ended[0].as_json())
    return print_ended(ended, results=not options["as_json"])


def _submit_lines(session: Session, task: str | None, options: dict[str, Any]) -> int:
    from millrace.cli.lines import Lines, submit_lines

    name = options["lines_file"]
    site = session.site()
    common = _common(session, options, site)
    with open_input(name) as file, session.opened() as opened:
        lines = Lines(
            file,
            name="stdin" if name == STDIN else name,
            task=task,
            key_from=options["key_from"],
            max_body=site.settings.web.max_body,
            common=common,
        )
        with inside(site.places.root):
            counts = submit_lines(opened.submitter, lines, session.clock)
    _tell_due(session, common["due_at"], site)
    if options["as_json"]:
        echo_json(counts.as_json())
    else:
        click.echo(counts.words())
    return counts.code
