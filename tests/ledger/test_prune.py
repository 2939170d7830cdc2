"""Removing what is old: the balance holds, runs go as a whole, the audit log still verifies."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from millrace.clock import SYSTEM
from millrace.config.storage import RetentionSettings
from millrace.events import LedgerOverBudget, Pruned
from millrace.ledger.audit import verify
from millrace.ledger.prune_reads import PruneReads
from millrace.ledger.rows import JobError, NewJob
from millrace.ledger.states import Status
from millrace.ledger.trails import trails
from millrace.process.retention import PIECE, Retention, Sums
from tests.ledger.rig import LIMIT_S
from tests.ledger.runs_rig import DIAMOND, LINE, Works, plan, stage

if TYPE_CHECKING:
    from tests.ledger.rig import Book

DAY = 86_400.0
ALL = ("job", "attempt", "event", "step", "progress", "run", "run_count", "fanout", "record", "skip")


class Quick:
    """The book's clock, for a retention that does not wait."""

    def __init__(self, book: Book) -> None:
        self._clock = book.clock

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:  # noqa: ARG002 - no breath is needed
        return event.is_set()


def retention(book: Book) -> Retention:
    """Return a retention that does not wait."""
    return Retention(book.ledger.moves, book.ledger.reads, Quick(book), book.events.append, threading.Event())


def pruned(book: Book, **settings: Any) -> Sums:
    """Remove what these settings say is old."""
    return retention(book).run(RetentionSettings.model_validate(settings))


def finished(book: Book, **given: Any) -> str:
    """Make a job that succeeded."""
    held = book.one(**given)
    book.ledger.moves.step_put(held, "part", "1").wait(LIMIT_S)
    book.ledger.moves.succeed(held, "1", duration_s=0.1).wait(LIMIT_S)
    return held.job_id


def died(book: Book) -> str:
    """Make a dead job."""
    held = book.one()
    book.ledger.moves.give_up(held, JobError("E", "no"), duration_s=0.1, cause="x").wait(LIMIT_S)
    return held.job_id


def rows(book: Book) -> dict[str, int]:
    """Count the rows of each table that has any."""
    counts = {table: book.sql(f"SELECT count(*) FROM {table}")[0][0] for table in ALL}  # noqa: S608 - our tables
    return {table: count for table, count in counts.items() if count}


def test_each_status_has_its_own_time(book: Book) -> None:
    """Dead letters wait for somebody to decide; what succeeded is of no interest after a while."""
    finished(book)
    gone = book.accept()
    book.ledger.moves.cancel(gone, actor="cli:ann").wait(LIMIT_S)
    dead = died(book)
    waiting = book.accept()
    assert pruned(book, succeeded="1d", cancelled="1d", dead="9d").jobs == 0
    book.clock.advance(2 * DAY)
    late = finished(book, queue="r")
    assert pruned(book, succeeded="1d") == Sums(jobs=1)
    assert pruned(book, succeeded="1d", cancelled="1d", dead="9d") == Sums(jobs=1)
    assert left(book) == {dead, waiting, late}
    book.clock.advance(9 * DAY)
    assert pruned(book, dead="9d") == Sums(jobs=1)
    balance = book.ledger.reads.balance(count_rows=True)
    assert (balance.difference, balance.pruned, balance.accepted) == (0, 3, 5)
    assert [(tally.queue, tally.pruned) for tally in book.ledger.reads.tallies()] == [("q", 3), ("r", 0)]


def left(book: Book) -> set[str]:
    """Return the jobs that are there."""
    return {row[0] for row in book.sql("SELECT id FROM job")}


def test_a_job_goes_with_all_that_belongs_to_it(book: Book) -> None:
    """Attempts and events of a job that is gone would only take room."""
    finished(book)
    job_id = died(book)
    book.ledger.moves.requeue(job_id, actor="cli:ann").wait(LIMIT_S)
    book.ledger.moves.cancel(job_id, actor="cli:ann").wait(LIMIT_S)
    assert set(rows(book)) >= {"job", "attempt", "event", "step"}
    book.clock.advance(2 * DAY)
    assert pruned(book, succeeded="1d", cancelled="1d").jobs == 2
    assert rows(book) == {}


def test_nothing_goes_that_no_time_is_given_for(book: Book) -> None:
    """An empty file keeps everything."""
    finished(book)
    died(book)
    book.clock.advance(10_000 * DAY)
    assert not pruned(book)
    assert len(left(book)) == 2


def test_the_key_of_a_pruned_job_is_free_again(book: Book) -> None:
    """A key holds for as long as its job is kept: there is nothing any more that could be returned."""
    first = finished(book, key="k")
    book.clock.advance(2 * DAY)
    assert pruned(book, succeeded="1d").jobs == 1
    again = book.ledger.moves.accept([NewJob("add", "q", key="k")]).wait(LIMIT_S)[0]
    assert again.id != first
    assert not again.existed
    assert book.balanced()


