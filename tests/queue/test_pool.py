"""A pool at work: jobs run, failures are kept apart, stuck threads are replaced, a stop hands back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from millrace.events import AttemptEnded, ClaimsFailed, PoolResized, ThreadStuck
from millrace.queue.pool import CALM_S, Pool
from millrace.queue.room import Room
from millrace.queue.submit import Submission
from tests.ledger.rig import OwnClock
from tests.queue.rig import LIMIT_S, House

if TYPE_CHECKING:
    from pathlib import Path

    from millrace.ledger.rows import Claim
    from millrace.ledger.ticket import Ticket
    from tests.conftest import Until


def test_jobs_run_and_their_results_are_kept(house: House, until: Until) -> None:
    """The whole way: door, ledger, Huey, runner, ledger."""
    house.pool()
    jobs = [house.submit(payload={"n": number}) for number in range(50)]
    until(lambda: house.ledger.reads.status_counts()["succeeded"] == 50)
    assert [house.row(job).result for job in jobs] == [str(number) for number in range(50)]
    assert sorted(house.ran) == list(range(50))
    assert house.running.jobs() == []
    assert house.pools[0].huey.storage.claims == {}
    until(lambda: sum(isinstance(event, AttemptEnded) for event in house.events) == 50)


def test_a_failing_job_fails_alone(house: House, until: Until) -> None:
    """Its worker goes on with the next."""
    pool = house.pool()
    bad, good = house.submit("bad"), house.submit()
    until(lambda: house.row(bad).failures >= 1 and house.row(good).status == "succeeded")
    house.ledger.moves.promote_due().wait(LIMIT_S)
    until(lambda: house.row(bad).status == "dead")
    assert pool.state().threads_alive == 2
    assert [attempt.outcome for attempt in house.ledger.reads.attempts(bad)] == ["retried", "gave_up"]


def test_no_more_jobs_run_at_once_than_the_limit(house: House, until: Until) -> None:
    """Two workers, ten jobs that wait inside."""
    pool = house.pool()
    for _ in range(10):
        house.submit("wait")
    for _ in range(2):
        assert house.door.entered.acquire(timeout=LIMIT_S)
    state = pool.state()
    assert (state.queue, state.kind, state.workers, state.limit, state.busy, state.stuck) == (
        "default",
        "thread",
        2,
        2,
        2,
        0,
    )
    assert not house.door.entered.acquire(timeout=0.05)
    house.door.out.set()
    until(lambda: house.ledger.reads.status_counts()["succeeded"] == 10)
    assert house.door.most == 2
    until(lambda: pool.state().busy == 0)


def test_a_pool_grows_with_its_backlog_and_shrinks_when_calm(tmp_path: Path, until: Until) -> None:
    """From one worker to eight and back, by the clock; also when all slots are held by jobs that take long."""
    clock = OwnClock()
    house = House(tmp_path, clock=clock)
    pool = house.pool("wide")
    for _ in range(60):
        house.submitter.submit(Submission("wait", queue="wide"))
    for expected in (1, 2, 4, 8):
        until(lambda: house.door.inside == expected)  # noqa: B023 - asked before the next turn
        assert pool.state().limit == expected
        pool.tend()
    assert pool.state().limit == 8, "never above max_workers"
    house.door.out.set()
    until(lambda: house.ledger.reads.status_counts()["succeeded"] == 60 and pool.state().busy == 0)
    pool.tend()
    assert pool.state().limit == 8, "calm has to last"
    for expected in (4, 2, 1, 1):
        clock.advance(CALM_S + 1)
        pool.tend()
        assert pool.state().limit == expected
    told = [(event.workers, event.why) for event in house.events if isinstance(event, PoolResized)]
    assert told == [(2, "backlog"), (4, "backlog"), (8, "backlog"), (4, "calm"), (2, "calm"), (1, "calm")]
    house.close()


@pytest.mark.parametrize("why", ["no backlog", "no room"])
def test_a_pool_stays_as_it_is_without_backlog_or_room(tmp_path: Path, until: Until, why: str) -> None:
    """A loaded machine does not get faster by more threads, and one job needs no two."""
    house = House(tmp_path)
    pool = house.pool("wide", roomy=why != "no room")
    for _ in range(1 if why == "no backlog" else 20):
        house.submit("wait", queue="wide")
    until(lambda: house.door.inside == 1)
    pool.tend()
    assert pool.state().limit == 1
    house.close()


def test_the_slot_of_a_stuck_thread_is_replaced(house: House, until: Until) -> None:
    """It ignores its deadline and cannot be ended: others must still run, and it is told once."""
    pool = house.pool("small")
    stuck = house.submit("stuck", queue="small")
    assert house.door.entered.acquire(timeout=LIMIT_S)
    until(lambda: bool(house.running.stuck()))
    other = house.submit(queue="small")
    pool.tend()
    until(lambda: house.row(other).status == "succeeded")
    assert house.row(stuck).status == "running", "its job stays running until the thread ends"
    assert (pool.state().stuck, pool.state().threads_alive) == (1, 2)
    pool.tend()
    (told,) = [event for event in house.events if isinstance(event, ThreadStuck)]
    assert (told.job_id, told.queue, told.task) == (stuck, "small", "stuck")
    house.door.out.set()
    until(lambda: house.row(stuck).status != "running")
    pool.tend()
    assert pool.state().stuck == 0
    last = house.submit(queue="small")
    until(lambda: house.row(last).status == "succeeded")


def test_a_stop_releases_what_was_not_started_and_lets_the_rest_end(house: House, until: Until) -> None:
    """Released jobs cost nothing and are first in line; the running one is recorded; tending raises nobody."""
    pool = house.pool("small")
    running = house.submit("wait", queue="small")
    assert house.door.entered.acquire(timeout=LIMIT_S)
    waiting = house.submit("wait", queue="small")
    pool.intake.set_limit(1)
    released = pool.stop_claiming()
    pool.tend()
    house.door.out.set()
    until(lambda: house.row(running).status == "succeeded")
    until(lambda: pool.state().threads_alive == 0)
    row = house.row(waiting)
    assert (row.status, row.failures) == ("queued", 0)
    assert row.attempt == released
    assert house.running.jobs() == []


def test_a_paused_queue_starts_nothing_until_it_is_resumed(house: House, until: Until) -> None:
    """Resuming wakes it."""
    house.ledger.moves.pause("default", actor="ann").wait(LIMIT_S)
    house.pool()
    job = house.submit()
    assert house.row(job).status == "queued"
    house.ledger.moves.resume("default", actor="test").wait(LIMIT_S)
    until(lambda: house.row(job).status == "succeeded")


def test_huey_enqueue_runs_a_job_of_the_site(house: House, until: Until) -> None:
    """What Huey's users know works, and goes through the ledger."""
    pool: Pool = house.pool()
    run_claim = next(iter(pool.huey._registry._registry.values()))
    pool.huey.enqueue(run_claim(("add", {"n": 42}), {}, priority=1))
    until(lambda: house.ran == [42])


