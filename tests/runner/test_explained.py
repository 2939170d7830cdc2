"""What `explain` says of jobs that real children ran: its evidence comes from the engine, not from a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from millrace.clock import SYSTEM
from millrace.observe import explain_look
from millrace.observe.explain import Around

if TYPE_CHECKING:
    from millrace.observe.explain import Explanation
    from tests.runner.rig import Rig


def explained(rig: Rig, job_id: str) -> Explanation:
    """Explain a job."""
    around = Around(SYSTEM.now_ms(), served=True, queues=None)
    return explain_look.job(rig.ledger.reads, rig.row(job_id), around)


@pytest.mark.parametrize(
    ("task", "payload", "retries", "code", "says"),
    [
        ("add", {"a": 1}, 0, "succeeded", "It succeeded."),
        ("fail", {"message": "no luck"}, 0, "dead.out_of_retries", "no luck"),
        ("fail", {}, 3, "waiting.backoff", "1 of the 4 failures"),
        ("later", {}, 3, "waiting.backoff", "before its next attempt, until "),
        ("choosy", {"how": "other"}, 3, "dead.never_on", "never retries this error"),
        ("give_up", {}, 3, "dead.gave_up", "The job itself gave up"),
        ("not_a_number", {}, 3, "dead.result", "what it returned cannot be kept"),
        ("kill_self_once", {}, 3, "dead.crash", "ended by SIGKILL"),
        ("segfault", {}, 3, "waiting.backoff", "ended by SIGSEGV"),
        ("leave_now", {"code": 7}, 3, "waiting.backoff", "ended by exit code 7"),
        ("nobody", {}, 3, "waiting.unknown_task", "the daemon does not know"),
        ("add", {"nonsense": 1}, 3, "waiting.payload", "has read: payload.a: is missing"),
    ],
)
def test_each_outcome_of_a_real_attempt_has_its_words(  # noqa: PLR0917 - a table
    rig: Rig, task: str, payload: dict[str, Any], retries: int, code: str, says: str
) -> None:
    """A code that the engine writes and nobody reads would be told as nothing."""
    job = rig.run(task, retries=retries, **payload)

    found = explained(rig, job.id)

    assert found.code == code
    assert says in " ".join(one.text for one in found.because)
    assert bool(found.change) == (code != "succeeded")


def test_poison_names_the_signals(rig: Rig) -> None:
    """Three times its own process: by what."""
    job_id = rig.accept("kill_self", retries=50)
    for crash in (1, 2, 3):
        rig.work(rig.claim())
        assert rig.row(job_id).crashes == crash
        if crash < 3:
            rig.ledger.moves.move("promote", job_id, actor="test").wait(20)

    found = explained(rig, job_id)

    assert found.code == "dead.poison"
    assert "(SIGKILL, SIGKILL, SIGKILL)" in found.because[-1].text
    assert [one.code for one in found.because].count("attempt.crashed") == 2
