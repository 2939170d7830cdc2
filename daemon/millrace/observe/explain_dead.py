"""Why a job is dead, and what would change that. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.errors import BadItem
from millrace.observe.explain import Because, Change, lasted, many
from millrace.observe.explain_past import attempt_words
from millrace.observe.explain_waits import Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.rows import AttemptRow, EventRow, JobRow

_RULES: Final = {
    "out of retries": "That used up the {max} that it may have",
    "gave up": "The job itself gave up, which no retry overrules",
    "never_on": "The task never retries this error: its never_on names it, or its retry_on does not",
    "crash": 'The task says on_crash="fail": after a crash it is not repeated',
    "poison": "It was put away as it took down its own process each time",
    "result": "Its work was done, but what it returned cannot be kept; repeating it cannot help",
    "arguments": "What the stages before it came to does not fit its parameters; repeating it cannot help",
}
_MEND: Final = {
    "out of retries": "Mend what the error names, or allow more retries in @task (then start the daemon anew).",
    "gave up": "Mend what it gave up for.",
    "never_on": "Mend the cause, or change never_on or retry_on in @task (then start the daemon anew).",
    "crash": "See that what it began is not done twice, and mend the cause of the crash.",
    "poison": "Find what brings its process down (a native library, its memory: [queues.{queue}] memory).",
    "result": "Let the task return what is JSON, of its own type and not too large (then start the daemon anew).",
    "arguments": "Let the stage take what the one before it returns (then start the daemon anew).",
}
BAD_ITEM: Final = (
    "An item that does not fit is kept as it came. Correct it at its source, and start a new run; or let the type of "
    "its stage take such items (then start the daemon anew)."
)


def is_bad_item(job: JobRow) -> bool:
    """Whether a dead job stands for an item of a fan-out that did not fit its type."""
    return job.error is not None and job.error.type == BadItem.__name__


def dead(job: JobRow, attempts: Sequence[AttemptRow], events: Sequence[EventRow]) -> Told:
    """Return why a job is dead."""
    decided = events[-1] if events and events[-1].event == "abandon" else None
    if decided is not None:
        text = f"It is dead: given up by {decided.actor}, as it waited too long."
        return Told(
            "dead.abandoned", [Because(job.finished_at, "dead.abandoned", text)], _cures(job, "It was too late.")
        )
    if is_bad_item(job):
        how = "" if job.attempt else " without an attempt"
        text = f"It is dead{how}: the item that came for it does not fit{_error(job)}."
        return Told("dead.bad_item", [Because(job.finished_at, "dead.bad_item", text)], _cures(job, BAD_ITEM))
    last = attempts[-1] if attempts else None
    cause = str(last.facts.get("cause", "")) if last else ""
    code = f"dead.{cause.replace(' ', '_') or 'failed'}"
    how = f"Attempt {last.attempt} {attempt_words(last)[1]}" if last else "Its last attempt failed."
    because = [Because(job.finished_at, code, f"It is dead. {how} {_rule(job, cause, attempts)}")]
    return Told(code, because, _cures(job, _MEND.get(cause, "Mend the cause.").format(queue=job.queue)))


def _error(job: JobRow) -> str:
    return f": {job.error.type}: {job.error.message}" if job.error else ""


def _rule(job: JobRow, cause: str, attempts: Sequence[AttemptRow]) -> str:
    words = _RULES.get(cause, "").format(
        max="one failure" if job.max_attempts == 1 else many(job.max_attempts, "failure")
    )
    if not words:
        return ""
    if cause == "poison":
        ends = [str(one.facts.get("signal") or f"exit code {one.facts.get('exit_code')}") for one in _crashed(attempts)]
        return f"{words} ({', '.join(ends)})."
    waits = [one.facts["until"] - one.ended_at for one in attempts if one.facts.get("until") and one.ended_at]
    waited = f", with waits of {', '.join(lasted(ms) for ms in waits[-5:])}" if waits else ""
    return f"{words}{waited}." if cause == "out of retries" else f"{words}."


def _crashed(attempts: Sequence[AttemptRow]) -> list[AttemptRow]:
    return [one for one in attempts if attempt_words(one)[0] == "crashed"]


def _cures(job: JobRow, mend: str) -> list[Change]:
    return [
        Change(mend),
        Change("Then put it back:", f"millrace dead retry {job.id}"),
        Change("Or decide that it stays undone:", f'millrace dead discard {job.id} --reason "why"'),
    ]
