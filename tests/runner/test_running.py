from __future__ import annotations

from millrace.clock import SYSTEM
from millrace.ledger.rows import Claim
from millrace.runner.running import Running


def held(attempt: int = 1) -> Claim:
    """Return a claim."""
    return Claim("j", "t", "q", "default", attempt, 0, 0, 0, 4, "{}", "c", 0, 0)


def test_a_cancel_finds_a_claim_that_has_not_begun() -> None:
    """It waits for a worker; the order must wait with it."""
    running = Running(SYSTEM)
    running.expect(held(), "process")

    assert running.cancel("j")
    assert running.start(held(), "process").asked == "cancelled"


def test_an_order_before_the_waker_is_there_still_wakes() -> None:
    """Between the claim and the child there is a moment without anybody to wake."""
    running, woken = Running(SYSTEM), list[int]()
    live = running.start(held(), "process")
    running.cancel("j")

    live.attach(lambda: woken.append(1))
    assert woken == [1]
    live.detach()
    live.ask("timeout")
    assert (woken, live.asked) == ([1], "cancelled")


def test_a_cancel_of_what_is_not_here_says_so() -> None:
    """The ledger keeps the wish; whoever asks must not believe that somebody was told."""
    assert not Running(SYSTEM).cancel("j")


def test_the_end_of_an_old_attempt_leaves_the_new_one() -> None:
    """A late thread must not take its successor off the map."""
    running = Running(SYSTEM)
    running.start(held(1), "thread")
    running.start(held(2), "thread")
    running.end(held(1))

    assert [live.attempt for live in running.jobs()] == [2]
    running.end(held(2))
    assert running.jobs() == []
