"""Upkeep: due jobs at their time, other processes heard, cancels carried out, failures told and survived."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from millrace.clock import SYSTEM, SystemClock
from millrace.events import EffectInDoubt, PartRestarted
from millrace.ledger.effect_rows import Intent
from millrace.ledger.rows import DaemonRow, JobError, NewJob
from millrace.ledger.run_rows import Item, NewRun
from millrace.ledger.wake import poke
from millrace.queue.upkeep import BEAT_S, TURN_S, promote_what_fits
from tests.ledger.rig import OwnClock, hold
from tests.ledger.runs_rig import LINE
from tests.queue.rig import LIMIT_S, House

if TYPE_CHECKING:
    from pathlib import Path

    from millrace.ledger.ledger import Ledger
    from millrace.ledger.ticket import Ticket
    from tests.conftest import Until


class PatientClock(SystemClock):
    """Sleeps of half a second and more last until they are ended: who relies on their end is found out."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        self.sleeps.append(timeout_s or 0.0)
        return event.wait(LIMIT_S if timeout_s is None or timeout_s >= 0.5 else timeout_s)


def test_a_due_job_is_ready_at_its_time_and_not_at_the_next_second(tmp_path: Path, until: Until) -> None:
    """Upkeep sleeps until then and no longer; the job is never early."""
    house = House(tmp_path, clock=PatientClock())
    upkeep = house.upkeep(house.pool())
    until(lambda: bool(upkeep._clock.sleeps))  # type: ignore[attr-defined]
    due_at = SYSTEM.now_ms() + 200
    job = house.submit(due_at=due_at)
    until(lambda: house.row(job).status == "succeeded", LIMIT_S / 2)
    row = house.row(job)
    assert row.queued_at is not None
    assert row.queued_at >= due_at
    house.close()


def test_a_nearer_time_shortens_a_sleep_that_has_begun(tmp_path: Path, until: Until) -> None:
    """A submission that is due sooner than the one upkeep sleeps for must wake it."""
    clock = PatientClock()
    house = House(tmp_path, clock=clock)
    house.submit(due_at=SYSTEM.now_ms() + 3_600_000)
    house.upkeep(house.pool(), deaf=True)
    until(lambda: TURN_S in clock.sleeps)
    job = house.submit(due_at=SYSTEM.now_ms() + 100)
    until(lambda: house.row(job).status == "succeeded", LIMIT_S / 2)
    house.close()


def test_time_is_what_the_clock_says(tmp_path: Path, until: Until) -> None:
    """A wall clock that jumps ahead makes jobs due at the next turn; one that stands still makes none."""
    clock = OwnClock()
    house = House(tmp_path, clock=clock)
    pool = house.pool()
    jobs = [house.submit(due_at=clock.ms + 3_600_000 + number) for number in range(3)]
    upkeep = house.upkeep(pool)
    turned = upkeep._due_changed
    turned.set()
    assert {house.row(job).status for job in jobs} == {"waiting"}
    clock.advance(3600)
    turned.set()
    until(lambda: house.row(jobs[0]).status == "succeeded")
    clock.advance(1)
    turned.set()
    until(lambda: house.ledger.reads.status_counts()["succeeded"] == 3)
    house.close()


def test_more_due_jobs_than_one_turn_takes_are_all_promoted(house: House, until: Until) -> None:
    """Three days down: thousands are due at once."""
    due_at = SYSTEM.now_ms() + 100
    house.ledger.moves.accept([NewJob("add", "bulk", due_at=due_at) for _ in range(1100)]).wait(LIMIT_S)
    house.upkeep()
    until(lambda: house.ledger.reads.status_counts()["queued"] == 1100)


def test_what_another_process_submits_is_heard_without_a_poke(house: House, until: Until) -> None:
    """A poke may be lost; the data version is looked at."""
    house.upkeep(house.pool())
    ids: list[str] = []

    def submit(ledger: Ledger) -> None:
        ids.append(ledger.moves.accept([NewJob("add", "default", '{"n":5}')]).wait(LIMIT_S)[0].id)

    house.others(submit)
    until(lambda: house.ran == [5])
    until(lambda: house.row(ids[0]).status == "succeeded")


def test_a_poke_wakes_the_pools_and_the_due_times(house: House, until: Until) -> None:
    """A job of another process that is due soon is taken up in time."""
    house.upkeep(house.pool())

    def submit(ledger: Ledger) -> None:
        ledger.moves.accept([NewJob("add", "default", '{"n":6}', due_at=SYSTEM.now_ms() + 30)]).wait(LIMIT_S)

    house.others(submit)
    assert poke(house.folder)
    until(lambda: house.ran == [6])


