"""What `runs show` tells of one run, as a person reads it: its facts, its stages with their counts, what died in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.cli.filters import error_words
from millrace.cli.history import waits
from millrace.cli.output import colored, plain, plural
from millrace.cli.progress import progress_words
from millrace.cli.stages import runs_words
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.timeline import colored_title, fact, moment, place_words, shortened
from millrace.cli.times import ago, took
from millrace.clock import MS
from millrace.observe.explain_dead import BAD_ITEM, is_bad_item

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.ledger.rows import JobRow
    from millrace.ledger.run_rows import RunRow
    from millrace.ledger.run_view import RunView

# `skipped` is no status of a job: a skip is a row of the run.
_COUNTED: Final = ("waiting", "queued", "running", "succeeded", "dead", "cancelled", "skipped")
_STAGES: Final = (
    Column("  STAGE"),
    Column("RUNS", optional=True),
    Column("RECORDS", right=True, optional=True, first=True),
)
_DEAD: Final = (
    Column("  ID"),
    Column("STAGE", elastic=True),
    Column("RECORD", right=True),
    Column("DIED", right=True, optional=True),
    Column("ERROR", elastic=True),
)


def run_text(view: RunView, now_ms: int) -> str:
    """Return all that `runs show` tells of a run."""
    run = view.run
    parts = [_head(run), *_facts(run, now_ms), "", stage_counts(view)]
    if view.results:
        parts += ["", result_lines(view)]
    if view.working:
        parts += ["", colored_title("At work"), *_working(view, now_ms)]
    if view.waiting:
        parts += ["", colored_title("Waiting"), *_waiting(view, now_ms)]
    if view.dead:
        parts += ["", *_dead(view, now_ms)]
    return "\n".join(parts)


def run_words(run: RunRow) -> str:
    """Return a run's status as people read it."""
    return "running: to be cancelled" if run.status == "running" and run.cancel_requested else run.status


def count_of(run: RunRow, status: str) -> int:
    """Return how many jobs of a run have a status, by its counters."""
    return sum(of_stage.get(status, 0) for of_stage in run.counts.values())


def duration_s(run: RunRow, now_ms: int) -> float:
    """Return for how long a run has lasted, or did."""
    return max(0, (run.finished_at or now_ms) - run.created_at) / MS


def stage_counts(view: RunView) -> str:
    """Return the stages of a run with their counts, as a table; statuses that nothing has are left out."""
    counts = view.run.counts
    found = {status for of_stage in counts.values() for status, count in of_stage.items() if count}
    shown = [status for status in _COUNTED if status in found or status == "succeeded"]
    columns = (*_STAGES, *(Column(status.upper(), right=True) for status in shown))
    rows = [
        (
            f"  {stage.name}",
            runs_words(stage.kind, stage.fanout),
            f"{view.run.records.get(stage.name, 0):,}" if stage.kind == "fanout" else "",
            *(_count(counts.get(stage.name, {}).get(status, 0)) for status in shown),
        )
        for stage in view.stages
    ]
    return table(columns, rows, terminal_width())


def result_lines(view: RunView) -> str:
    """Return what a run came to, a line for each of its own last stages."""
    names = max(len(name) for name in view.results)
    lines = [f"  {plain(name):<{names}}  {plain(shortened(text))}" for name, text in view.results.items()]
    return "\n".join([colored_title("Result" if len(lines) == 1 else "Results"), *lines])


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _head(run: RunRow) -> str:
    return f"{run.id}  {colored_title(plain(run.pipeline))}  {colored(run_words(run), run.status)}"


def _facts(run: RunRow, now_ms: int) -> Iterator[str]:
    yield fact("client", run.client)
    yield fact("from", " ".join(filter(None, (run.source.kind, run.source.name))))
    yield fact("inputs", shortened(run.inputs))
    yield fact("created", moment(run.created_at, now_ms))
    if run.finished_at is not None:
        yield fact("finished", moment(run.finished_at, now_ms))
        yield fact("took", took(duration_s(run, now_ms)))
    if run.key is not None:
        yield fact("key", run.key)
    if run.edition > 1:
        yield fact("edition", f"{run.edition}: what follows the records was made anew, after dead ones were mended")


def _working(view: RunView, now_ms: int) -> Iterator[str]:
    for job, progress in view.working:
        yield f"  {job.id}  {plain(place_words(job))}  {progress_words(progress, now_ms)}".rstrip()


def _waiting(view: RunView, now_ms: int) -> Iterator[str]:
    for job in view.waiting:
        when = f", {ago(job.due_at, now_ms)}" if job.due_at is not None else ""
        why = f": {error_words(job)}" if job.error else ""
        yield f"  {job.id}  {plain(place_words(job))}  {waits(job.reason or '')}{when}{plain(why)}"


def _dead(view: RunView, now_ms: int) -> Iterator[str]:
    count = count_of(view.run, "dead")
    more = "" if count <= len(view.dead) else f", the newest {len(view.dead)}"
    yield f"{colored_title('Dead')}, {plural(count, 'job')}{more} (millrace dead show ID)"
    yield dead_of_run(view.dead, now_ms)
    if any(map(is_bad_item, view.dead)):
        yield BAD_ITEM
    if view.run.status != "running":
        yield f"Put them back when the cause is mended: millrace runs resume {view.run.id}"


def dead_of_run(jobs: Sequence[JobRow], now_ms: int) -> str:
    """Return what died in a run as a table."""
    rows = [
        (f"  {job.id}", job.stage or "", job.record or "", ago(job.finished_at, now_ms), error_words(job))
        for job in jobs
    ]
    return table(_DEAD, rows, terminal_width())