def test_a_job_that_was_put_back_meanwhile_stays(book: Book) -> None:
    """Between the look and the removal somebody had it retried."""
    job_id = died(book)
    book.clock.advance(2 * DAY)
    now = book.clock.now_ms()
    ids, _ = PruneReads(book.ledger.reads).old_jobs(Status.DEAD, now, "", 10)
    assert ids == [job_id]
    book.ledger.moves.requeue(job_id, actor="cli:ann").wait(LIMIT_S)
    assert book.ledger.moves.prune_jobs(ids, Status.DEAD, now).wait(LIMIT_S) == 0
    assert book.row(job_id).status == "queued"


def test_a_job_whose_effect_is_in_doubt_stays(book: Book) -> None:
    """Somebody has to decide about it, and wants to see what it was."""
    job_id = died(book)
    book.sql(
        "INSERT INTO effect (client, key, status, job_id, attempt, at) VALUES ('default', 'k', 'doubt', ?, 1, 0)",
        (job_id,),
    )
    book.clock.advance(2 * DAY)
    assert pruned(book, dead="1d").jobs == 0
    book.sql("UPDATE effect SET status = 'done', result = '1'")
    assert pruned(book, dead="1d").jobs == 1
    assert book.sql("SELECT count(*) FROM effect") == [(1,)]


def test_a_run_goes_as_a_whole_and_not_before_it_is_over(book: Book) -> None:
    """Half a run can be neither shown nor resumed."""
    works = Works(book)
    run_id = works.start(DIAMOND)
    works.fan_out(7)
    book.clock.advance(2 * DAY)
    assert not pruned(book, runs="1d", succeeded="1d")
    works.work_off()
    assert works.run(run_id).status == "succeeded"
    assert not pruned(book, runs="1d", succeeded="1d")
    book.clock.advance(2 * DAY)
    assert not pruned(book, succeeded="1d")
    sums = pruned(book, runs="1d")
    assert (sums.runs, sums.jobs) == (1, 24)
    assert rows(book) == {}
    balance = book.ledger.reads.balance(count_rows=True)
    assert (balance.difference, balance.pruned) == (0, 24)


def test_runs_in_doubt_do_not_keep_those_behind_them(book: Book) -> None:
    """However many they are: nobody may ever decide about them."""
    works = Works(book)
    single = plan(stage("only"))
    in_doubt = [works.start(single) for _ in range(PIECE + 1)]
    behind = works.start(single)
    works.work_off()
    for run_id in in_doubt:
        book.sql(
            "INSERT INTO effect (client, key, status, job_id, attempt, at)"
            " SELECT 'default', id, 'doubt', id, 1, 0 FROM job WHERE run_id = ?",
            (run_id,),
        )
    book.clock.advance(2 * DAY)
    assert pruned(book, runs="1d").runs == 1
    assert book.sql("SELECT count(*), sum(id = ?) FROM run", (behind,)) == [(PIECE + 1, 0)]


def test_a_run_with_dead_letters_stays_until_they_may_go(book: Book) -> None:
    """Removing it would remove what somebody has yet to decide about."""
    works = Works(book)
    works.start(LINE)
    works.fan_out(2)
    for held in works.claim("points"):
        book.ledger.moves.give_up(held, JobError("E", "no"), duration_s=0.1, cause="x").wait(LIMIT_S)
    works.work_off()
    book.clock.advance(5 * DAY)
    assert not pruned(book, runs="1d")
    assert not pruned(book, runs="1d", dead="9d")
    book.clock.advance(5 * DAY)
    assert pruned(book, runs="1d", dead="9d").runs == 1
    assert rows(book) == {}
    assert book.balanced()


def test_a_kill_in_the_middle_of_a_run_leaves_a_balance_and_is_finished_later(book: Book) -> None:
    """Its jobs go in pieces; after each the ledger must be right."""
    works = Works(book)
    run_id = works.start(DIAMOND)
    works.fan_out(30)
    works.work_off()
    book.clock.advance(2 * DAY)
    now = book.clock.now_ms()
    assert book.ledger.moves.begin_prune_run(run_id, now).wait(LIMIT_S)
    assert book.ledger.moves.prune_run(run_id, 10).wait(LIMIT_S) == (10, True)
    assert book.balanced()
    assert trails(book.ledger.reads) == []
    assert PruneReads(book.ledger.reads).half_runs() == [run_id]
    assert pruned(book).jobs == 83
    assert rows(book) == {}
    assert book.balanced()
    assert PruneReads(book.ledger.reads).half_runs() == []