def test_a_cancel_from_another_process_is_carried_out(house: House, until: Until) -> None:
    """The command line writes the wish, the daemon that runs the job sees it."""
    house.upkeep(house.pool())
    job = house.submit("wait")
    assert house.door.entered.acquire(timeout=LIMIT_S)

    def cancel(ledger: Ledger) -> None:
        assert ledger.moves.cancel(job, actor="cli").wait(LIMIT_S) == "running"

    house.others(cancel)
    until(lambda: house.running.jobs()[0].asked == "cancelled")
    house.door.out.set()
    until(lambda: house.row(job).status in ("cancelled", "succeeded"))


def test_a_cancel_of_this_process_is_carried_out_at_once(house: House, until: Until) -> None:
    """It comes with the commit: nobody waits for the next look."""
    house.upkeep(house.pool(), deaf=True)
    job = house.submit("wait")
    assert house.door.entered.acquire(timeout=LIMIT_S)
    assert house.ledger.moves.cancel(job, actor="api").wait(LIMIT_S) == "running"
    until(lambda: house.running.jobs()[0].asked == "cancelled")


def test_a_turn_that_fails_is_told_and_upkeep_goes_on(tmp_path: Path, until: Until) -> None:
    """The transaction of a promotion breaks: the next turn does it."""
    clock = OwnClock()
    house = House(tmp_path, clock=clock)
    job = house.submit(due_at=clock.ms + 1000)
    clock.advance(2)
    standing = hold(house.ledger)
    house.upkeep()
    until(lambda: len(house.ledger.writer._inbox) >= 1)
    house.ledger.writer.submit(lambda tx: tx.run("ROLLBACK"))  # fails the batch that the promotion is in
    standing.go()
    until(lambda: any(isinstance(event, PartRestarted) and event.part == "due jobs" for event in house.events))
    until(lambda: house.row(job).status == "queued")
    house.close()


class OneFails:
    """Moves of which the cancellation of one run fails, by what is no trouble of the ledger as a whole."""

    def __init__(self, house: House, run_id: str) -> None:
        self._house = house
        self.run_id = run_id

    def cancel_some(self, run_id: str) -> Ticket[Any]:
        """Fail for the one run."""
        if run_id == self.run_id:
            return self._house.ledger.writer.submit(lambda _tx: json.loads("{"))
        return self._house.ledger.moves.cancel_some(run_id)

    def __getattr__(self, name: str) -> Any:
        """Make every other move as the ledger does."""
        return getattr(self._house.ledger.moves, name)


def test_a_piece_that_fails_keeps_nothing_else_from_its_turn(tmp_path: Path, until: Until) -> None:
    """It is told once and named for as long as it fails; due jobs, cancels and the daemon's beat go on."""
    clock = OwnClock()
    house = House(tmp_path, clock=clock)
    house.ledger.moves.sign_in(DaemonRow("d1", 1, "h", "v", 1, 1, None)).wait(LIMIT_S)
    tries: list[int] = []

    def broken() -> None:
        tries.append(1)
        raise ValueError("no")

    runs = [house.ledger.moves.start_run(NewRun("p", LINE)).wait(LIMIT_S).id for _ in range(3)]
    for run_id in runs:
        house.ledger.moves.cancel_run(run_id, actor="cli:ann", limit=0).wait(LIMIT_S)
    moves: Any = OneFails(house, runs[0])
    house.kit = replace(house.kit, moves=moves)
    upkeep = house.upkeep(start=False)
    upkeep.also["broken"] = broken
    job = house.submit(due_at=clock.ms + 1)
    for _ in range(3):
        clock.advance(20)
        upkeep.nudge()
        upkeep._upkeep_turn()
    assert house.row(job).status == "queued"
    assert [house.ledger.reads.run(run_id).status for run_id in runs[1:]] == ["cancelled", "cancelled"]
    found = house.ledger.reads.daemon()
    assert found is not None
    assert found.beat_at > 1
    assert len(tries) == 3
    assert upkeep.failing["broken"] == "ValueError: no"
    assert f"run {runs[0]}: JSONDecodeError" in upkeep.failing["cancelled runs"]
    assert [event.part for event in house.events if isinstance(event, PartRestarted)] == ["broken", "cancelled runs"]

    upkeep.also["broken"] = lambda: None
    moves.run_id = ""
    clock.advance(20)
    upkeep.nudge()
    upkeep._upkeep_turn()
    assert upkeep.failing == {}
    assert house.ledger.reads.run(runs[0]).status == "cancelled"
    house.listener.close()
    house.close()


def test_upkeep_tends_the_pools_and_beats(house: House, until: Until) -> None:
    """A worker that died is replaced, and the daemon's row shows that it lives."""
    house.ledger.moves.sign_in(DaemonRow("d1", 1, "h", "v", 1, 1, None)).wait(LIMIT_S)
    pool = house.pool()
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    worker, orphan = pool._consumer.worker_threads[0]
    pool._consumer.worker_threads[0] = (worker, dead)
    upkeep = house.upkeep(pool)
    until(lambda: pool._consumer.worker_threads[0][1] is not dead)
    until(lambda: (found := house.ledger.reads.daemon()) and found.beat_at > 1)
    assert max(upkeep.ages().values()) < BEAT_S
    assert orphan.is_alive()


