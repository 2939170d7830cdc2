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


@click.command("today")
@click.option("--span", type=Duration(), default=_DAY_S, help="How far to look back.  [default: 1d]")
@as_json
@pass_session
def today(session: Session, span: float, *, as_json: bool) -> int:
    r"""
    Show what was expected in the last 24 hours against what happened; gaps first.

    A gap is what was missed, died, or is not done by the time its schedule gives (done_by). What was skipped because
    somebody decided so (a pause, overlap = "skip") is counted and no gap, nor is what was made up for since.

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
        _print(day, span, session.clock.now_ms())
    else:
        tell(NO_SCHEDULES)
    return GAPS if day.gaps else 0


def _print(day: Today, span: float, now: int) -> None:
    width = terminal_width()
    if day.gaps:
        click.echo(table(_GAPS, [_gap_cells(gap, now) for gap in day.gaps], width))
        click.echo("")
    if day.lines:
        click.echo(table(_LINES, [_line_cells(line, now) for line in day.lines], width))
    count = sum(line.expected for line in day.lines)
    gaps = plural(len(day.gaps), "gap") if day.gaps else "no gaps"
    tell(f"{plural(count, 'time')} in the last {_span_words(span)}: {gaps}.")


def _span_words(span: float) -> str:
    """Return the span: a day is 24 hours here, since "the last day" may be yesterday."""
    return "24h" if span == _DAY_S else format_duration(span)


def _gap_cells(gap: Gap, now: int) -> tuple[str, ...]:
    work = gap.job_id or gap.run_id or ""
    return gap.kind.replace("_", " "), gap.schedule, ago(gap.due_at, now), f"{gap.count:,}", gap.why, work


def _line_cells(line: Line, now: int) -> tuple[str, ...]:
    numbers = (line.expected, line.succeeded, line.open, line.failed, line.missed, line.skipped)
    return line.schedule, line.target, *(f"{number:,}" for number in numbers), ago(line.next_at, now) or "never"
