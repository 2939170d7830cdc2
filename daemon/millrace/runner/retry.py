"""
Whether a job gets another attempt, and when. Pure: verdict, counts, policy and a moment in; an outcome out.

    verdict                       outcome
    ok                            Succeeded
    gave_up                       GaveUp      gave up, a result that is no JSON, a stage's arguments that do not fit
    failed, never_on/retry_on     GaveUp      never_on
    crashed, on_crash="fail"      GaveUp      crash
    crashed for the third time    GaveUp      poison
    … with failures at the bound  GaveUp      out of retries
    failed, crashed, lost,        RetryAt     now + backoff with full jitter, or the job's own delay
      timeout, retry_later
    parked, unknown_task,         ParkedUntil costs nothing
      payload, no_child
    interrupted                   Interrupted costs nothing
    cancelled                     Stopped
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.clock import MS
from millrace.ledger.rows import JobError
from millrace.runner.outcome import GaveUp, Interrupted, Outcome, ParkedUntil, RetryAt, Stopped, Succeeded

if TYPE_CHECKING:
    from random import Random

    from millrace.ledger.rows import Claim
    from millrace.runner.policy import RunPolicy
    from millrace.runner.verdict import Verdict

POISON_AT: Final = 3
NO_CHILD_S: Final = 5.0
_DOUBLINGS: Final = 64  # beyond any cap: keeps 2**n a small number


def backoff_s(failures: int, base_s: float, cap_s: float, rng: Random) -> float:
    """
    Return how long to wait after a failure: full jitter, so that jobs that failed together do not return together.

    Args:
        failures: How often the job has failed by now, ≥ 1.
        base_s: Bound after the first failure, in seconds; it doubles with each.
        cap_s: Bound of the bound, in seconds.
    Returns: Seconds, uniform between 0 and min(cap, base · 2^(failures−1)).
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return rng.uniform(0.0, min(cap_s, base_s * 2 ** min(failures - 1, _DOUBLINGS)))


def decide(verdict: Verdict, held: Claim, policy: RunPolicy, *, now_ms: int, rng: Random) -> Outcome:
    """Return what becomes of the job."""
    match verdict.kind:
        case "ok":
            return Succeeded(verdict.result)
        case "interrupted":
            return Interrupted(verdict.reason or "shutdown")
        case "cancelled":
            return Stopped()
        case "parked" | "unknown_task" | "payload" | "no_child":
            return _parked(verdict, now_ms)
        case "gave_up":
            return GaveUp(_error(verdict), cause=verdict.reason or "gave up")
        case _:
            return _failed(verdict, held, policy, now_ms=now_ms, rng=rng)


def _parked(verdict: Verdict, now_ms: int) -> ParkedUntil:
    if verdict.kind == "no_child":
        return ParkedUntil("limit", now_ms + round(NO_CHILD_S * MS))
    due_at = None if verdict.after_s is None else now_ms + round(verdict.after_s * MS)
    if verdict.kind == "payload":
        return ParkedUntil("payload", due_at, verdict.error)  # which field it is, is asked for days later
    return ParkedUntil(verdict.reason if verdict.kind == "parked" else verdict.kind, due_at)


def _failed(verdict: Verdict, held: Claim, policy: RunPolicy, *, now_ms: int, rng: Random) -> Outcome:
    crashed, failures, error = verdict.kind == "crashed", held.failures + 1, _error(verdict)
    cause = _final(verdict, held, policy)
    if cause:
        return GaveUp(error, cause=cause, crashed=crashed)
    delay = verdict.after_s
    if delay is None:
        delay = backoff_s(failures, policy.backoff_base_s, policy.backoff_cap_s, rng)
    return RetryAt(error, due_at=now_ms + round(delay * MS), crashed=crashed)


def _final(verdict: Verdict, held: Claim, policy: RunPolicy) -> str | None:
    """Return why there is no further attempt; None when there is one. The most telling reason comes first."""
    if verdict.kind == "crashed":
        if policy.on_crash == "fail":
            return "crash"
        if held.crashes + 1 >= POISON_AT:
            return "poison"
    if not verdict.retryable:
        return "never_on"
    return "out of retries" if held.failures + 1 >= held.max_attempts else None


def _error(verdict: Verdict) -> JobError:
    return verdict.error or JobError("Error", f"the attempt ended as {verdict.kind} and said no more")
