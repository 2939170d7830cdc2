"""`millrace backfill`: periods that a schedule is to make up for, shown first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.acting import confirm, yes_option
from millrace.cli.output import as_json, echo_json, plural
from millrace.cli.session import Session, inside, pass_session, tell
from millrace.clock import MS, parse_time, rfc3339
from millrace.errors import PayloadError, Problem

if TYPE_CHECKING:
    from millrace.queue.site import OpenSite
    from millrace.triggers.acts import Planned
    from millrace.triggers.schedule import Schedule

_SHOWN: Final = 20


@click.command("backfill")
@click.argument("name", metavar="SCHEDULE")
@click.option("--from", "start", metavar="TIME", required=True, help="The first time, as 2026-11-01 or with a time.")
@click.option("--to", "end", metavar="TIME", required=True, help="The last time; a date alone is its whole day.")
@click.option("--dry-run", is_flag=True, help="Only show it.")
@yes_option
@as_json
@pass_session
def backfill(session: Session, name: str, start: str, end: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    r"""
    Make up for times of SCHEDULE that have passed; shown first.

    They run one after the other, in their order: the daemon submits each when the one before is over; a paused
    schedule waits. Times that ran, or are made up for already, are left out. A TIME without an offset is one of the
    schedule's zone.

    \b
    Exit: 0 they will run; 1 the answer was no; 2 TIMEs that are none, or the
    wrong way round; 4 no such schedule; 5 too many times; 78 bad configuration.
    """
    from millrace.triggers.timetable import timetable

    with inside(session.site().places.root), session.opened() as site:
        wanted = timetable(site.site.settings, site.registry).named(name)
        plans = [_plan(schedule, site, start, end, session.clock.now_ms()) for schedule in wanted]
        if not as_json:
            for plan in plans:
                _show(*plan)
        count = sum(len(_times(plan)) for _, plan in plans)
        if count and not dry_run:
            confirm(f"Make up for {plural(count, 'time')}?", yes=yes)
            _make_up(plans, site, session.actor)
    if as_json:
        made_up = 0 if dry_run else count
        echo_json({"made_up": made_up, "schedules": [_json(schedule.key, plan) for schedule, plan in plans]})
    elif count and not dry_run:
        tell("They run one after the other; see: millrace today")


def _plan(schedule: Schedule, site: OpenSite, start: str, end: str, now: int) -> tuple[Schedule, list[Planned]]:
    from millrace.triggers.acts import plan_backfill

    after, until = _moment(start, schedule, end=False), _moment(end, schedule, end=True)
    if after > until:
        raise click.UsageError(f"--from {start} is later than --to {end}", click.get_current_context())
    return schedule, plan_backfill(schedule, site.ledger.reads, after, min(until, now))


def _make_up(plans: list[tuple[Schedule, list[Planned]]], site: OpenSite, actor: str) -> None:
    from millrace.triggers.acts import backfill as make_up

    for schedule, plan in plans:
        if times := _times(plan):
            make_up(schedule, times, site.submitter, site.ledger.moves, actor=actor).wait()


def _times(plan: list[Planned]) -> list[int]:
    return [planned.due_at for planned in plan if not planned.reason]


def _json(key: str, plan: list[Planned]) -> dict[str, Any]:
    times = [{"due_at": rfc3339(planned.due_at), "left_out": planned.reason or None} for planned in plan]
    return {"schedule": key, "times": times}


def _show(schedule: Schedule, plan: list[Planned]) -> None:
    from millrace.triggers.words import local_text

    wanted = [planned for planned in plan if not planned.reason]
    left = len(plan) - len(wanted)
    more = f", and {plural(left, 'time')} left out, which ran or are made up for" if left else ""
    click.echo(f"{schedule.key}: {plural(len(wanted), 'time')} to make up for{more}")
    for planned in wanted[:_SHOWN]:
        click.echo(f"  {local_text(planned.due_at, schedule.zone)}")
    if len(wanted) > _SHOWN:
        click.echo(f"  … and {plural(len(wanted) - _SHOWN, 'more time')}, to", nl=False)
        click.echo(f" {local_text(wanted[-1].due_at, schedule.zone)}")


def _moment(text: str, schedule: Schedule, *, end: bool) -> int:
    """Return a moment in epoch ms; a date is its first, or as an end its last."""
    from datetime import date, datetime, timedelta
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(schedule.zone)
    try:
        day = date.fromisoformat(text) + timedelta(days=end)
        moment = datetime(day.year, day.month, day.day, tzinfo=zone)
        return round(moment.timestamp() * MS) - end
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
        return parse_time(text) if found.tzinfo else round(found.replace(tzinfo=zone).timestamp() * MS)
    except ValueError:
        option = "--to" if end else "--from"
        hint = 'such as "2026-11-01" or "2026-11-01T06:00"'
        raise PayloadError([Problem(option, f'"{text}" is no time', hint)]) from None