def test_a_stop_ends_both_threads_soon(house: House) -> None:
    """Also in the middle of a sleep."""
    upkeep = house.upkeep(house.pool())
    upkeep.stop()
    assert not any(thread.is_alive() for thread in upkeep._threads.values())


def test_parked_jobs_of_a_task_that_is_back_are_queued(house: House) -> None:
    """What a starting daemon does; a task that is still missing keeps its jobs waiting."""
    parked = {}
    for task, reason in (("add", "unknown_task"), ("add", "payload"), ("gone", "unknown_task"), ("add", "doubt")):
        house.ledger.moves.accept([NewJob(task, "default")]).wait(LIMIT_S)
        (held,) = house.ledger.moves.claim("default", 1).wait(LIMIT_S)
        house.ledger.moves.park(held, reason, due_at=None, duration_s=0.0).wait(LIMIT_S)
        parked[task, reason] = held.job_id
    assert promote_what_fits(house.ledger, house.kit) == 2
    assert {key: house.row(job).status for key, job in parked.items()} == {
        ("add", "unknown_task"): "queued",
        ("add", "payload"): "queued",
        ("gone", "unknown_task"): "waiting",
        ("add", "doubt"): "waiting",
    }


def test_what_is_left_of_a_cancellation_and_of_a_resume_is_done(house: House, until: Until) -> None:
    """Whoever began it may have been killed between two parts; until the last the run neither collects nor ends."""
    moves, reads = house.ledger.moves, house.ledger.reads
    run_id = moves.start_run(NewRun("p", LINE)).wait(LIMIT_S).id
    (held,) = moves.claim("q", 1).wait(LIMIT_S)
    moves.emit(held, [Item("1")] * 1200, 1200, "c", 0).wait(LIMIT_S)
    moves.succeed(held, "{}", duration_s=0.0).wait(LIMIT_S)
    house.upkeep(house.pool())
    moves.cancel_run(run_id, actor="ann", limit=10).wait(LIMIT_S)
    until(lambda: reads.run(run_id).status == "cancelled")
    assert moves.resume_run(run_id, actor="ann", limit=10).wait(LIMIT_S) == ("running", 10)
    until(lambda: reads.run(run_id).counts["points"] == {"queued": 1200})
    assert reads.runs_to_resume() == {}


def test_a_run_that_a_dead_command_held_is_let_go(house: House, until: Until) -> None:
    """It was killed between two of the jobs that it put back: the run must not wait for the others for ever."""
    moves, reads = house.ledger.moves, house.ledger.reads
    run_id = moves.start_run(NewRun("p", LINE)).wait(LIMIT_S).id
    (held,) = moves.claim("q", 1).wait(LIMIT_S)
    moves.emit(held, [Item("1")], 1, "c", 0).wait(LIMIT_S)
    moves.succeed(held, "{}", duration_s=0.0).wait(LIMIT_S)
    assert moves.hold_run(run_id, actor="ann").wait(LIMIT_S)
    (held,) = moves.claim("q", 1).wait(LIMIT_S)
    moves.succeed(held, "1", duration_s=0.0).wait(LIMIT_S)
    assert "queued" not in reads.run(run_id).counts.get("total", {}), "it was not held: the test proves nothing"
    house.upkeep(house.pool())
    until(lambda: reads.run(run_id).counts.get("total") == {"queued": 1})
    assert reads.runs_to_resume() == {}


def test_an_effect_that_waits_for_a_person_is_told_once(tmp_path: Path, until: Until) -> None:
    """Its job is dead, so that no attempt will find out what became of it; an alert each second would be noise."""
    house = House(tmp_path)
    job = house.submit()
    moves = house.ledger.moves
    (held,) = moves.claim("default", 1).wait(LIMIT_S)
    moves.effect_begin(held, Intent("mail-7", "send 0")).wait(LIMIT_S)
    moves.give_up(held, JobError("E", "e"), duration_s=0.0, cause="gave up").wait(LIMIT_S)
    upkeep = house.upkeep()
    told = EffectInDoubt("default", "mail-7", job)
    until(lambda: told in house.events)
    upkeep._tend(SYSTEM.monotonic())
    assert house.events.count(told) == 1
    house.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it ends so on purpose
def test_a_thread_that_ended_by_itself_is_started_again(house: House, until: Until) -> None:
    """Nothing may end it but a stop; should it all the same, due jobs must not wait for the daemon's next start."""
    upkeep = house.upkeep()
    assert upkeep.revive() == []

    def leave() -> None:
        del upkeep.also["leave"]
        sys.exit()

    upkeep.also["leave"] = leave
    upkeep.nudge()
    assert until(upkeep.revive) == ["upkeep"]
    turn = upkeep.turns["upkeep"]
    upkeep.nudge()
    until(lambda: upkeep.turns["upkeep"] > turn)
    upkeep.stop()
    assert upkeep.revive() == []
