"""What happened to one job, as a person reads it: its facts, its history in order, the last error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.cli.filters import status_words
from millrace.cli.output import colored, plain, plain_lines, plural
from millrace.cli.times import ago, took
from millrace.clock import MS, format_duration, rfc3339
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from millrace.ledger.rows import AttemptRow, EventRow, JobRow

_LABEL: Final = 12
_LONGEST: Final = 2000
_OUTCOMES: Final = {
    "succeeded": "succeeded{}",
    "retried": "failed{}, to be tried again",
    "gave_up": "failed{}, for good",
    "parked": "put aside{}, at no cost",
    "released": "handed back{}, at no cost",
    "stopped": "stopped{}, as it was cancelled",
}
_EVENTS: Final = {
    "cancel": "cancelled",
    "requeue": "put back on its queue",
    "discard": "discarded",
    "promote": "made ready",
    "hold": "held",
    "abandon": "given up, it waited too long",
    "answer": "answered",
    "pause": "paused",
}


def job_text(job: JobRow, attempts: Sequence[AttemptRow], events: Sequence[EventRow], now_ms: int) -> str:
    """Return all that `jobs show` tells of a job."""
    parts = [_head(job), *_facts(job, now_ms), "", colored_title("History"), *_history(job, attempts, events, now_ms)]
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
    yield _fact("queue", f"{job.queue}, priority {job.priority}" if job.priority else job.queue)
    yield _fact("client", job.client)
    yield _fact("from", source)
    yield _fact("created", _moment(job.created_at, now_ms))
    if job.status == Status.WAITING and job.due_at is not None:
        yield _fact("due", _moment(job.due_at, now_ms))
    if job.finished_at is not None:
        yield _fact("finished", _moment(job.finished_at, now_ms))
    yield _fact("failures", f"{job.failures} of {job.max_attempts} that it may have" + _crashes(job))
    if job.key is not None:
        yield _fact("key", job.key)
    yield _fact("payload", _shortened(job.payload))
    if job.result is not None:
        yield _fact("result", _shortened(job.result))


def _crashes(job: JobRow) -> str:
    return f", {plural(job.crashes, 'crash', 'crashes')}" if job.crashes else ""


def _fact(label: str, words: str) -> str:
    return f"  {label:<{_LABEL}}{plain(words)}"


def _moment(ms: int, now_ms: int) -> str:
    return f"{rfc3339(ms)} ({ago(ms, now_ms)})"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters; --json shows all)"


def _history(job: JobRow, attempts: Sequence[AttemptRow], events: Iterable[EventRow], now_ms: int) -> Iterator[str]:
    """Yield the history, each line with its distance from the job's creation."""
    lines = [(job.created_at, 0, "accepted")]
    for attempt in attempts:
        lines.append((attempt.started_at, 1, f"attempt {attempt.attempt} started"))
        if attempt.ended_at is not None:
            lines.append((attempt.ended_at, 2, _ending(attempt)))
    lines += [(event.at, 3, _event(event)) for event in events]
    if job.status == Status.RUNNING and job.started_at is not None:
        lines.append((job.started_at, 1, f"attempt {job.attempt} started, still running"))
    lines += _present(job, now_ms)
    for at, _, words in sorted(lines, key=lambda line: line[:2]):
        yield f"  {_offset(at - job.created_at):>9}  {plain(words)}"


def _present(job: JobRow, now_ms: int) -> list[tuple[int, int, str]]:
    if job.status == Status.WAITING:
        until = f", until {_moment(job.due_at, now_ms)}" if job.due_at is not None else ""
        return [(now_ms, 9, f"waits: {job.reason}{until}")]
    return [(now_ms, 9, "queued: waits for a worker")] if job.status == Status.QUEUED else []


def _offset(ms: int) -> str:
    return f"+{format_duration(ms / MS)}" if ms >= 0 else f"-{format_duration(-ms / MS)}"


def _ending(attempt: AttemptRow) -> str:
    after = f" after {took(attempt.duration_s)}" if attempt.duration_s is not None else ""
    words = f"attempt {attempt.attempt} " + _OUTCOMES.get(attempt.outcome, attempt.outcome + "{}").format(after)
    if attempt.error:
        words += f": {attempt.error.type}: {attempt.error.message}"
    return words + _told(attempt.facts)


def _event(event: EventRow) -> str:
    words = f"{_EVENTS.get(event.event, event.event.replace('_', ' '))} by {event.actor}"
    return words + (f": {event.reason}" if event.reason else "") + _told(event.facts)


def _told(facts: Mapping[str, object]) -> str:
    return f" ({', '.join(f'{name} {value}' for name, value in facts.items())})" if facts else ""


def _error_lines(job: JobRow) -> list[str]:
    if job.error is None:
        return []
    headline = f"{job.error.type}: {job.error.message}"
    return plain_lines(job.error.traceback or headline)
