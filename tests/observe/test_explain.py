"""One case for each reason and each outcome, made by the ledger's own moves, and read as `explain` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from millrace.clock import rfc3339
from millrace.config.settings import Settings
from millrace.events import ThreadStuck
from millrace.ledger.effect_rows import EffectEnd, Intent
from millrace.ledger.ledger import Ledger
from millrace.ledger.moves import Moves
from millrace.ledger.rows import DaemonRow, JobError
from millrace.observe import explain_look
from millrace.observe.explain import Around
from millrace.observe.explain_disk import MAKE_ROOM, Disk, Unrecorded, disk_of
from millrace.process.stuck import StuckNotes
from millrace.queue.room import Level
from tests.ledger.rig import LIMIT_S, Book, OwnClock
from tests.ledger.runs_rig import BAD, LINE, Works

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.observe.explain import Explanation

ERROR: Final = JobError("ValueError", "no such customer")
QUEUES: Final = Settings(queues={"q": {"workers": 2}}).queues


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A ledger whose clock a test moves."""
    clock, path = OwnClock(), tmp_path / "ledger.db"
    with Ledger(path, clock=clock, synchronous="normal") as ledger:
        ledger.moves.daemon = "d1"
        yield Book(ledger, clock, path)


def explained(book: Book, job_id: str, **around: Any) -> Explanation:
    """Explain a job, as a command does while a daemon runs."""
    given = {"served": True, "queues": QUEUES, **around}
    return explain_look.job(book.ledger.reads, book.row(job_id), Around(book.clock.now_ms(), **given))


def run_explained(works: Works, run_id: str, **around: Any) -> Explanation:
    """Explain a run."""
    given = {"served": True, "queues": QUEUES, **around}
    return explain_look.run(works.reads, works.run(run_id), Around(works.book.clock.now_ms(), **given))


def texts(found: Explanation) -> str:
    """Return its sentences as one text."""
    return " ".join(one.text for one in found.because)


def commands(found: Explanation) -> list[str]:
    """Return the commands that would change it."""
    return [one.command for one in found.change if one.command]


def codes(found: Explanation) -> list[str]:
    """Return the codes of its reasons."""
    return [one.code for one in found.because]


# ---- waiting: each reason


def parked(book: Book, reason: str, due_in_s: float | None = None) -> str:
    """Accept a job and let its attempt park it; return its id."""
    held = book.one()
    due_at = None if due_in_s is None else book.clock.ms + round(due_in_s * 1000)
    book.ledger.moves.park(held, reason, due_at=due_at, duration_s=0.5).wait(LIMIT_S)
    return held.job_id


@pytest.mark.parametrize(
    ("reason", "code", "says", "cure"),
    [
        ("upstream", "waiting.upstream", "what it needs of its run", "millrace explain {id}"),
        ("breaker:crm", "waiting.breaker", "until crm can be called again, until 2027-01-15T08:01:00Z", "jobs cancel"),
        ("rate:crm", "waiting.rate", "crm takes no more calls for now", "jobs cancel"),
        ("limit", "waiting.limit", "waits for room", "jobs cancel"),
        ("paused", "waiting.paused", "its queue is paused", "millrace queues resume q"),
        ("unknown_task", "waiting.unknown_task", "the daemon does not know", "jobs cancel"),
        ("payload", "waiting.payload", "which no longer fits", "jobs cancel"),
        ("answer", "waiting.answer", "a person's answer", "jobs cancel"),
        ("doubt", "waiting.doubt", "whether its work was done", "millrace effects list"),
    ],
)
def test_a_parked_job_says_what_it_waits_for(book: Book, reason: str, code: str, says: str, cure: str) -> None:
    """Each reason of the contract has its words, the time it ends, and a way out."""
    job_id = parked(book, reason, due_in_s=60)

    found = explained(book, job_id)

    assert found.code == code
    assert found.because[-1].code == code
    assert says in found.because[-1].text
    assert any(cure.format(id=job_id) in command for command in commands(found))
    (kept,) = found.facts["attempts"]
    assert kept["facts"] == {"waits": reason, "until": rfc3339(book.clock.ms + 60_000)}


