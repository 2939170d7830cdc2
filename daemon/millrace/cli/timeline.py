"""What happened to one job, as a person reads it: its facts, its history in order, the last error."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Final

from millrace.cli.effects import effect_lines
from millrace.cli.filters import status_words
from millrace.cli.history import history
from millrace.cli.output import colored, plain, plain_lines, plural
from millrace.cli.table import terminal_width
from millrace.cli.times import ago
from millrace.clock import MS, format_duration, rfc3339
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.ledger.effect_rows import EffectRow
    from millrace.ledger.rows import AttemptRow, EventRow, JobRow

_LABEL: Final = 12
_LONGEST: Final = 2000
_MARGIN: Final = 13  # before the words of the history
_NARROWEST: Final = 30


def job_text(
    job: JobRow,
    attempts: Sequence[AttemptRow],
    events: Sequence[EventRow],
    now_ms: int,
    *,
    served: bool = True,
    progress: str = "",
    effects: Sequence[EffectRow] = (),
) -> str:
    """
    Return all that `jobs show` tells of a job.

    Args:
        served: Whether a daemon runs.
        progress: How far the job said last that it was; empty when it has not said.
        effects: What it did to the outside world with `once`.
    """
    lines = history(job, attempts, events, now_ms, served=served)
    facts = [*_facts(job, now_ms), *([fact("progress", progress)] if progress else [])]
    parts = [_head(job), *facts, "", colored_title("History")]
    parts += [f"  {_offset(line.at - job.created_at):>9}  {_folded(line.words)}" for line in lines]
    if effects:
        parts += ["", colored_title("Effects"), *(f"  {line}" for line in effect_lines(effects))]
    if job.error:
        parts += ["", colored_title("Last error" if job.status != Status.SUCCEEDED else "Last error, since overcome")]
        parts += [f"  {line}" for line in _error_lines(job)]
    return "\n".join(parts)


def colored_title(words: str) -> str:
    """Return the title of a part."""
    from click import style

    return style(words, bold=True)


def _head(job: JobRow) -> str:
    return f"{job.id}  {colored_title(plain(job.task))}  {colored(status_words(job), job.status)}"


def _facts(job: JobRow, now_ms: int) -> Iterator[str]:
    source = " ".join(filter(None, (job.source.kind, job.source.name)))
    if job.run_id is not None:
        yield fact("run", f"{job.run_id}, {place_words(job)}")
    yield fact("queue", f"{job.queue}, priority {job.priority}" if job.priority else job.queue)
    yield fact("client", job.client)
    yield fact("from", source)
    yield fact("created", moment(job.created_at, now_ms))
    if job.status == Status.WAITING and job.due_at is not None:
        yield fact("due", moment(job.due_at, now_ms))
    if job.finished_at is not None:
        yield fact("finished", moment(job.finished_at, now_ms))
    yield fact("failures", f"{job.failures} of {job.max_attempts} that it may have" + _crashes(job))
    if job.key is not None:
        yield fact("key", job.key)
    yield fact("arguments" if job.run_id is not None else "payload", shortened(job.payload))
    if job.result is not None:
        yield fact("result", shortened(job.result))


def place_words(job: JobRow) -> str:
    """Return where in its run a job stands: "points, record 17"."""
    stage = job.stage or ""
    if job.record is None:
        return stage
    return f"{stage}, edition {job.record[1:]}" if job.record.startswith("@") else f"{stage}, record {job.record}"


def _crashes(job: JobRow) -> str:
    return f", {plural(job.crashes, 'crash', 'crashes')}" if job.crashes else ""


def fact(label: str, words: str) -> str:
    """Return a line with a fact: its label, then the words."""
    return f"  {label:<{_LABEL}}{plain(words)}"


def moment(ms: int, now_ms: int) -> str:
    """Return a moment in full, and as seen from now."""
    return f"{rfc3339(ms)} ({ago(ms, now_ms)})"


def shortened(text: str) -> str:
    """Return as much of a long text as a person would read."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters; --json shows all)"


def _folded(words: str) -> str:
    """Break a long line of the history below its own beginning; a pipe gets it whole."""
    width = terminal_width()
    if width is None:
        return plain(words)
    return f"\n{' ' * _MARGIN}".join(wrap(plain(words), max(_NARROWEST, width - _MARGIN)))


def _offset(ms: int) -> str:
    return f"+{format_duration(ms / MS)}" if ms >= 0 else f"-{format_duration(-ms / MS)}"


def _error_lines(job: JobRow) -> list[str]:
    if job.error is None:
        return []
    headline = f"{job.error.type}: {job.error.message}"
    return plain_lines(job.error.traceback or headline)
