"""`millrace schedules`: what runs when, in words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.output import as_json, echo_json
from millrace.cli.session import Session, inside, pass_session, tell
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.times import ago
from millrace.clock import parse_time
from millrace.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.ledger.reads import Reads
    from millrace.ledger.ticket import Ticket
    from millrace.triggers.schedule import Schedule, Timing
    from millrace.triggers.timetable import Timetable

_LIST: Final = (
    Column("SCHEDULE"),
    Column("RUNS", elastic=True),
    Column("WHEN", elastic=True),
    Column("NEXT"),
    Column("LAST", optional=True),
    Column("STATE"),
)
_MOST: Final = 100
NO_SCHEDULES: Final = 'No schedules. Write [schedules.NAME] into config.toml, with task and cron = "0 6 * * *".'


@click.group("schedules")
def schedules() -> None:
    """What runs when: list, next, test, fire, pause, resume."""


@schedules.command("list")
@as_json
@pass_session
def list_(session: Session, *, as_json: bool) -> None:
    r"""
    List the schedules: when, when next, how the last one came, and why one cannot run.

    \b
    Exit: 0 listed; 78 bad configuration.
    """
    found = load_timetable(session)
    rows = _board(session, found, list(found.schedules.values()))
    if as_json:
        echo_json(rows)
    elif rows:
        now = session.clock.now_ms()
        click.echo(table(_LIST, [_cells(row, now) for row in rows], terminal_width()))
    else:
        tell(NO_SCHEDULES)
    _tell_problems(found)


@schedules.command("next")
@click.argument("name", required=False)
@click.option("-n", "count", type=click.IntRange(1, _MOST), default=3, show_default=True, help="How many times.")
@as_json
@pass_session
def next_(session: Session, name: str | None, count: int, *, as_json: bool) -> None:
    r"""
    Show the next times of the schedule NAME, or of all, and what clock changes do to them.

    \b
    Exit: 0 shown; 4 no such schedule; 78 bad configuration.
    """
    found = load_timetable(session)
    wanted = found.named(name) if name is not None else list(found.schedules.values())
    rows = _board(session, found, wanted, count)
    if as_json:
        echo_json(rows)
    elif rows:
        click.echo("\n\n".join("\n".join(_next_lines(row)) for row in rows))
    else:
        tell(NO_SCHEDULES)
        _tell_problems(found)


@schedules.command("test")
@click.argument("expression", metavar="EXPR")
@click.option("--timezone", "zone", metavar="ZONE", help="The zone to read it in; the site's when left out.")
@click.option("-n", "count", type=click.IntRange(1, _MOST), default=3, show_default=True, help="How many times.")
@click.option("--from", "start", metavar="TIME", help="Since when; now when left out.")
@as_json
@pass_session
def test(session: Session, expression: str, zone: str | None, count: int, start: str | None, *, as_json: bool) -> None:
    r"""
    Say what EXPR means, and its next times: a line of cron, a pace such as 15m, or a time.

    \b
    Exit: 0 it means something; 2 it does not.
    """
    from millrace.triggers.words import in_words, next_notes, upcoming

    zone = zone or session.site().settings.site.timezone
    timing = _timing(expression, zone)
    now = session.clock.now_ms() if start is None else _moment(start, zone)
    times = upcoming(timing, now, count)
    notes = next_notes(timing, now, count)
    row = {
        "expression": expression,
        "words": in_words(timing),
        "timezone": zone,
        "next": [{"at": time.utc, "local": time.local} for time in times],
        "notes": notes,
    }
    if as_json:
        echo_json(row)
    else:
        click.echo("\n".join([row["words"], *_time_lines(row)]))  # type: ignore[list-item]


@schedules.command("fire")
@click.argument("name")
@click.option("--anyway", is_flag=True, help="Also while the run before is not over.")
@as_json
@pass_session
def fire(session: Session, name: str, *, anyway: bool, as_json: bool) -> None:
    r"""
    Fire the schedule NAME now, whether it is paused or not. Its own times stay as they are.

    NAME is a schedule, for all its clients (all are fired, or none), or NAME@CLIENT.

    \b
    Exit: 0 fired, or waits for its turn; 4 no such schedule; 5 the run before is
    not over.
    """
    from millrace.triggers.acts import fire_now, fired_as_json
    from millrace.triggers.timetable import timetable

    with inside(session.site().places.root), session.opened() as site:
        wanted = timetable(site.site.settings, site.registry).named(name)
        now = session.clock.now_ms()
        ticket = fire_now(wanted, site.submitter, site.ledger.moves, now=now, actor=session.actor, anyway=anyway)
        fired = fired_as_json(wanted, ticket.wait())
    if as_json:
        echo_json(fired)
        return
    for one in fired:
        click.echo(f"{one['schedule']}  {one['kind']} {one['id']}" if one["id"] else f"{one['schedule']}  waits")
    if not all(one["id"] for one in fired):
        tell("It starts when the run before is over.")


@schedules.command("pause")
@click.argument("name")
@pass_session
def pause(session: Session, name: str) -> None:
    r"""
    Let the schedule NAME submit nothing more. Its times pass, and are kept as skipped.

    \b
    Exit: 0 paused; 4 no such schedule.
    """
    news = _act(session, name, "paused", lambda moves, key: moves.pause_schedule(key, actor=session.actor))
    tell(f"Let it go on with: millrace schedules resume {name}" if news else "It was paused before.")


@schedules.command("resume")
@click.argument("name")
@pass_session
def resume(session: Session, name: str) -> None:
    r"""
    Let the schedule NAME go on. What passed while it was paused is not made up for.

    \b
    Exit: 0 it goes on; 4 no such schedule.
    """
    if not _act(session, name, "resumed", lambda moves, key: moves.resume_schedule(key, actor=session.actor)):
        tell("It was not paused.")
    tell(f"To make up for what was left out: millrace backfill {name} --from TIME --to TIME")


def _act(session: Session, name: str, done: str, act: Any) -> bool:
    """Do something to the schedules of a name; return whether it was news for one."""
    wanted = load_timetable(session).named(name)
    with session.ledger() as ledger:
        tickets: list[Ticket[bool]] = [act(ledger.moves, schedule.key) for schedule in wanted]
        news = [ticket.wait() for ticket in tickets]
    for schedule in wanted:
        click.echo(f"{schedule.key}  {done}")
    return any(news)


def load_timetable(session: Session) -> Timetable:
    """Return the schedules of the site; imports the job files, which may have schedules beside tasks."""
    from millrace.cli.tasks import load_registry
    from millrace.triggers.timetable import timetable

    site, registry = session.site(), load_registry(session, quiet=True)
    with inside(site.places.root):
        return timetable(site.settings, registry)


@contextmanager
def reads_if_any(session: Session) -> Iterator[Reads | None]:
    """Open the ledger for looks; None if there is none yet."""
    try:
        opened = session.reads()
        reads = opened.__enter__()
    except NotFound:
        yield None
        return
    try:
        yield reads
    finally:
        reads.close()


def _board(session: Session, found: Timetable, wanted: Sequence[Schedule], count: int = 3) -> list[dict[str, Any]]:
    from millrace.triggers.board import board

    with reads_if_any(session) as reads:
        return board(found, wanted, reads, now=session.clock.now_ms(), count=count)


def _tell_problems(found: Timetable) -> None:
    for key, problem in sorted(found.problems.items()):
        tell(f"millrace: schedule {key}: {problem}")


def _cells(row: dict[str, Any], now: int) -> tuple[str, ...]:
    last = row["last_fire"]
    if row["problem"]:
        state = "cannot run"
    elif row["paused"]:
        state = "paused"  # by whom: `schedules next`
    else:
        state = "" if row["enabled"] else "not enabled"
    return (
        row["schedule"],
        row["target"],
        row["words"],
        _next(row, now),
        (last["status"] or last["outcome"]) if last else "",
        state,
    )


def _next(row: dict[str, Any], now: int) -> str:
    if not row["enabled"]:
        return ""
    return ago(parse_time(row["next"][0]["at"]), now) if row["next"] else "never"


def _next_lines(row: dict[str, Any]) -> list[str]:
    from millrace.observe.explain_schedule import ahead_text

    runs = f"{row['kind']} {row['target']}"
    head = [f"{row['schedule']}: {row['words']}", f"  runs  {runs}"]
    if row["problem"]:
        head.append(f"  cannot run: {row['problem']}")
    if row["paused"]:
        head.append(f"  paused by {row['paused_by']}: each of these is skipped")
    return head + _time_lines(row) + ([f"  note  {ahead_text(row['ahead'])}"] if row["ahead"] else [])


def _time_lines(row: dict[str, Any]) -> list[str]:
    times = [f"  next  {time['local']}  ({time['at']})" for time in row["next"]]
    return [*(times or ["  never again"]), *(f"  note  {note}" for note in row["notes"])]


def _timing(expression: str, zone: str) -> Timing:
    """Return what is meant: a line of cron has spaces or begins with @, a pace is a duration, the rest is a time."""
    from pydantic import ValidationError

    from millrace.clock import parse_duration
    from millrace.config.schedules import ScheduleSettings
    from millrace.triggers.schedule import schedule_of

    text = expression.strip()
    try:
        parse_duration(text)
        key = "every"
    except ValueError:
        key = "at" if text[:4].isdigit() and "-" in text[:5] else "cron"
    try:
        wanted = ScheduleSettings.model_validate({"task": "test", key: text, "timezone": zone})
        return schedule_of("test", wanted, zone=zone).timing
    except ValidationError as error:
        found = error.errors()[0]
        message = str(found["msg"]).removeprefix("Value error, ")
        if "timezone" in found["loc"]:
            message = f'--timezone: "{zone}" {message}'
        elif not message.startswith(f'"{text}"'):
            message = f'"{expression}": {message}'
        raise click.UsageError(message, click.get_current_context()) from None


def _moment(text: str, zone: str) -> int:
    """Return a moment in epoch ms; one without an offset is a wall time of the zone."""
    from millrace.triggers.at import At

    try:
        return At(text, zone).due_at
    except ValueError as error:
        raise click.UsageError(f"--from: {error}", click.get_current_context()) from None