def test_what_was_waited_for_is_told_when_the_wait_is_over(book: Book) -> None:
    """The row forgets its reason with the next move; the attempt keeps it."""
    job_id = parked(book, "breaker:crm", due_in_s=60)
    book.clock.advance(61)
    book.ledger.moves.promote_due().wait(LIMIT_S)
    (held,) = book.claim()
    book.ledger.moves.succeed(held, "1", duration_s=0.1).wait(LIMIT_S)

    found = explained(book, job_id)

    assert found.code == "succeeded"
    assert "to wait until crm can be called again, until 2027-01-15T08:01:00Z" in texts(found)
    assert "attempt.parked" in codes(found)


def test_a_job_for_later_says_when(book: Book) -> None:
    """`submit --at` looks like nothing happens until then."""
    job_id = book.accept(due_at=book.clock.ms + 3_600_000)

    found = explained(book, job_id)

    assert found.code == "waiting.due"
    assert "2027-01-15T09:00:00Z" in found.because[-1].text


def test_a_due_job_that_nobody_made_ready_is_overdue(book: Book) -> None:
    """A time in the past explains nothing by itself: the daemon is behind, or not there."""
    job_id = book.accept(due_at=book.clock.ms + 1000)
    book.clock.advance(100)

    assert codes(explained(book, job_id))[-1] == "overdue"
    without = explained(book, job_id, served=False)
    assert codes(without)[-1] == "no_daemon"
    assert "millrace serve" in commands(without)


def test_backoff_says_how_many_failures_are_left(book: Book) -> None:
    """Whoever reads it decides whether to wait or to act."""
    held = book.one(max_attempts=4)
    book.ledger.moves.retry(held, ERROR, due_at=book.clock.ms + 5000, duration_s=0.2).wait(LIMIT_S)

    found = explained(book, held.job_id)

    assert found.code == "waiting.backoff"
    assert "1 of the 4 failures" in found.because[-1].text
    assert "ValueError: no such customer. The next was due at 2027-01-15T08:00:05Z" in texts(found)


# ---- queued


def test_a_job_in_a_paused_queue_names_who_paused_it(book: Book) -> None:
    """That is whom to ask."""
    job_id = book.accept()
    book.ledger.moves.pause("q", actor="cli:ann").wait(LIMIT_S)

    found = explained(book, job_id)

    assert found.code == "queued.paused"
    assert "cli:ann" in texts(found)
    assert commands(found)[0] == "millrace queues resume q"


def test_a_job_says_how_many_are_before_it(book: Book) -> None:
    """Higher priority, those who came first, and the shares of other clients are three causes."""
    for _ in range(3):
        book.accept(priority=5)
    book.accept()
    book.clock.advance(1)
    for _ in range(4):
        book.accept(client="acme")
    job_id = book.accept()

    found = explained(book, job_id)

    assert {"queued.behind_priority", "queued.behind", "queued.behind_clients"} <= set(codes(found))
    assert "with a higher priority than its 0: 3 jobs." in texts(found)
    assert "as they came first: 1 job." in texts(found)
    assert "of 1 other client: 4 jobs." in texts(found)
    assert found.facts["queue"]["ahead"] == {"higher": 3, "earlier": 1}


def test_a_full_pool_names_what_has_run_longest(book: Book) -> None:
    """One job that hangs holds up all that wait."""
    first = book.one()
    book.clock.advance(10)
    book.one()
    job_id = book.accept()

    found = explained(book, job_id)

    assert found.code == "queued.limit"
    assert first.job_id in texts(found)
    assert "All 2 workers" in texts(found)
    assert "millrace reload" in commands(found)


def test_a_job_without_daemon_or_queue_says_so(book: Book) -> None:
    """Nothing in the ledger would ever tell."""
    job_id = book.accept()

    assert explained(book, job_id, served=False).code == "no_daemon"
    assert explained(book, job_id, queues={}).code == "queued.no_workers"
    assert explained(book, job_id).code == "queued.next"


