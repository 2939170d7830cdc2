from __future__ import annotations

from random import Random

import pytest

from millrace.ledger.rows import Claim, JobError
from millrace.runner.outcome import GaveUp, Interrupted, ParkedUntil, RetryAt, Stopped, Succeeded
from millrace.runner.policy import RunPolicy
from millrace.runner.retry import backoff_s, decide
from millrace.runner.verdict import Verdict

NOW = 1_000_000
ERROR = JobError("E", "no")


def held(*, failures: int = 0, crashes: int = 0, max_attempts: int = 4) -> Claim:
    """Return a claim with this history."""
    return Claim("j", "t", "q", "default", 1, failures, crashes, 0, max_attempts, "{}", "c", 0, 0)


def after(verdict: Verdict, claim: Claim, policy: RunPolicy | None = None) -> object:
    """Return what becomes of the job."""
    return decide(verdict, claim, policy or RunPolicy(), now_ms=NOW, rng=Random(0))


@pytest.mark.parametrize(
    ("failures", "bound"), [(1, 10.0), (2, 20.0), (3, 40.0), (7, 640.0), (8, 900.0), (5000, 900.0)]
)
def test_the_delay_doubles_up_to_its_cap_and_is_spread_over_all_of_it(failures: int, bound: float) -> None:
    """Full jitter: jobs that failed together must not come back together; no count of failures overflows."""
    drawn = [backoff_s(failures, 10.0, 900.0, Random(seed)) for seed in range(500)]

    assert 0 <= min(drawn) < bound * 0.05
    assert bound * 0.95 < max(drawn) <= bound


def test_a_failure_within_its_attempts_is_retried_after_the_backoff() -> None:
    """A failure costs one of `max_attempts`."""
    outcome = after(Verdict("failed", error=ERROR), held(failures=2))

    assert isinstance(outcome, RetryAt)
    assert NOW <= outcome.due_at <= NOW + 40_000
    assert not outcome.crashed


@pytest.mark.parametrize("kind", ["failed", "crashed", "timeout", "lost", "retry_later"])
def test_the_last_failure_of_any_kind_is_final(kind: str) -> None:
    """No way to fail is free, so that no job retries for ever."""
    assert after(Verdict(kind, error=ERROR), held(failures=3)) == GaveUp(ERROR, "out of retries", kind == "crashed")


def test_a_jobs_own_delay_replaces_the_backoff() -> None:
    """It knows better when the other side is back."""
    assert after(Verdict("retry_later", error=ERROR, after_s=60), held()) == RetryAt(ERROR, NOW + 60_000)


def test_what_the_task_never_retries_is_final() -> None:
    """An attempt more would fail the same way."""
    assert after(Verdict("failed", error=ERROR, retryable=False), held()) == GaveUp(ERROR, "never_on")


@pytest.mark.parametrize(("crashes", "cause"), [(0, None), (1, None), (2, "poison"), (7, "poison")])
def test_the_third_crash_of_its_own_child_is_poison(crashes: int, cause: str | None) -> None:
    """Whatever retries are left: it takes processes down."""
    outcome = after(Verdict("crashed", error=ERROR), held(crashes=crashes, max_attempts=100))

    assert (outcome.cause if isinstance(outcome, GaveUp) else None) == cause
    assert isinstance(outcome, GaveUp | RetryAt)
    assert outcome.crashed


def test_a_task_may_refuse_to_run_again_after_a_crash() -> None:
    """Nobody knows how far it came."""
    assert after(Verdict("crashed", error=ERROR), held(), RunPolicy(on_crash="fail")) == GaveUp(
        ERROR, "crash", crashed=True
    )


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Verdict("ok", result="1"), Succeeded("1")),
        (Verdict("interrupted"), Interrupted("shutdown")),
        (Verdict("cancelled"), Stopped()),
        (Verdict("unknown_task"), ParkedUntil("unknown_task", None)),
        (Verdict("payload", error=ERROR), ParkedUntil("payload", None, ERROR)),
        (Verdict("gave_up", error=ERROR, reason="arguments"), GaveUp(ERROR, "arguments")),
        (Verdict("no_child"), ParkedUntil("limit", NOW + 5_000)),
        (Verdict("parked", reason="breaker:crm", after_s=2), ParkedUntil("breaker:crm", NOW + 2_000)),
        (Verdict("parked", reason="doubt"), ParkedUntil("doubt", None)),
        (Verdict("gave_up", error=ERROR, reason="result"), GaveUp(ERROR, "result")),
    ],
)
def test_what_is_no_failure_costs_nothing(verdict: Verdict, outcome: object) -> None:
    """Even with the last attempt: only failures are counted."""
    assert after(verdict, held(failures=3)) == outcome
