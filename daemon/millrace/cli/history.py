"""
The history of a job in plain words: a line for each fact, in the order in which they happened. What the codes of the
ledger mean is said here; `--json` has the codes, and all the evidence, as they are.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.cli.output import plural
from millrace.cli.times import took
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from millrace.ledger.rows import AttemptRow, EventRow, JobRow

CUT_OFF: Final = "it was cut off when the daemon died; the next `millrace serve` takes the job back"
_DIED: Final = "daemon died"
_OUTCOMES: Final = {
    "succeeded": "succeeded{}",
    "retried": "failed{}, to be tried again",
    "lost": "was cut off when the daemon died; the job was queued again",
    "stopped": "was cancelled{}",
    "parked": "was put aside{}, which does not count as a failure",
}
_CAUSES: Final = {
    "out of retries": "no attempts are left",
    "gave up": "the job gave up",
    "never_on": "the task never retries this error",
    "crash": "the task is not to be repeated after a crash",
    "poison": "it has taken down its process three times",
    "result": "its work is done, repeating it cannot help",
    "arguments": "what it is called with does not fit",
}
_ENDINGS: Final = {"asking": "ended when asked", "TERM": "its process was terminated", "KILL": "its process was killed"}
_WAITS: Final = {
    "due": "waits for its time",
    "upstream": "waits for the jobs before it",
    "backoff": "waits before the next attempt",
    "breaker": "waits until {} can be called again",
    "rate": "waits, as {} takes no more calls for now",
    "limit": "waits for room",
    "paused": "waits, as its queue is paused",
    "unknown_task": "waits until the daemon knows its task: it reads job files when it starts",
    "payload": "waits until its task takes its payload again: the daemon reads job files when it starts",
    "answer": "waits for a person's answer",
    "doubt": "waits for a person to say whether its work was done",
}
_EVENTS: Final = {
    "cancel": "cancelled by {}",
    "requeue": "put back on its queue by {}",
    "discard": "discarded by {}: it stays undone",
    "promote": "made ready by {}",
    "hold": "held by {}",
    "abandon": "given up by {}, as it waited too long",
    "answer": "answered by {}",
}
_READY: Final = {"unknown_task": "its task is known now", "payload": "its payload fits now"}
_LONGEST: Final = 200  # characters of an error in a line; the last one is shown in full below
# What is said in words above, what the error says already, and what only a debugger would ask for.
_TOLD: Final = frozenset(
    {"attempt", "why", "cause", "taken_back_by", "thread", "while", "pid", "signal", "exit_code", "oom", "ended_by"}
    | {
        "cpu_s",
        "rss_kb",
        "killed",
        "decisions",
        "decided",
        "waits",
        "until",
        "daemon_pid",
        "daemon_heard_at",
        "in_thread",
    }
)


class Line(NamedTuple):
    """One fact: when (UTC epoch ms), its rank among those of the same moment, and the words."""

    at: int
    rank: int
    words: str


def history(
    job: JobRow, attempts: Sequence[AttemptRow], events: Sequence[EventRow], now_ms: int, *, served: bool
) -> list[Line]:
    """
    Return what happened to a job, in order, and last what it waits for.

    Args:
        served: Whether a daemon runs: without one, a running attempt was cut off.
    """
    lines = [Line(job.created_at, -1, "accepted")]
    for attempt in attempts:
        lines.append(Line(attempt.started_at, 4 * attempt.attempt, f"attempt {attempt.attempt} started"))
        if attempt.ended_at is not None:
            lines.append(Line(attempt.ended_at, 4 * attempt.attempt + 1, _ending(attempt)))
    if job.status == Status.RUNNING and job.started_at is not None:
        state = f"started; {CUT_OFF}" if not served else "started, still running"
        lines.append(Line(job.started_at, 4 * job.attempt, f"attempt {job.attempt} {state}"))
    lines += _decisions(events, attempts)
    lines += _present(job, now_ms)
    return sorted(lines, key=lambda line: line[:2])


def _decisions(events: Sequence[EventRow], attempts: Sequence[AttemptRow]) -> Iterator[Line]:
    known = {attempt.attempt for attempt in attempts}
    for event in events:
        if event.event in {"release", "stop"} and event.facts.get("attempt") in known:
            continue  # the line of that attempt tells it
        before = sum(attempt.started_at < event.at for attempt in attempts)
        yield Line(event.at, 4 * before + 2, _decision(event))


def _present(job: JobRow, now_ms: int) -> Iterator[Line]:
    last = 4 * job.attempt + 3
    if job.status == Status.WAITING:
        yield Line(max(now_ms, job.created_at), last, waits(job.reason or ""))
    elif job.status == Status.DEAD and not job.attempt and job.finished_at is not None:
        yield Line(job.finished_at, last, "dead: the item that came for it does not fit, so there was nothing to run")
    elif job.status == Status.QUEUED:
        yield Line(max(now_ms, job.created_at), last, "queued: waits for a worker")


def waits(reason: str) -> str:
    """Return why a job waits, in words; the reason may carry a name, as in `breaker:crm`."""
    code, _, name = reason.partition(":")
    return _WAITS.get(code, f"waits: {reason}").format(name)


def _ending(attempt: AttemptRow) -> str:
    words = f"attempt {attempt.attempt} {_outcome(attempt)}"
    if attempt.error:
        message = attempt.error.message
        short = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"
        words += f": {attempt.error.type}: {short}"
    return words + _evidence(attempt)


def _outcome(attempt: AttemptRow) -> str:
    after = f" after {took(attempt.duration_s)}" if attempt.duration_s is not None else ""
    match attempt.outcome:
        case "gave_up":
            cause = str(attempt.facts.get("cause", ""))
            return f"failed{after}, for good" + (f" ({_CAUSES.get(cause, cause)})" if cause else "")
        case "released":
            return f"{_released(attempt, after)}; the job was queued again"
        case "stopped" if attempt.facts.get("why") == _DIED:
            return "was cut off when the daemon died; the job was cancelled"
        case "stopped" if attempt.facts.get("why") == "superseded":
            return "did not begin: a later edition of its run collects anew; the job was cancelled"
        case "parked" if "waits" in attempt.facts:
            return f"{_OUTCOMES['parked'].format(after)}: it {waits(str(attempt.facts['waits']))}"
        case outcome:
            return _OUTCOMES.get(outcome, f"ended as {outcome}{{}}").format(after)


def _released(attempt: AttemptRow, after: str) -> str:
    why = attempt.facts.get("why", "shutdown")
    if why == "ahead":
        return "was handed back: claimed ahead of its turn, which did not come, since those before it took long"
    if why != "shutdown":
        return f"was handed back{after} ({why})"
    if "thread" in attempt.facts:
        return "did not end when the daemon stopped"
    if not attempt.duration_s:
        return "had not begun when the daemon stopped"
    return f"was interrupted{after}, as the daemon stopped"


def _evidence(attempt: AttemptRow) -> str:
    """Say how an attempt was ended, and name what there are no words for."""
    facts = attempt.facts
    parts = []
    if attempt.outcome != "succeeded" and facts.get("ended_by") in _ENDINGS:
        parts.append(_ENDINGS[facts["ended_by"]])
    if facts.get("killed"):
        parts.append(f"{plural(facts['killed'], 'process', 'processes')} that it had started killed with it")
    parts += _decided(facts)
    parts += [_named(facts)] if _named(facts) else []
    return f" ({'; '.join(parts)})" if parts else ""


def _decided(facts: Mapping[str, Any]) -> list[str]:
    """Say which rows of the decision tables decided what: `rules segment: row 2 gave "enterprise"`."""
    told = []
    for one in facts.get("decisions", ()):
        rows = ", ".join(map(str, one["rows"]))
        which = f"{'row' if len(one['rows']) == 1 else 'rows'} {rows}" if rows else "no row"
        which += f" and {one['more']:,} more" if "more" in one else ""
        told.append(f"rules {one['rules']}: {which} gave {json.dumps(one['outcome'], ensure_ascii=False)}")
    more = facts.get("decided", 0) - len(told)
    return [*told, f"{more:,} more decisions"] if more > 0 else told


def _decision(event: EventRow) -> str:
    if event.event == "cancel" and event.facts.get("while") == "running":
        words = f"{event.actor} asked for its end"
    else:
        words = _EVENTS.get(event.event, event.event.replace("_", " ") + " by {}").format(event.actor)
    more = _named(event.facts)
    reason = _READY.get(event.reason or "", event.reason) if event.event == "promote" else event.reason
    return words + (f": {reason}" if reason else "") + (f" ({more})" if more else "")


def _named(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items() if name not in _TOLD)