def test_more_workers_of_a_reload_are_there_at_once(house: House) -> None:
    """And fewer in the next calm: nothing that runs is ended for it."""
    pool = house.pool(start=False)
    now = house.settings.queues["default"]
    pool.apply(now.model_copy(update={"workers": pool.intake.max_workers}))
    assert (pool.intake.limit, pool.state().limit) == (pool.intake.max_workers,) * 2

    pool.apply(now.model_copy(update={"workers": 1}))
    assert (pool.intake.workers, pool.intake.limit) == (1, pool.intake.max_workers)


def test_a_pool_that_is_stopping_replaces_and_grows_nothing(house: House, until: Until) -> None:
    """Upkeep may take its turn in the middle of a shutdown; a new thread would claim what nobody then runs."""
    pool = house.pool()
    pool.stop_claiming()
    until(lambda: pool.state().busy == 0)
    pool.tend()
    job_id = house.submit("add")

    assert house.row(job_id).status == "queued"
    assert not [event for event in house.events if isinstance(event, PoolResized)]


def test_a_folder_that_is_gone_is_for_the_write_to_tell(tmp_path: Path) -> None:
    """That there is no room would be a guess, and the wrong advice."""
    assert Room(tmp_path / "gone" / "ledger.db", None).refusal() is None


class Unclaimable:
    """Moves of which the claim fails, for a while, by what is no trouble of the ledger as a whole."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.well = False

    def claim(self, queue: str, slots: int) -> Ticket[list[Claim]]:
        """Fail, or not any more."""
        if self.well:
            return self._house.ledger.moves.claim(queue, slots)
        return self._house.ledger.writer.submit(lambda _tx: json.loads("{"))

    def __getattr__(self, name: str) -> Any:
        """Make every other move as the ledger does: the end of the test may find claims to give back."""
        return getattr(self._house.ledger.moves, name)


def test_a_queue_of_which_nothing_can_be_claimed_says_so_once(house: House, until: Until) -> None:
    """It would stand still, and nobody would know why."""
    moves: Any = Unclaimable(house)
    house.kit = replace(house.kit, moves=moves)
    pool = house.pool()
    for _ in range(3):
        until(lambda: pool.intake.trouble)
        pool.tend()
    (told,) = [event for event in house.events if isinstance(event, ClaimsFailed)]
    assert (told.queue, told.reason.split(":")[0]) == ("default", "JSONDecodeError")
    moves.well = True
    job_id = house.submit()
    until(lambda: house.row(job_id).attempt)
    assert pool.intake.trouble is None
    house.kit = replace(house.kit, moves=house.ledger.moves)