# ---- running, over


def test_a_running_job_says_for_how_long_and_how_far(book: Book) -> None:
    """What is at 40 of 100 does not hang."""
    held = book.one()
    book.ledger.moves.progress(held, 40, 100).wait(LIMIT_S)
    book.clock.advance(90)

    found = explained(book, held.job_id)

    assert found.code == "running"
    assert "has run for 1m30s, and was at 40 of 100" in texts(found)
    assert explained(book, held.job_id, served=False).code == "running.cut_off"
    book.ledger.moves.cancel(held.job_id, actor="ann").wait(LIMIT_S)
    assert explained(book, held.job_id).code == "running.cancelling"


def test_a_job_in_a_thread_beyond_its_time_is_told_apart(book: Book) -> None:
    """Nothing ends a thread but itself; "has run for 10m" would say nothing of it."""
    held = book.one()
    book.clock.advance(90)
    notes = StuckNotes("d1", lambda name, text: book.ledger.moves.note(name, text).wait(LIMIT_S), book.clock)
    notes(ThreadStuck("q", held.job_id, "add", 30.0))
    book.clock.advance(30)
    assert explained(book, held.job_id).code == "running", "no daemon has said so"
    now = book.clock.ms
    book.ledger.moves.sign_in(DaemonRow("d1", 1, "host", "9.9", now, now, None)).wait(LIMIT_S)

    found = explained(book, held.job_id)

    assert found.code == "running.stuck"
    assert "Its time was up 1m ago. It runs in a thread" in texts(found)
    assert 'kind = "process"' in found.change[1].text
    book.ledger.moves.release(held, "shutdown", duration_s=0.1).wait(LIMIT_S)
    (again,) = book.ledger.moves.claim("q", 1).wait(LIMIT_S)
    assert explained(book, again.job_id).code == "running", "the next attempt is another"


def test_an_attempt_taken_back_names_the_daemon_that_died(book: Book) -> None:
    """The first question after a second mail: why did it run twice."""
    row = DaemonRow("d1", 4711, "host", "1", book.clock.ms, book.clock.ms, None)
    book.ledger.moves.sign_in(row).wait(LIMIT_S)
    held = book.one()
    book.clock.advance(30)
    successor = Moves(book.ledger.writer, daemon="d2")
    successor.take_back({"q"}).wait(LIMIT_S)
    (again,) = book.claim()
    book.ledger.moves.succeed(again, "1", duration_s=0.1).wait(LIMIT_S)

    found = explained(book, held.job_id)

    assert "its daemon (pid 4711) died, last heard of at 2027-01-15T08:00:00Z" in texts(found)
    assert "attempt.lost" in codes(found)
    assert found.facts["attempts"][0]["facts"]["in_thread"] is True
    assert "It succeeded with attempt 2" in texts(found)


def test_an_interrupted_attempt_names_the_shutdown(book: Book) -> None:
    """A restart makes jobs begin again, which is no failure."""
    held = book.one()
    book.ledger.moves.release(held, "shutdown", duration_s=2.0).wait(LIMIT_S)

    assert "handed back after 2s, as the daemon stopped; that costs nothing" in texts(explained(book, held.job_id))


CRASH: Final = {"pid": 99, "signal": "SIGSEGV", "exit_code": None}


