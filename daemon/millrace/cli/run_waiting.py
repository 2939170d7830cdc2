"""Waiting until a run is over, with one line on the terminal that says how far it is."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.filters import error_words
from millrace.cli.output import plain
from millrace.cli.run_text import result_lines, stage_counts
from millrace.cli.session import tell
from millrace.cli.timeline import place_words
from millrace.cli.waiting import tell_of_pauses
from millrace.cli.watching import Watch, interruptible
from millrace.errors import StillOpen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.cli.session import Session
    from millrace.ledger.plan import PlanStage
    from millrace.ledger.reads import Reads
    from millrace.ledger.run_rows import RunRow
    from millrace.ledger.run_view import RunView

_LOOK_EVERY_S: Final = 0.1
_NAMED: Final = 3
_SETTLED: Final = ("succeeded", "dead", "cancelled", "skipped")


def wait_for_run(session: Session, reads: Reads, run_id: str, timeout_s: float | None) -> None:
    """
    Return when a run is over.

    Args:
        run_id: The full id.
        timeout_s: Seconds to wait at most, ≥ 0; None waits for as long as it takes.
    Raises: NotFound; StillOpen if the time is up, which leaves the run as it is.
    """
    deadline = None if timeout_s is None else session.clock.monotonic() + timeout_s
    line = _Line(reads.plan(run_id).stages)
    with interruptible("run", [run_id]):
        try:
            _wait(session, reads, run_id, deadline, line)
        finally:
            line.clear()


def _wait(session: Session, reads: Reads, run_id: str, deadline: float | None, line: _Line) -> None:
    watch = Watch(session, "run", line.clear)  # or the words would stand behind it
    seen = None
    named: set[str] = set()
    while True:
        version = reads.data_version()
        if version != seen:
            seen = version
            found = reads.run(run_id)
            if found.status != "running":
                return
            line.show(found)
            tell_of_pauses(reads, _queues_of(line.stages, found), named)
        watch.look()
        left = _LOOK_EVERY_S if deadline is None else deadline - session.clock.monotonic()
        if left <= 0:
            raise StillOpen(
                f"run {run_id} is still running: the time to wait is up, the run goes on (millrace jobs wait {run_id})"
            )
        session.clock.wait(threading.Event(), min(left, _LOOK_EVERY_S))


def _queues_of(stages: Sequence[PlanStage], run: RunRow) -> set[str]:
    """Return the queues in which jobs of a run wait to be started."""
    return {stage.queue for stage in stages if run.counts.get(stage.name, {}).get("queued")}


def print_ended(view: RunView, *, counts: bool) -> int:
    """Print what a run that is over came to; return 0 if it succeeded, else 1."""
    run = view.run
    if counts:
        click.echo(stage_counts(view))
        if view.results:
            click.echo(f"\n{result_lines(view)}")
    if run.status == "succeeded":
        return 0
    for job in view.dead[:_NAMED]:
        tell(f"millrace: {plain(place_words(job))}: {plain(error_words(job))} (millrace dead show {job.id})")
    tell(f"millrace: run {run.id} is {run.status} (millrace runs show {run.id})")
    return 1


class _Line:
    """The line of progress on stderr; without a terminal there is none."""

    def __init__(self, stages: Sequence[PlanStage]) -> None:
        self.stages = stages
        self._shown = sys.stderr.isatty()
        self._long = 0

    def show(self, run: RunRow) -> None:
        """Write how far each stage is over what was there before."""
        if not self._shown:
            return
        import shutil

        text = progress_line(self.stages, run)[: shutil.get_terminal_size().columns - 1]
        click.echo("\r" + text.ljust(self._long), nl=False, err=True)
        self._long = len(text)

    def clear(self) -> None:
        """Leave the line empty for what comes next."""
        if self._long:
            click.echo("\r" + " " * self._long + "\r", nl=False, err=True)
            self._long = 0


def progress_line(stages: Sequence[PlanStage], run: RunRow) -> str:
    """Return how far the stages of a run are: "lead 9,240 · points 4,100 of 9,240"; those not begun are left out."""
    parts = []
    for stage in stages:
        counts = run.counts.get(stage.name, {})
        if stage.kind == "fanout":
            parts.append(f"{stage.name} {run.records.get(stage.name, 0):,}")
        elif any(counts.values()):
            settled = sum(counts.get(status, 0) for status in _SETTLED)
            total = run.records.get(stage.fanout or "", 1)
            parts.append(f"{stage.name} {settled:,} of {total:,}" if stage.fanout else _once(stage.name, settled))
    return " · ".join(parts)


def _once(name: str, settled: int) -> str:
    return f"{name} done" if settled else name
