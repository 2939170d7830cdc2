"""Why a job ran more than once, or not at all yet: a sentence for each attempt that is over and each decision. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.clock import MS
from millrace.observe.explain import Because, clock_time, lasted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.ledger.rows import AttemptRow, EventRow, JobRow

MOST: Final = 8  # sentences about the past; who wants all of them reads `jobs show`

WAITS: Final = {
    "due": "for its time",
    "upstream": "for what it needs of its run",
    "backoff": "before its next attempt",
    "breaker": "until {} can be called again",
    "rate": "as {} takes no more calls for now",
    "limit": "for room",
    "paused": "as its queue is paused",
    "unknown_task": "for its task, which the daemon does not know",
    "payload": "for a task that takes its payload, which no longer fits the code that the daemon has read",
    "answer": "for a person's answer",
    "doubt": "for a person to say whether its work was done",
}
_EVENTS: Final = {
    "cancel": "It was cancelled by {}",
    "requeue": "It was put back on its queue by {}, with a clean account of failures",
    "discard": "It was discarded by {}: it stays undone",
    "promote": "It was made ready by {}",
    "hold": "It was held by {}",
    "abandon": "It was given up by {}, as it waited too long",
    "answer": "It was answered by {}",
    "orphan": "The daemon found that it would never have gone on by itself",
}


def past(job: JobRow, attempts: Sequence[AttemptRow], events: Sequence[EventRow]) -> list[Because]:
    """Return what happened to a job before now, in order: the newest few. How it ended is told as what it is now."""
    said = [Because(job.created_at, "accepted", f"It was accepted from {_source(job)}.")]
    told = [*_attempts(job, attempts), *_decisions(attempts, events)]
    told.sort(key=lambda one: one.at or 0)
    if len(told) > MOST:
        count = len(told) - MOST
        told = told[count:]
        said.append(Because(told[0].at, "earlier", f"Before that, {count} more are in: millrace jobs show {job.id}"))
    return said + told


def waits_for(reason: str) -> str:
    """Return what a job waits for: "before its next attempt"; the reason may carry a name, as in `breaker:crm`."""
    code, _, name = reason.partition(":")
    return WAITS.get(code, f"as {reason}").format(name or "its service")


def _source(job: JobRow) -> str:
    return " ".join(filter(None, (job.source.kind, job.source.name)))


def _attempts(job: JobRow, attempts: Sequence[AttemptRow]) -> Iterator[Because]:
    last = attempts[-1].attempt if attempts else 0
    for one in attempts:
        if one.attempt == last and one.outcome in {"gave_up", "succeeded"} and job.status in {"dead", "succeeded"}:
            continue  # that is what it is now
        code, text = attempt_words(one)
        yield Because(one.ended_at, f"attempt.{code}", f"Attempt {one.attempt} {text}")


def attempt_words(one: AttemptRow) -> tuple[str, str]:
    """Return how an attempt ended: a code, and a sentence that goes on after "Attempt 3"."""
    after = "" if one.duration_s is None else f" after {lasted(round(one.duration_s * MS))}"
    match one.outcome:
        case "retried" | "gave_up":
            return _failed(one, after)
        case "lost":
            return "lost", _lost(one)
        case "parked":
            return "parked", _parked(one, after)
        case "released":
            return "released", f"was handed back{after}, as {_why(one)}; that costs nothing."
        case "stopped":
            why = str(one.facts.get("why", ""))
            return "stopped", _STOPPED.get(why, f"was ended{after}, as it was cancelled.")
        case outcome:
            return outcome, f"{outcome.replace('_', ' ')}{after}."


def _failed(one: AttemptRow, after: str) -> tuple[str, str]:
    facts, error = one.facts, one.error
    cause = f": {error.type}: {error.message}" if error else ""
    tail = f". The next was due at {clock_time(facts['until'])}." if facts.get("until") else "."
    if "signal" in facts and "exit_code" in facts and not facts.get("ended_by"):
        memory = ", for want of memory" if facts.get("oom") else ""
        end = facts["signal"] or f"exit code {facts['exit_code']}"
        return "crashed", f"lost its process{after}: pid {facts.get('pid')} ended by {end}{memory}{tail}"
    if error is not None and error.type == "Timeout":
        return "timeout", f"was ended as its time was up{after}{tail}"
    return "failed", f"failed{after}{cause}{tail}"


def _lost(one: AttemptRow) -> str:
    facts = one.facts
    pid = f" (pid {facts['daemon_pid']})" if facts.get("daemon_pid") else ""
    heard = f", last heard of at {clock_time(facts['daemon_heard_at'])}" if facts.get("daemon_heard_at") else ""
    return f"was cut off: its daemon{pid} died{heard}. The next daemon took the job back; that costs nothing."


def _parked(one: AttemptRow, after: str) -> str:
    reason, until = str(one.facts.get("waits") or ""), one.facts.get("until")
    what = waits_for(reason) if reason else "for what it could not go on without"
    return f"was put aside{after}, to wait {what}" + (f", until {clock_time(until)}" if until else "") + "."


_STOPPED: Final = {
    "daemon died": "was cut off when its daemon died.",
    "superseded": "did not begin: a later edition of its run collects anew.",
}
_RELEASED: Final = {
    "shutdown": "the daemon stopped",
    "orphan": "nobody ran it any more",
    "ahead": "those before it took longer than was thought when it was claimed",
}


def _why(one: AttemptRow) -> str:
    why = str(one.facts.get("why", "shutdown"))
    return _RELEASED.get(why, why)


def _decisions(attempts: Sequence[AttemptRow], events: Sequence[EventRow]) -> Iterator[Because]:
    known = {one.attempt for one in attempts}
    for event in events:
        if event.event in {"release", "stop"} and event.facts.get("attempt") in known:
            continue  # its attempt tells it
        if event.event == "cancel" and event.facts.get("while") == "running":
            words = f"{event.actor} asked for its end"
        else:
            words = _EVENTS.get(event.event, event.event.replace("_", " ") + " by {}").format(event.actor)
        why = f" ({event.reason})" if event.reason else ""
        until = f", until {clock_time(event.facts['until'])}" if event.facts.get("until") else ""
        yield Because(event.at, f"event.{event.event}", f"{words}{why}{until}.")