@pytest.mark.parametrize(
    ("cause", "says", "mend"),
    [
        ("out of retries", "used up the 2 failures that it may have, with waits of 5s", "Mend what the error names"),
        ("gave up", "The job itself gave up", "Mend what it gave up for"),
        ("never_on", "never retries this error", "change never_on or retry_on"),
        ("crash", 'on_crash="fail"', "not done twice"),
        ("poison", "took down its own process each time (SIGSEGV, SIGSEGV)", "[queues.q] memory"),
        ("result", "what it returned cannot be kept", "return what is JSON"),
    ],
)
def test_a_dead_job_names_the_rule_and_the_way_back(book: Book, cause: str, says: str, mend: str) -> None:
    """Dead is a decision: by which rule, and what to do."""
    held = book.one(max_attempts=2)
    facts = CRASH if cause in {"crash", "poison"} else None
    moves = book.ledger.moves
    moves.retry(held, ERROR, due_at=book.clock.ms + 5000, duration_s=0.1, facts=facts).wait(LIMIT_S)
    book.clock.advance(5)
    moves.promote_due().wait(LIMIT_S)
    (held,) = book.claim()
    moves.give_up(held, ERROR, duration_s=0.1, cause=cause, facts=facts).wait(LIMIT_S)

    found = explained(book, held.job_id)

    assert found.code == f"dead.{cause.replace(' ', '_')}"
    assert found.because[-1].at == book.clock.ms
    assert says in found.because[-1].text
    assert mend in found.change[0].text
    assert commands(found)[0] == f"millrace dead retry {held.job_id}"
    if facts:
        assert "lost its process after 100ms: pid 99 ended by SIGSEGV" in found.because[-1].text


def test_a_single_failure_is_one(book: Book) -> None:
    """A person says "the one failure", and not "the 1 failures"."""
    held = book.one(max_attempts=1)
    book.ledger.moves.give_up(held, ERROR, duration_s=0.1, cause="out of retries").wait(LIMIT_S)

    assert "That used up the one failure that it may have." in explained(book, held.job_id).because[-1].text


@pytest.mark.parametrize("end", ["dead", "parked"])
def test_an_effect_in_doubt_is_named_with_the_way_to_settle_it(book: Book, end: str) -> None:
    """Put back, the job would only wait for the same answer; a dead one did not even say that there is a question."""
    held = book.one(max_attempts=1)
    moves = book.ledger.moves
    moves.effect_begin(held, Intent("mail 7", "send 0", park=True)).wait(LIMIT_S)
    moves.effect_end(held, EffectEnd("mail 7", "doubt")).wait(LIMIT_S)
    if end == "dead":
        moves.give_up(held, ERROR, duration_s=0.1, cause="out of retries").wait(LIMIT_S)
    else:
        moves.park(held, "doubt", due_at=None, duration_s=0.1).wait(LIMIT_S)

    found = explained(book, held.job_id)

    assert 'Its effect "mail 7" is in doubt: begun, and nobody knows whether it was done.' in texts(found)
    assert commands(found)[0] == "millrace effects settle 'mail 7' --done"
    moves.effect_settle("default", "mail 7", actor="cli:ada", done=False).wait(LIMIT_S)
    assert "in doubt" not in texts(explained(book, held.job_id))


def test_a_timeout_is_told_apart_from_an_error(book: Book) -> None:
    """More time is another cure than a mended job."""
    held = book.one(max_attempts=2)
    error = JobError("Timeout", "the attempt's time was up after 5 s")
    book.ledger.moves.retry(held, error, due_at=book.clock.ms, duration_s=5.0, facts={"ended_by": "TERM"}).wait(LIMIT_S)

    assert "attempt.timeout" in codes(explained(book, held.job_id))


def test_what_people_decided_is_told_with_their_names(book: Book) -> None:
    """Put back, cancelled, discarded, held, promoted: each by somebody, at a time."""
    held = book.one()
    moves = book.ledger.moves
    moves.give_up(held, ERROR, duration_s=0.1, cause="gave up").wait(LIMIT_S)
    moves.requeue(held.job_id, actor="ann").wait(LIMIT_S)
    until = book.clock.ms + 60_000
    moves.move("hold", held.job_id, actor="bob", reason="limit", due_at=until).wait(LIMIT_S)
    moves.move("promote", held.job_id, actor="cat").wait(LIMIT_S)
    moves.cancel(held.job_id, actor="dan").wait(LIMIT_S)

    found = explained(book, held.job_id)

    assert found.code == "cancelled"
    assert codes(found)[-5:-1] == ["event.requeue", "event.hold", "event.promote", "event.cancel"]
    assert "held by bob (limit), until 2027-01-15T08:01:00Z" in texts(found)
    assert commands(found) == [f"millrace jobs retry {held.job_id}"]


