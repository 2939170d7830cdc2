"""Ledgers that were broken on purpose: what would stand for ever is found, told once, and goes on or is parked."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from millrace.events import OrphansFound
from millrace.ledger.plan import Plan, PlanStage
from millrace.ledger.rows import NewJob
from millrace.ledger.run_rows import Item, NewRun
from millrace.queue.patrol import Patrol
from tests.queue.rig import LIMIT_S, House

if TYPE_CHECKING:
    from millrace.ledger.orphans import Orphan
    from millrace.ledger.rows import Claim

LINE = Plan(
    "p",
    (
        PlanStage("lead", "add", "default", kind="fanout"),
        PlanStage("points", "add", "default", fanout="lead", needs=(("lead", True),), waits=("lead",)),
    ),
)


class Watch:
    """A patrol, and a hand with a SQLite shell."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.moves, self.reads = house.ledger.moves, house.ledger.reads
        self.patrol = Patrol(house.ledger, house.kit, house.running, lambda: set(house.settings.queues))

    def look(self) -> list[Orphan]:
        return self.patrol.look(again_s=0)

    def sql(self, sql: str, *values: Any) -> list[Any]:
        connection = apsw.Connection(str(self.house.folder / "ledger.db"))
        connection.set_busy_timeout(5000)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def accept(self, task: str = "add", queue: str = "default", count: int = 1) -> list[str]:
        tickets = self.moves.accept([NewJob(task, queue) for _ in range(count)])
        return [one.id for one in tickets.wait(LIMIT_S)]

    def claim(self, slots: int = 1) -> list[Claim]:
        return self.moves.claim("default", slots).wait(LIMIT_S)

    def told(self) -> list[OrphansFound]:
        return [event for event in self.house.events if isinstance(event, OrphansFound)]

    def with_records(self, count: int) -> str:
        """Start a run and let its fan-out emit so many items; return its id."""
        run_id = self.moves.start_run(NewRun("p", LINE)).wait(LIMIT_S).id
        (held,) = self.claim()
        self.moves.emit(held, [Item(str(n)) for n in range(count)], count, "c", 0).wait(LIMIT_S)
        self.moves.succeed(held, "{}", duration_s=0.0).wait(LIMIT_S)
        return run_id


@pytest.fixture
def watch(house: House) -> Watch:
    """A patrol over the queue room."""
    return Watch(house)


def test_a_sound_ledger_has_no_orphans(watch: Watch) -> None:
    """A false alarm is how alarms come to be ignored."""
    watch.accept(count=3)
    (held, other) = watch.claim(2)
    watch.house.running.expect(held, "thread")
    watch.house.running.expect(other, "thread")

    assert watch.look() == []
    assert watch.told() == []
    assert watch.patrol.figures() == {"count": 0, "kinds": {}, "ids": [], "mended": 0}


def test_a_running_job_that_nobody_runs_is_queued_again(watch: Watch) -> None:
    """Its thread is gone, its row says running: without this it would until the next start of the daemon."""
    (job_id,) = watch.accept()
    watch.claim()  # and nobody takes it up

    (found,) = watch.look()

    assert (found.kind, found.id) == ("not_running", job_id)
    assert watch.reads.job(job_id).status == "queued"
    assert watch.reads.attempts(job_id)[0].facts == {"why": "orphan"}
    assert [event.event for event in watch.reads.events(job_id)] == ["orphan"]
    (event,) = watch.told()
    assert (event.count, event.mended, event.kinds) == (1, 1, "not_running 1")
    assert job_id in event.details


def test_the_attempt_of_a_daemon_that_is_gone_is_taken_back(watch: Watch) -> None:
    """A row restored from elsewhere names a daemon that no start will ever look for."""
    (job_id,) = watch.accept()
    (held,) = watch.claim()
    watch.house.running.expect(held, "thread")  # alive here, but in another's name
    watch.sql("UPDATE job SET attempt = 7, daemon = 'elsewhere' WHERE id = ?", job_id)

    (found,) = watch.look()

    assert (found.kind, found.attempt, found.place) == ("not_running", 7, "elsewhere")
    assert watch.reads.job(job_id).status == "queued"


def test_an_attempt_that_is_between_two_hands_is_left_alone(watch: Watch) -> None:
    """The second look finds it in the map: a claim is on its way to its worker."""
    watch.accept()
    (held,) = watch.claim()
    first = watch.house.kit.clock

    class Late:
        """A clock at whose first longer wait the worker takes up its claim."""

        def __getattr__(self, name: str) -> Any:
            return getattr(first, name)

        def wait(self, event: Any, timeout_s: float | None) -> bool:
            if timeout_s == 5.0:
                watch.house.running.expect(held, "thread")
            return bool(event.is_set())

    watch.house.kit.clock = Late()

    assert watch.patrol.look(again_s=5.0) == []
    assert watch.reads.job(held.job_id).status == "running"


