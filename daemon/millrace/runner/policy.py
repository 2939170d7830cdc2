"""The policy of a task with its gaps filled from [defaults]: what a running attempt is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from millrace.define.policy import Policy


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """
    What one attempt is held to.

    Args:
        timeout_s: Seconds from the first line of the function to the order to stop, > 0; None means no bound.
        backoff_base_s: Bound of the delay after the first failure, in seconds, ≥ 0.
        backoff_cap_s: Bound of every delay, in seconds, ≥ 0.
        on_crash: Whether a job whose process died gets another attempt.
    """

    timeout_s: float | None = 600.0
    backoff_base_s: float = 10.0
    backoff_cap_s: float = 900.0
    on_crash: Literal["retry", "fail"] = "retry"

    def of(self, policy: Policy) -> RunPolicy:
        """Return the policy of a task; what it leaves open is taken from here, the site's defaults."""
        if policy.backoff is None and policy.timeout_s is None and policy.on_crash == self.on_crash:
            return self  # most tasks leave it all open, and this is asked for each attempt
        base, cap = self.backoff_base_s, self.backoff_cap_s
        if policy.backoff is not None:
            base, cap = policy.backoff.base_s, policy.backoff.cap_s
        timeout_s = self.timeout_s if policy.timeout_s is None else policy.timeout_s
        return RunPolicy(timeout_s, base, cap, policy.on_crash)