def test_a_job_that_waited_for_its_task_keeps_who_promoted_it(book: Book) -> None:
    """The task came back with a start of the daemon: nobody typed anything."""
    job_id = parked(book, "unknown_task")
    book.ledger.moves.promote_fitting("unknown_task", "add").wait(LIMIT_S)

    found = explained(book, job_id)

    assert "event.promote" in codes(found)
    assert found.facts["attempts"][0]["facts"]["waits"] == "unknown_task"


def test_a_long_past_is_cut(book: Book) -> None:
    """Few sentences: whoever wants a hundred reads `jobs show`."""
    job_id = parked(book, "limit", due_in_s=0)
    for _ in range(20):
        book.ledger.moves.promote_due().wait(LIMIT_S)
        (held,) = book.claim()
        book.ledger.moves.park(held, "limit", due_at=book.clock.ms, duration_s=0.1).wait(LIMIT_S)

    found = explained(book, job_id)

    assert len(found.because) <= 12
    assert "Before that, 13 more are in: millrace jobs show" in texts(found)


def test_a_dead_job_that_somebody_discarded_is_no_plain_cancel(book: Book) -> None:
    """It was decided, with a reason."""
    held = book.one()
    book.ledger.moves.give_up(held, ERROR, duration_s=0.1, cause="gave up").wait(LIMIT_S)
    book.ledger.moves.discard(held.job_id, actor="ann", reason="a holiday").wait(LIMIT_S)

    found = explained(book, held.job_id)

    assert found.code == "cancelled.discarded"
    assert "(a holiday)" in texts(found)


def test_a_job_that_waited_too_long_is_dead_without_an_attempt(book: Book) -> None:
    """Abandoned is another cause than a bad item."""
    job_id = parked(book, "breaker:crm")
    book.ledger.moves.move("abandon", job_id, actor="daemon", reason="waited 2d").wait(LIMIT_S)

    assert explained(book, job_id).code == "dead.abandoned"


# ---- runs


def test_a_run_says_what_its_collect_waits_for(book: Book) -> None:
    """The total is missing, and somebody asks for which records."""
    works = Works(book)
    run_id = works.start(LINE)
    works.fan_out(3)
    (first, *_) = works.claim("points", 1)
    book.ledger.moves.retry(first, ERROR, due_at=book.clock.ms + 60_000, duration_s=0.1).wait(LIMIT_S)

    found = run_explained(works, run_id)

    assert "Stage total waits for 3 open jobs of points." in texts(found)
    assert "run.collect_waits" in codes(found)
    assert "Stage points has 2 queued." in texts(found)
    assert f"Job {first.job_id} of stage points, record {first.record} waits before its next attempt" in texts(found)


def test_a_run_in_a_paused_queue_names_who_paused_it(book: Book) -> None:
    """What it waits for is no job of its own."""
    works = Works(book)
    run_id = works.start(LINE)
    queue = works.reads.plan(run_id).stages[0].queue
    assert "run.queue_paused" not in codes(run_explained(works, run_id))
    book.ledger.moves.pause(queue, actor="cli:ann").wait(LIMIT_S)

    found = run_explained(works, run_id)

    assert found.code == "run.queue_paused"
    assert f"Queue {queue} was paused by cli:ann: lead cannot go on." in texts(found)
    assert commands(found)[0] == f"millrace queues resume {queue}"


def test_a_paused_fan_out_says_when_it_goes_on(book: Book) -> None:
    """It holds no worker, and looks like nothing happens."""
    works = Works(book)
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    works.emit(held, 1)
    book.ledger.moves.park(held, "limit", due_at=None, duration_s=0.1).wait(LIMIT_S)
    # the one record is far below the bound of the plan, so that it goes on at once; one that is full pauses
    assert explained(book, held.job_id).code == "queued.next"
    (again,) = works.claim("lead")
    works.emit(again, 600)
    book.ledger.moves.park(again, "limit", due_at=None, duration_s=0.1).wait(LIMIT_S)

    assert "601 jobs of its records are open, and it goes on when fewer than 500 are" in texts(
        explained(book, held.job_id)
    )
    assert "run.fanout_paused" in codes(run_explained(works, run_id))