@pytest.mark.parametrize("reason", ["backoff", "due", "limit", "rate:crm", "upstream", "nonsense", "paused"])
def test_a_job_that_waits_for_nothing_is_queued(watch: Watch, reason: str) -> None:
    """No time, and a reason that no move ends: it would wait for ever."""
    (job_id,) = watch.accept()
    (held,) = watch.claim()
    watch.moves.park(held, "doubt", due_at=None, duration_s=0.0).wait(LIMIT_S)
    watch.sql("UPDATE job SET reason = ? WHERE id = ?", reason, job_id)

    assert [one.kind for one in watch.look()] == ["never_ready"]
    assert watch.reads.job(job_id).status == "queued"
    assert [event.event for event in watch.reads.events(job_id)] == ["promote", "orphan"]


@pytest.mark.parametrize("reason", ["answer", "doubt", "unknown_task", "payload"])
def test_a_job_that_waits_for_somebody_is_left_alone(watch: Watch, reason: str) -> None:
    """A person, or the next start, ends these."""
    watch.accept()
    (held,) = watch.claim()
    watch.moves.park(held, reason, due_at=None, duration_s=0.0).wait(LIMIT_S)

    assert watch.look() == []


def test_a_job_whose_run_is_missing_waits_for_it(watch: Watch) -> None:
    """It cannot run without what its run knows; when that is back, from a backup, it goes on."""
    run_id = watch.moves.start_run(NewRun("p", LINE)).wait(LIMIT_S).id
    ((job_id,),) = watch.sql("SELECT id FROM job WHERE run_id = ?", run_id)
    watch.sql("CREATE TABLE kept AS SELECT * FROM run")
    watch.sql("DELETE FROM run")

    (found,) = watch.look()
    job = watch.reads.job(job_id)
    assert (found.kind, found.id) == ("no_run", job_id)
    assert (job.status, job.reason) == ("waiting", "upstream")
    assert f"its run {run_id} is missing" in watch.reads.events(job_id)[-1].reason  # type: ignore[operator]
    assert watch.look() == []

    watch.sql("INSERT INTO run SELECT * FROM kept")
    assert [one.kind for one in watch.look()] == ["never_ready"]
    assert watch.reads.job(job_id).status == "queued"


def test_a_job_whose_upstream_is_missing_waits_for_it(watch: Watch) -> None:
    """Its arguments cannot be gathered: run, it would die for what is not its fault."""
    run_id = watch.with_records(3)
    watch.sql("DELETE FROM record WHERE number = 2")

    (found,) = watch.look()

    ((job_id,),) = watch.sql("SELECT id FROM job WHERE run_id = ? AND record = '2'", run_id)
    assert (found.kind, found.id, found.detail) == ("no_upstream", job_id, "lead of its run has no value")
    assert watch.reads.job(job_id).reason == "upstream"
    assert watch.reads.run(run_id).counts["points"] == {"waiting": 1, "queued": 2}


def test_a_run_of_which_nothing_is_open_is_ended(watch: Watch) -> None:
    """Nothing of it will ever end again, so that nothing would ever look."""
    run_id = watch.with_records(0)
    assert watch.reads.run(run_id).status == "succeeded"
    watch.sql("UPDATE run SET status = 'running', finished_at = NULL WHERE id = ?", run_id)

    (found,) = watch.look()

    assert (found.kind, found.id) == ("stalled_run", run_id)
    assert watch.reads.run(run_id).status == "succeeded"


def test_queued_jobs_of_an_unknown_task_are_parked(watch: Watch) -> None:
    """They wait with their reason until the name returns, and hold up nobody."""
    (job_id,) = watch.accept("ghost")

    assert [one.kind for one in watch.look()] == ["unknown_task"]
    job = watch.reads.job(job_id)
    assert (job.status, job.reason) == ("waiting", "unknown_task")
    assert watch.look() == []


def test_a_queue_without_workers_is_told_once(watch: Watch) -> None:
    """The queue left config.toml, its jobs did not: only a person can say where they belong."""
    (job_id,) = watch.accept(queue="nowhere")

    for _ in range(3):
        assert [(one.kind, one.id) for one in watch.look()] == [("no_workers", job_id)]

    assert watch.reads.job(job_id).status == "queued"
    assert len(watch.told()) == 1
    assert watch.told()[0].mended == 0
    assert watch.patrol.figures()["kinds"] == {"no_workers": 1}


def test_a_thousand_orphans_are_one_event_and_none_is_dropped(watch: Watch) -> None:
    """One alert, not thousands; and all of them go on, a part with each look."""
    watch.accept(count=1100)
    parked = [watch.moves.park(held, "doubt", due_at=None, duration_s=0.0) for held in watch.claim(1100)]
    for ticket in parked:
        ticket.wait(LIMIT_S)
    watch.sql("UPDATE job SET reason = 'backoff' WHERE status = 'waiting'")

    assert len(watch.look()) == 1100
    assert len(watch.told()) == 1
    assert watch.told()[0].details.count("never_ready") == 20
    for _ in range(5):
        watch.look()
    assert len(watch.told()) == 1
    assert watch.reads.status_counts()["queued"] == 1100
    assert watch.reads.balance(count_rows=True).difference == 0


def test_a_look_that_is_ended_mends_nothing(watch: Watch) -> None:
    """The daemon goes down: what is running is being handed back, and is no orphan."""
    (job_id,) = watch.accept()
    watch.claim()
    end = threading.Event()
    end.set()

    assert watch.patrol.look(end, again_s=60) == []
    assert watch.house.row(job_id).status == "running"
    assert watch.told() == []
