"""
What one attempt came to, before anything is decided about it: the child says it (`done`), or the supervisor does when
the child cannot. `retry.decide` turns a verdict into an outcome.

    ok            result                        gave_up      GiveUp, or a result that is no JSON: never again
    failed        an exception; retryable?      retry_later  RetryLater: after_s
    crashed       its own child died            parked       Parked: reason, after_s; costs nothing
    lost          its child fell with another   interrupted  the daemon goes down
    timeout       its time was up               cancelled    somebody asked for it
    unknown_task · payload                      no_child     no process could be had
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from millrace.ledger.rows import JobError
from millrace.runner.protocol import Message, ProtocolError
from millrace.runner.stop import TIMEOUT, WHYS
from millrace.runner.text import MAX_TRACEBACK, MAX_TYPE, clean

if TYPE_CHECKING:
    from millrace.runner.life import Gone
    from millrace.runner.running import Live

KINDS: Final = frozenset(
    {"ok", "failed", "gave_up", "retry_later", "crashed", "lost", "timeout", "cancelled", "interrupted", "parked"}
    | {"unknown_task", "payload", "no_child"}
)
MAX_FACTS: Final = 32 * 2**10


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What one attempt came to.

    Args:
        kind: One of KINDS.
        result: JSON text, for `ok`.
        error: What went wrong.
        retryable: False when the exception is one that the task never retries on.
        after_s: Delay that the job asked for, in seconds.
        reason: For `parked` the waiting reason, for `gave_up` the cause, for `crashed` how it died.
        facts: Evidence for `explain`: pid, signal, exit code, what decision tables decided.
    """

    kind: str
    result: str | None = None
    error: JobError | None = None
    retryable: bool = True
    after_s: float | None = None
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def as_message(verdict: Verdict, *, clean_child: bool) -> Message:
    """Return the `done` message of a verdict; fields at their defaults are left out, as this is the hot line."""
    message: Message = {"m": "done", "v": verdict.kind}
    if verdict.result is not None:
        message["r"] = verdict.result
    if verdict.error is not None:
        message["e"] = [verdict.error.type, verdict.error.message, verdict.error.traceback]
    if not verdict.retryable:
        message["never"] = True
    if verdict.after_s is not None:
        message["after"] = verdict.after_s
    if verdict.reason:
        message["why"] = verdict.reason
    if verdict.facts:
        message["facts"] = verdict.facts
    if not clean_child:
        message["dirty"] = True
    return message


def from_message(message: Message, facts: dict[str, Any]) -> Verdict:
    """
    Return the verdict of a `done` message, with the facts that the supervisor adds.

    Raises: ProtocolError if the child, which runs foreign code, made it up.
    """
    kind, result, after, own = message.get("v"), message.get("r"), message.get("after"), message.get("facts", {})
    fits = (
        isinstance(kind, str)
        and kind in KINDS
        and isinstance(result, str | None)
        and isinstance(after, int | float | None)
        and isinstance(own, dict)
        and len(to_json(own)) <= MAX_FACTS
    )
    if not fits:
        raise ProtocolError("a verdict with impossible fields")
    return Verdict(
        kind=str(kind),
        result=result,
        error=_error(message.get("e")),
        retryable=not message.get("never"),
        after_s=after,
        reason=clean(str(message["why"]), MAX_TYPE) if "why" in message else "",
        facts={**own, **facts},
    )


def _error(told: object) -> JobError | None:
    if told is None:
        return None
    if not (isinstance(told, list) and len(told) == 3):  # noqa: PLR2004 - type, message, traceback
        raise ProtocolError("a verdict with an impossible error")
    kind, message, trace = told
    return JobError(
        clean(str(kind), MAX_TYPE), clean(str(message)), None if trace is None else clean(str(trace), MAX_TRACEBACK)
    )


def unasked(verdict: Verdict) -> Verdict:
    """Turn a stop that nobody here ordered into a failure: for free, a job that TERMs itself would run for ever."""
    if verdict.kind not in WHYS:
        return verdict
    error = JobError("Terminated", "the attempt was ended by a signal, or an exception, that the daemon did not send")
    return Verdict("failed", error=error, facts=verdict.facts)


def stopped(asked: str, verdict: Verdict, live: Live, facts: dict[str, Any]) -> Verdict:
    """Return the verdict of an attempt that ended because it was asked to."""
    if asked != TIMEOUT:
        return Verdict(asked, facts=facts)
    allowed = "" if live.deadline is None or live.started is None else f" after {live.deadline - live.started:.4g} s"
    trace = verdict.error.traceback if verdict.error else None
    return Verdict("timeout", error=JobError("Timeout", f"the attempt's time was up{allowed}", trace), facts=facts)


def fallen(pid: int, gone: Gone) -> Verdict:
    """Return the verdict on a job whose process fell while it ran."""
    if gone.status is None:
        error = JobError("ForkServerDied", "the process that all children descend from was killed")
        return Verdict("lost", error=error)
    how = gone.words()
    facts = {"pid": pid, "signal": gone.signal_name, "exit_code": gone.exit_code, **gone.facts}
    return Verdict("crashed", error=JobError("Crashed", f"the job's process {how}"), reason=how, facts=facts)