def test_a_partial_run_names_its_lost_records(book: Book) -> None:
    """And the way to get them back."""
    works = Works(book)
    run_id = works.start(LINE)
    works.fan_out(3)
    held, *others = works.claim("points")
    works.die(held)
    works.succeed(others)
    works.work_off()

    found = run_explained(works, run_id)

    assert (found.status, found.code) == ("partial", "run.partial")
    assert f"Stage points has 1 dead: record {held.record} (ValueError: no)" in texts(found)
    assert commands(found) == [f"millrace explain {held.job_id}", f"millrace runs resume {run_id}"]
    works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S)
    works.work_off()
    again = run_explained(works, run_id)
    assert (again.status, again.code) == ("succeeded", "run.succeeded")
    assert "run.edition" in codes(again)


def test_a_failed_run_names_the_stage_and_what_never_began(book: Book) -> None:
    """Without the fan-out there is nothing to total."""
    works = Works(book)
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    works.die(held)

    found = run_explained(works, run_id)

    assert (found.status, found.code) == ("failed", "run.failed")
    assert "Stage lead has 1 dead" in texts(found)
    assert "Nothing came of total" in texts(found)


def test_a_cancelled_run_names_who_did_it(book: Book) -> None:
    """And how it goes on."""
    works = Works(book)
    run_id = works.start(LINE)
    works.moves.cancel_run(run_id, actor="ann").wait(LIMIT_S)

    found = run_explained(works, run_id)

    assert (found.code, found.facts["cancelled_by"]) == ("run.cancelled", "ann")


def test_a_bad_item_is_dead_without_an_attempt(book: Book) -> None:
    """There was nothing to run: the item itself is wrong."""
    works = Works(book)
    run_id = works.start(LINE)
    works.fan_out(2, bad=[1])
    sql = "SELECT id FROM job WHERE run_id = ? AND status = 'dead'"
    ((job_id,),) = book.sql(sql, (run_id,))

    found = explained(book, job_id)

    assert found.code == "dead.bad_item"
    assert "without an attempt" in texts(found)
    assert "BadItem: it does not fit" in texts(found)


def test_a_bad_item_that_was_put_back_as_it_came_is_told_as_that(book: Book) -> None:
    """Whoever has corrected the file meanwhile must learn that the run does not read it again."""
    works = Works(book)
    run_id = works.start(LINE)
    works.fan_out(2, bad=[1])
    works.work_off()
    assert "start a new run" in "".join(str(change.text) for change in run_explained(works, run_id).change)
    ((job_id,),) = book.sql("SELECT id FROM job WHERE run_id = ? AND status = 'dead'", (run_id,))
    book.ledger.moves.requeue(job_id, actor="cli:ann").wait(LIMIT_S)
    (held,) = works.claim("lead")
    book.ledger.moves.give_up(held, BAD, duration_s=0.0, cause="gave up").wait(LIMIT_S)

    found = explained(book, job_id)

    assert found.code == "dead.bad_item"
    assert "start a new run" in found.change[0].text


# ---- a full disk


FULL = Disk(free=4096, kept=4_000_000, full=True, unrecorded={})


def test_a_job_that_has_ended_and_cannot_be_written_is_not_said_to_run(book: Book) -> None:
    """By the ledger it runs; the daemon knows better, and the disk is why."""
    held = book.one()
    lost = {held.job_id: Unrecorded(1, "the disk is full: nothing of this was written")}

    found = explained(book, held.job_id, disk=FULL._replace(unrecorded=lost))

    assert found.code == "disk_full"
    assert codes(found)[-2:] == ["disk_full", "running.unrecorded"]
    assert "Attempt 1 has ended, and the ledger does not take what it came to" in texts(found)
    assert found.change == [MAKE_ROOM]
    assert found.facts["disk"] == {"free_bytes": 4096, "kept_bytes": 4_000_000, "full": True, "unrecorded": 1}
    assert found.facts["unrecorded"]["attempt"] == 1
    other = explained(book, held.job_id, disk=Disk(10**12, 0, full=False, unrecorded=lost))
    assert other.code == "running.unrecorded"
    assert commands(other) == ["millrace doctor"]


