"""`millrace today`: expected against happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from millrace.cli.output import as_json, echo_json, plural
from millrace.cli.schedules import NO_SCHEDULES, load_timetable, reads_if_any
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.times import Duration, ago
from millrace.clock import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.triggers.today import Gap, Line, Today

GAPS: Final = 1
_GAPS: Final = (
    Column("GAP"),
    Column("SCHEDULE"),
    Column("DUE"),
    Column("TIMES", right=True),
    Column("WHY", elastic=True),
    Column("JOB OR RUN", optional=True),
)
_LINES: Final = (
    Column("SCHEDULE"),
    Column("RUNS", elastic=True),
    Column("EXPECTED", right=True),
    Column("SUCCEEDED", right=True),
    Column("OPEN", right=True),
    Column("FAILED", right=True),
    Column("MISSED", right=True),
    Column("SKIPPED", right=True),
    Column("NEXT", optional=True),
)
_DAY_S: Final = 86400.0
FEW: Final = 40  # gaps that have a line each; of more, those of one kind and for one reason share a line
MOST: Final = 50  # schedules that have a line unless --all is said: those with trouble first
_NAMED: Final = 3


@click.command("today")
@click.option("--span", type=Duration(), default=_DAY_S, help="How far to look back.  [default: 1d]")
@click.option("--all", "all_", is_flag=True, help="Show all schedules and gaps, however many there are.")
@as_json
@pass_session
def today(session: Session, span: float, *, all_: bool, as_json: bool) -> int:
    r"""
    Show what was expected in the last 24 hours against what happened; gaps first.

    A gap is what was missed, died, or is not done by the time its schedule gives (done_by). What was skipped because
    somebody decided so (a pause, overlap = "skip") is counted and no gap, nor is what was made up for since. Of many
    schedules those with trouble are shown, and like gaps share a line.

    \b
    Exit: 0 no gaps; 1 gaps; 78 bad configuration.
    """
    from millrace.triggers.today import today as look

    found = load_timetable(session)
    with reads_if_any(session) as reads:
        day = look(found, reads, session.clock.now_ms(), span_s=span)
    if as_json:
        echo_json(day.as_json())
    elif day.lines or day.gaps or found.problems:
        _print(day, span, session.clock.now_ms(), all_=all_)
    else:
        tell(NO_SCHEDULES)
    return GAPS if day.gaps else 0


def _print(day: Today, span: float, now: int, *, all_: bool) -> None:
    width = terminal_width()
    if day.gaps:
        rows = (
            _folded(day.gaps, now) if len(day.gaps) > FEW and not all_ else [_gap_cells([gap], now) for gap in day.gaps]
        )
        click.echo(table(_GAPS, rows, width))
        click.echo("")
    shown = day.lines if all_ else _worst(day.lines)
    if shown:
        click.echo(table(_LINES, [_line_cells(line, now) for line in shown], width))
    if len(shown) < len(day.lines):
        tell(f"{plural(len(day.lines) - len(shown), 'more schedule')} with less trouble, or none: --all shows them.")
    count = sum(line.expected for line in day.lines)
    gaps = f"{plural(sum(gap.count for gap in day.gaps), 'gap')}" if day.gaps else "no gaps"
    tell(f"{plural(count, 'time')} in the last {_span_words(span)}: {gaps}.")
    _tell_backfill(day.gaps)


def _tell_backfill(gaps: Sequence[Gap]) -> None:
    """Name the commands that make up for what was missed; what is not decided yet is decided by the next start."""
    from millrace.observe.explain_schedule import backfill_command
    from millrace.triggers.today import UNDECIDED

    spans: dict[str, tuple[int, int]] = {}
    for gap in gaps:
        if gap.kind == "missed" and gap.why != UNDECIDED:
            since, until = spans.get(gap.schedule, (gap.since, gap.due_at))
            spans[gap.schedule] = min(since, gap.since), max(until, gap.due_at)
    for name, (since, until) in list(spans.items())[:_NAMED]:
        tell(f"Make up for what was missed: {backfill_command(name, since, until)}")
    if len(spans) > _NAMED:
        tell(f"And so for {plural(len(spans) - _NAMED, 'more schedule')}: see millrace explain SCHEDULE")


def _span_words(span: float) -> str:
    """Return the span: a day is 24 hours here, since "the last day" may be yesterday."""
    return "24h" if span == _DAY_S else format_duration(span)


def _folded(gaps: Sequence[Gap], now: int) -> list[tuple[str, ...]]:
    alike: dict[tuple[str, str], list[Gap]] = {}
    for gap in gaps:  # the newest first
        alike.setdefault((gap.kind, gap.why), []).append(gap)
    return [_gap_cells(some, now) for some in alike.values()]


def _worst(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of a few schedules in their order, of many those with the most trouble."""
    if len(lines) <= MOST:
        return list(lines)
    kept = sorted(lines, key=lambda line: -(line.failed + line.missed))[:MOST]
    return sorted(kept, key=lambda line: line.schedule)


def _gap_cells(gaps: Sequence[Gap], now: int) -> tuple[str, ...]:
    """Return the cells of gaps of one kind and for one reason, the newest first."""
    newest, names = gaps[0], list(dict.fromkeys(gap.schedule for gap in gaps))
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    schedules = ", ".join(names[:_NAMED]) + more
    number = sum(gap.count for gap in gaps)
    work = newest.job_id or newest.run_id or ""
    return newest.kind.replace("_", " "), schedules, ago(newest.due_at, now), f"{number:,}", newest.why, work


def _line_cells(line: Line, now: int) -> tuple[str, ...]:
    numbers = (line.expected, line.succeeded, line.open, line.failed, line.missed, line.skipped)
    return line.schedule, line.target, *(f"{number:,}" for number in numbers), ago(line.next_at, now) or "never"