def test_the_audit_chain_holds_after_its_beginning_was_removed(book: Book) -> None:
    """And what is changed afterwards still shows."""
    for number in range(5):
        book.ledger.moves.audit("cli:ann", "job.look", str(number)).wait(LIMIT_S)
        book.clock.advance(DAY)
    assert pruned(book, audit="3d").audit_rows == 2
    reads = book.ledger.reads
    found, head, anchor = reads.audit(), reads.audit_head(), reads.audit_anchor()
    assert [row.id for row in found] == [3, 4, 5]
    assert verify(found, head, anchor) == (3, None, "")
    assert verify(found, head).broken_at == 1
    assert verify(found[1:], head, anchor).broken_at == 3
    assert verify([found[0]._replace(actor="cli:eve"), *found[1:]], head, anchor).broken_at == 3
    book.ledger.moves.audit("cli:ann", "job.look", "6").wait(LIMIT_S)
    book.clock.advance(100 * DAY)
    assert pruned(book, audit="1d").audit_rows == 3
    found, head, anchor = reads.audit(), reads.audit_head(), reads.audit_anchor()
    assert [row.id for row in found] == [6]
    assert verify(found, head, anchor) == (1, None, "")


def test_above_its_size_the_oldest_goes_and_dead_letters_stay(book: Book) -> None:
    """A full disk stops everybody; but what somebody has yet to decide about is not the ledger's to remove."""
    dead = died(book)
    old = [finished(book, payload='{"x":"' + "x" * 20_000 + '"}') for _ in range(150)]
    book.clock.advance(DAY)
    new = finished(book, payload='{"x":"' + "y" * 20_000 + '"}')
    sums = pruned(book, max_size="2MB")
    assert 0 < sums.early == sums.jobs < 150
    remain = left(book)
    assert {dead, new, old[-1]} <= remain
    assert old[0] not in remain
    assert book.balanced()
    keeper = retention(book)
    book.events.clear()
    for _ in range(2):
        keeper.run(RetentionSettings.model_validate({"max_size": "1MB", "succeeded": "1d"}))
        finished(book, payload='{"x":"' + "z" * 1_500_000 + '"}')
    keeper.run(RetentionSettings.model_validate({"max_size": "1MB"}))
    assert sum(isinstance(event, LedgerOverBudget) for event in book.events) == 1
    assert any(isinstance(event, Pruned) for event in book.events)


def test_the_space_is_given_back(book: Book) -> None:
    """A file that never shrinks fills the disk all the same."""
    for _ in range(20):
        book.ledger.moves.accept([NewJob("add", "q", '{"x":"' + "x" * 100_000 + '"}') for _ in range(5)]).wait(LIMIT_S)
    while claims := book.claim(200):  # as many as fit into the bound of a claim
        for held in claims:
            book.ledger.moves.succeed(held, "1", duration_s=0.1).wait(LIMIT_S)
    book.clock.advance(2 * DAY)
    keeper, before = retention(book), PruneReads(book.ledger.reads).pages()
    assert keeper.run(RetentionSettings.model_validate({"succeeded": "1d"})).jobs == 100
    assert keeper.give_back(idle=False) > 2000  # most of the file is free: it does not wait for a quiet hour
    after = PruneReads(book.ledger.reads).pages()
    assert after.total < before.total / 10
    assert book.balanced()


def test_what_is_planned_is_what_goes(book: Book) -> None:
    """Whoever looks first must be shown the truth."""
    finished(book)
    died(book)
    works = Works(book)
    works.start(LINE)
    works.fan_out(3)
    works.work_off()
    book.ledger.moves.audit("cli:ann", "job.look", "x").wait(LIMIT_S)
    book.clock.advance(2 * DAY)
    settings = RetentionSettings.model_validate({"succeeded": "1d", "runs": "1d"})
    planned = {row.kind: (row.number, row.jobs) for row in retention(book).plan(settings)}
    assert planned == {"succeeded": (1, 0), "cancelled": (0, 0), "dead": (0, 0), "runs": (1, 5), "audit": (0, 0)}
    sums = pruned(book, succeeded="1d", runs="1d")
    assert (sums.jobs, sums.runs) == (6, 1)


def test_a_piece_holds_the_lock_for_a_moment_only(book: Book) -> None:
    """Commands and submissions wait meanwhile."""
    size = PIECE
    text = '{"x":"' + "x" * 2_000 + '"}'
    ids = [one.id for one in book.ledger.moves.accept([NewJob("add", "q", text) for _ in range(size)]).wait(LIMIT_S)]
    for held in book.claim(size):
        book.ledger.moves.succeed(held, "1", duration_s=0.1).wait(LIMIT_S)
    book.clock.advance(2 * DAY)
    began = SYSTEM.monotonic()
    assert book.ledger.moves.prune_jobs(ids, Status.SUCCEEDED, book.clock.now_ms()).wait(LIMIT_S) == size
    assert SYSTEM.monotonic() - began < 0.5