def test_a_full_disk_is_why_nothing_starts_and_workers_are_no_cure(book: Book) -> None:
    """More of them would only have more to write."""
    running, waits = book.one(), book.accept(due_at=book.clock.ms + 1000)
    book.one()
    queued = book.accept()
    found = explained(book, queued, disk=FULL)
    assert found.code == "disk_full"
    assert "queued.limit" in codes(found)
    assert found.change[0] == MAKE_ROOM
    assert not any("workers" in one.text for one in found.change)
    assert explained(book, running.job_id, disk=FULL).code == "disk_full"
    book.clock.advance(60)
    assert explained(book, waits, disk=FULL).code == "disk_full"
    enough = Disk(10**12, 4_000_000, full=False, unrecorded={})
    assert explained(book, queued, disk=enough).code == "queued.limit"
    assert explained(book, running.job_id, disk=enough).code == "running"


def test_a_queue_names_the_disk_when_it_is_full_and_when_it_is_low(book: Book) -> None:
    """Full: nothing moves. Low: what was accepted goes on, and more is refused."""
    held = book.one()
    lost = {held.job_id: Unrecorded(1, "no room")}

    def of_queue(disk: Disk) -> Explanation:
        around = Around(book.clock.now_ms(), served=True, queues=QUEUES, disk=disk)
        return explain_look.queue(book.ledger.reads, "q", around)

    full = of_queue(FULL._replace(unrecorded=lost))
    assert (full.code, full.change[0]) == ("disk_full", MAKE_ROOM)
    assert "1 attempt of all queues that ended could not be written down" in texts(full)
    low = of_queue(Disk(free=3_000_000, kept=4_000_000, full=False, unrecorded={}))
    assert low.code == "queue.depth"
    assert "disk_low" in codes(low)
    assert "3MB are left and 4MB are kept" in texts(low)
    assert low.facts["disk"]["full"] is False


def test_what_the_daemon_says_and_what_is_free_tell_whether_a_disk_is_full() -> None:
    """A commit may find too little where something is left; and where nothing is, none need have been tried."""
    said = {"full": True, "unrecorded": {"j": [2, "no room"]}}
    found = disk_of(Level(10**6, 0), said)
    assert found is not None
    assert (found.full, found.unrecorded["j"]) == (True, Unrecorded(2, "no room"))
    assert disk_of(None, said) is None
    told = disk_of(Level(10**6, 0), {"level": [10**6, 2 * 10**6]})
    assert told is not None
    assert told.low, "the daemon knows what is on its way, and whether it has shut the door"
    assert [disk.full for free in (0, 10**6) if (disk := disk_of(Level(free, 0), {})) is not None] == [True, False]


# ---- queues


def test_a_queue_tells_depth_workers_and_who_paused_it(book: Book) -> None:
    """All of a lane on one screen."""
    held = book.one()
    for client in ("acme", "globex", "acme"):
        book.accept(client=client)
    book.clock.advance(65)
    reads = book.ledger.reads
    around = Around(book.clock.now_ms(), served=True, queues=QUEUES)

    found = explain_look.queue(reads, "q", around)

    assert found.code == "queue.depth"
    assert "3 jobs can start, 0 wait for a time or a cause, 1 run." in texts(found)
    assert "queued for 1m5s" in texts(found)
    assert f"1 of its 2 workers are busy; job {held.job_id} (add) has run the longest" in texts(found)
    assert "2 clients share it" in texts(found)
    book.ledger.moves.pause("q", actor="ann").wait(LIMIT_S)
    paused = explain_look.queue(reads, "q", around)
    assert (paused.status, paused.code) == ("paused", "queue.paused")
    assert explain_look.queue(reads, "other", around).code == "queue.no_workers"
