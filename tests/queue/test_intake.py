"""Claims ahead of their workers: no wake-up is lost, no limit exceeded. Races are staged, not waited for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from millrace.ledger.rows import NewJob
from millrace.queue.intake import MOST_AHEAD, Intake
from millrace.runner.tray import MOST
from tests.ledger.rig import hold
from tests.queue.rig import LIMIT_S, House

if TYPE_CHECKING:
    from pathlib import Path

    from millrace.ledger.rows import Claim
    from tests.conftest import Until


def queue_up(house: House, count: int, queue: str = "default") -> list[str]:
    """Queue jobs without telling anybody."""
    jobs = [NewJob("add", queue) for _ in range(count)]
    return [one.id for one in house.ledger.moves.accept(jobs).wait(LIMIT_S)]


def settle(house: House) -> None:
    """Wait until the writer has done all that was handed in, and what that brought about."""
    for _ in range(3):
        house.ledger.writer.submit(lambda _tx: None).wait(LIMIT_S)


def drain(intake: Intake, count: int) -> list[Claim]:
    """Take so many claims, finishing each."""
    taken: list[Claim] = []
    while len(taken) < count:
        held = intake.take(LIMIT_S)
        assert held is not None, f"only {len(taken)} of {count} came"
        taken.append(held)
        intake.done(held, 0.0)
    return taken


def test_what_is_queued_is_taken(house: House) -> None:
    """Without a wake-up too: a worker that finds nothing asks the ledger."""
    jobs = queue_up(house, 3)
    assert [held.job_id for held in drain(house.intake(), 3)] == jobs


def test_an_empty_queue_gives_nothing_and_is_asked_once(house: House) -> None:
    """An idle daemon must not ask the ledger twice a second for ever."""
    intake = house.intake()
    assert intake.take(0.001) is None
    settle(house)
    assert intake._dry
    assert intake.take(0.001) is None
    assert not intake._asked
    assert intake.busy == 0


def test_a_wake_brings_what_was_queued_after_a_dry_answer(house: House, until: Until) -> None:
    """A worker is asleep inside `take`; the wake must reach it, not its next turn."""
    intake = house.intake()
    assert intake.take(0.001) is None
    settle(house)
    found: list[Claim | None] = []
    worker = threading.Thread(target=lambda: found.append(intake.take(LIMIT_S)))
    worker.start()
    until(lambda: bool(intake._changed._waiters))  # type: ignore[attr-defined]
    (job,) = queue_up(house, 1)
    intake.wake()
    worker.join(LIMIT_S)
    assert [held and held.job_id for held in found] == [job]


def test_a_wake_while_the_claim_is_under_way_is_not_lost(house: House) -> None:
    """The claim found nothing, the job came right behind it in the same batch: "dry" would be a stale answer."""
    intake = house.intake()
    house.ledger.on_change.append(lambda _changes: intake.wake())
    standing = hold(house.ledger)
    assert intake.take(0.001) is None  # its claim is behind the standing unit …
    accepted = house.ledger.moves.accept([NewJob("add", "default")])  # … and the job behind the claim
    standing.go()
    job = accepted.wait(LIMIT_S)[0].id
    held = intake.take(LIMIT_S)
    assert held is not None
    assert held.job_id == job


def test_a_wake_before_the_answer_makes_the_answer_stale(house: House) -> None:
    """The poke of another process comes while the claim waits its turn; its job is committed behind the claim."""
    intake = house.intake()
    standing = hold(house.ledger)
    assert intake.take(0.001) is None
    accepted = house.ledger.moves.accept([NewJob("add", "default")])  # nobody here listens to its commit
    intake.wake()
    standing.go()
    job = accepted.wait(LIMIT_S)[0].id
    held = intake.take(LIMIT_S)
    assert held is not None
    assert held.job_id == job


def test_a_wake_races_with_every_claim_and_no_job_is_left(house: House) -> None:
    """Submitters and workers at once, nobody retries: all jobs are taken without a further wake-up."""
    intake = house.intake(workers=4)
    house.ledger.on_change.append(lambda changes: intake.wake() if changes.queued else None)
    taken: list[Claim] = []
    total = 600

    def work() -> None:
        while len(taken) < total:
            held = intake.take(0.2)
            if held is not None:
                taken.append(held)
                intake.done(held, 0.0)

    def submit() -> None:
        for _ in range(total // 3):
            house.ledger.moves.accept([NewJob("add", "default")]).wait(LIMIT_S)

    threads = [threading.Thread(target=work) for _ in range(4)] + [threading.Thread(target=submit) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S * 2)
    assert len({held.job_id for held in taken}) == total
    assert intake.busy == 0


def test_no_more_run_than_the_limit(house: House) -> None:
    """Claims may lie ready; they are not handed out until a slot is free."""
    queue_up(house, 10)
    intake = house.intake(workers=2)
    first, second = intake.take(LIMIT_S), intake.take(LIMIT_S)
    assert first is not None
    assert second is not None
    settle(house)
    assert intake.take(0.001) is None
    assert intake.busy == 2
    intake.done(first, 0.0)
    assert intake.take(LIMIT_S) is not None


def test_the_worker_that_frees_a_slot_finds_the_next_claim_ready(house: House, until: Until) -> None:
    """Without a switch of threads, and without waiting for a commit."""
    queue_up(house, 150)
    intake = house.intake(workers=1)
    drain(intake, 60)  # short jobs: some are claimed ahead now
    held = intake.take(LIMIT_S)
    assert held is not None
    until(lambda: bool(intake._ready))
    standing = hold(house.ledger)
    assert intake.take(0) is None, "the only slot is taken"
    intake.done(held, 0.0)
    assert intake.take(0) is not None
    standing.go()


def test_short_jobs_are_claimed_ahead_and_long_ones_are_not(house: House) -> None:
    """About fifty milliseconds of work, and never more than the bound: what is claimed ahead dies with the daemon."""
    queue_up(house, 400)
    intake = house.intake(workers=2)
    held = intake.take(LIMIT_S)
    assert held is not None
    settle(house)
    assert len(intake._ready) <= 2, "nothing is known of these jobs yet: no hoarding"
    for _ in range(60):
        intake.done(held, 0.0001)
        held = intake.take(LIMIT_S)
        assert held is not None
    settle(house)
    assert 2 < len(intake._ready) <= MOST_AHEAD + 2
    intake.stop()


def test_few_of_large_payloads_wait_in_memory(house: House) -> None:
    """Two hundred of 500 KB were a hundred megabytes."""
    job = NewJob("add", "default", f'"{"x" * 250_000}"')
    house.ledger.moves.accept([job] * 40).wait(LIMIT_S)
    intake = house.intake(workers=2)
    house.ledger.on_change.append(lambda changes: intake.wake() if changes.queued else None)  # as the room does
    (held,) = drain(intake, 1)
    for _ in range(80):
        intake.done(held, 0.0001)  # they are short: all of them could be claimed ahead
    waiting: list[int] = []
    for _ in range(39):
        drain(intake, 1)
        settle(house)
        waiting.append(len(intake._ready))
    assert 2 <= max(waiting) <= 6


def test_a_worker_takes_its_share_of_short_jobs_and_one_of_others(house: House, until: Until) -> None:
    """A share, so that no worker goes without; one, while jobs are long or nothing is known of them."""
    queue_up(house, 400)
    intake = house.intake(workers=2)
    drain(intake, 20)
    assert intake.more() == []
    drain(intake, 60)
    until(lambda: len(intake._ready) >= 10)
    with intake._changed:  # held, so that nothing arrives in between
        claims = list(intake._ready)
        share = min(len(claims) // 2, MOST - 1)
        assert intake.more() == claims[:share]


def test_what_was_given_back_is_next(house: House, until: Until) -> None:
    """It was claimed before all others; after a stop it goes back to the ledger."""
    queue_up(house, 400)
    intake = house.intake(workers=1)
    drain(intake, 80)
    until(lambda: len(intake._ready) >= 10)
    first, last = intake.more()[-2:]
    intake.give_back([first, last])
    assert [held.job_id for held in drain(intake, 2)] == [first.job_id, last.job_id]
    (held,) = intake.more()[:1]
    intake.stop()
    intake.give_back([held])
    until(lambda: house.row(held.job_id).status == "queued")
    assert held.job_id not in [live.job_id for live in house.running.jobs()]


def test_a_lower_limit_holds_at_once_and_a_higher_one_wakes(house: House, until: Until) -> None:
    """Running jobs end in their own time; none is started above the limit."""
    queue_up(house, 10)
    intake = house.intake(workers=1, most=4)
    intake.set_limit(99)
    assert intake.limit == 4
    taken = [intake.take(LIMIT_S) for _ in range(3)]
    (held, _, _) = taken
    assert held is not None
    assert None not in taken
    intake.set_limit(0)
    assert intake.limit == 1
    intake.done(held, 0.0)
    assert intake.take(0.001) is None, "two still run"
    found: list[Claim | None] = []
    worker = threading.Thread(target=lambda: found.append(intake.take(LIMIT_S)))
    worker.start()
    until(lambda: bool(intake._changed._waiters))  # type: ignore[attr-defined]
    intake.set_limit(4)
    worker.join(LIMIT_S)
    assert found[0] is not None


def test_a_stuck_thread_holds_a_job_but_no_slot(house: House) -> None:
    """Its replacement may take the next job."""
    queue_up(house, 3)
    intake = house.intake(workers=1)
    stuck = intake.take(LIMIT_S)
    assert stuck is not None
    assert intake.take(0.001) is None
    intake.set_stuck({(stuck.job_id, stuck.attempt)})
    assert intake.take(LIMIT_S) is not None
    assert intake.take(0.001) is None


def test_a_stuck_thread_that_ends_lends_its_slot_to_nobody(house: House) -> None:
    """Not until upkeep looks again, nor by a look that is old by then: a queue of one worker would run two jobs."""
    queue_up(house, 3)
    intake = house.intake(workers=1)
    stuck = intake.take(LIMIT_S)
    assert stuck is not None
    intake.set_stuck({(stuck.job_id, stuck.attempt)})
    other = intake.take(LIMIT_S)
    assert other is not None
    intake.done(stuck, 60.0)
    assert (intake.busy, intake.stuck) == (1, 0)
    assert intake.take(0.001) is None

    intake.set_stuck({(stuck.job_id, stuck.attempt)})
    assert (intake.busy, intake.stuck) == (1, 0)
    assert intake.take(0.001) is None
    intake.done(other, 0.0)
    assert intake.take(LIMIT_S) is not None


def test_a_stop_hands_back_what_was_not_started(house: House, until: Until) -> None:
    """Nothing more is given out, a worker that waits is let go, and the ledger is not asked again."""
    jobs = queue_up(house, 150)
    intake = house.intake(workers=1)
    started = [held.job_id for held in drain(intake, 60)]
    held = intake.take(LIMIT_S)
    assert held is not None
    until(lambda: bool(intake._ready))
    settle(house)
    found: list[Claim | None] = []
    worker = threading.Thread(target=lambda: found.append(intake.take(LIMIT_S)))
    worker.start()
    until(lambda: bool(intake._changed._waiters))  # type: ignore[attr-defined]
    rest = intake.stop()
    worker.join(LIMIT_S)
    assert found == [None]
    assert rest
    assert not {one.job_id for one in rest} & {*started, held.job_id}
    assert {one.job_id for one in rest} <= set(jobs)
    intake.wake()
    assert intake.take(0.001) is None
    assert not intake._asked


def test_what_arrives_after_the_stop_is_released(house: House, until: Until) -> None:
    """A claim that was under way at the stop must not stay "running" with nobody to run it."""
    (job,) = queue_up(house, 1)
    intake = house.intake()
    standing = hold(house.ledger)
    assert intake.take(0.001) is None
    assert intake.stop() == []
    standing.go()
    until(lambda: house.row(job).attempt == 1 and house.row(job).status == "queued")
    assert house.running.jobs() == []
    assert [attempt.outcome for attempt in house.ledger.reads.attempts(job)] == ["released"]


def test_a_claim_is_expected_before_a_worker_has_it(house: House, until: Until) -> None:
    """A cancel that comes in between must find it."""
    (job,) = queue_up(house, 1)
    intake = house.intake()
    intake.wake()
    until(lambda: bool(intake._ready))
    assert [live.job_id for live in house.running.jobs()] == [job]


def test_after_an_error_the_next_worker_asks_again(house: House) -> None:
    """The ledger was full or locked for a moment: nobody will wake the queue because of that."""
    queue_up(house, 1)
    intake = house.intake()

    def breaks() -> None:
        house.ledger.writer.submit(lambda tx: tx.run("ROLLBACK"))  # fails the whole batch that it is in

    standing = hold(house.ledger)
    assert intake.take(0.001) is None
    breaks()
    standing.go()
    settle(house)
    assert intake._asked == 0
    assert not intake._dry
    assert intake.take(LIMIT_S) is not None


def test_a_closed_ledger_gives_nothing_and_hangs_nobody(tmp_path: Path) -> None:
    """The last turn of a worker while the daemon goes down."""
    house = House(tmp_path)
    intake = house.intake()
    house.ledger.close()
    assert intake.take(0.001) is None
    intake.wake()
    house.close()


def test_a_claim_that_has_just_come_is_left_to_the_worker_that_waits_for_it(house: House) -> None:
    """A queue that was at rest for long had no claim that anybody could have come for."""
    intake = house.intake(workers=2)
    intake.tend()
    intake.tend()
    queue_up(house, 1)
    intake.wake()
    settle(house)
    intake.tend()
    settle(house)
    held = intake.take(LIMIT_S)
    assert held is not None
    assert held.attempt == 1


def test_what_was_claimed_ahead_of_long_jobs_goes_back(house: House) -> None:
    """Short jobs let many be claimed ahead; when long ones follow, all those would hold up whoever is more urgent."""
    intake, moves = house.intake(workers=2), house.ledger.moves
    queue_up(house, 400)
    for held in drain(intake, 400):
        house.running.end(held)
        moves.succeed(held, "1", duration_s=0.0).wait(LIMIT_S)
    settle(house)
    queue_up(house, 300)
    intake.wake()
    settle(house)
    at_work = [one for _ in range(2) if (one := intake.take(LIMIT_S))]
    settle(house)
    assert house.ledger.reads.status_counts()["running"] == 2 + MOST_AHEAD
    intake.tend()
    assert house.ledger.reads.status_counts()["running"] == 2 + MOST_AHEAD, "nobody had the time to come for them"

    intake.tend()
    intake.wake()
    settle(house)
    counts = house.ledger.reads.status_counts()
    assert (counts["running"], counts["queued"]) == (2, 298)
    assert len(house.running.jobs()) == 2
    (urgent,) = moves.accept([NewJob("add", "default", priority=1000)]).wait(LIMIT_S)
    intake.wake()
    for held in at_work:
        intake.done(held, 10.0)
        house.running.end(held)
        moves.succeed(held, "1", duration_s=10.0).wait(LIMIT_S)
    following = intake.take(LIMIT_S)
    assert following is not None
    assert following.job_id == urgent.id
    for held in [following, *intake.stop()]:
        moves.release(held, "shutdown", duration_s=0.0).wait(LIMIT_S)


def test_a_large_pool_does_not_claim_what_it_gave_back(house: House) -> None:
    """Else each second would cost those jobs an attempt, for as long as the others run."""
    intake = house.intake(workers=500, most=500)
    queue_up(house, 600)
    intake.wake()
    settle(house)
    for _ in range(500):
        assert intake.take(LIMIT_S) is not None
    for _ in range(4):
        intake.tend()
        intake.wake()
        settle(house)
    assert house.ledger.reads.connection().execute("SELECT max(attempt) FROM job").fetchall() == [(1,)]
    assert house.ledger.reads.status_counts()["running"] == 500
