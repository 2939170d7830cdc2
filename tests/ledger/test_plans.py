"""
The hot statements as they are really executed, and the plans that SQLite makes of them: each must be served by its
index, and none may walk through the backlog or the history.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from millrace.ledger import fire_reads, job_reads
from millrace.ledger.fire_rows import Decision, NewFire
from millrace.ledger.rows import JobError, JobFilter, NewJob
from millrace.ledger.run_rows import NewRun, RunFilter
from tests.ledger.rig import LIMIT_S, START_MS, Book, hold
from tests.ledger.runs_rig import DIAMOND, LINE, ROUTED, Works

if TYPE_CHECKING:
    from collections.abc import Callable

ERROR = JobError("E", "m")
_TABLES = r"(FROM|JOIN|UPDATE|INTO) (job|run|run_count|fanout|record|skip|progress)\b"


def traced(book: Book, act: Callable[[], Any]) -> list[tuple[str, Any]]:
    """Return the statements, with their values, that a call makes the writer or this thread's reader execute."""
    seen: list[tuple[str, Any]] = []

    def note(_cursor: object, sql: str, values: Any) -> bool:
        seen.append((sql, values))
        return True

    reader = book.ledger.reads.connection()
    book.ledger.writer.submit(lambda tx: setattr(tx.connection, "exec_trace", note)).wait(LIMIT_S)
    reader.exec_trace = note
    try:
        act()
    finally:
        reader.exec_trace = None
        book.ledger.writer.submit(lambda tx: setattr(tx.connection, "exec_trace", None)).wait(LIMIT_S)
    return [(sql, values) for sql, values in seen if re.search(_TABLES, sql)]


def plans(book: Book, act: Callable[[], Any]) -> list[str]:
    """Return the plan of each statement on `job` that a call executes, one text per statement."""
    connection = apsw.Connection(str(book.path))
    try:
        found = []
        for sql, values in traced(book, act):
            rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            found.append("; ".join(str(row[3]) for row in rows))
        return found
    finally:
        connection.close()


def wait(ticket: Any) -> Any:
    """Return what a ticket comes to."""
    return ticket.wait(LIMIT_S)


def served(book: Book, act: Callable[[], Any], by: str) -> None:
    """Assert that a call is served by an index (or the primary key) and scans nothing."""
    made = plans(book, act)
    assert any(by in plan for plan in made), made
    assert not any("SCAN job" in plan for plan in made), made


def test_a_claim_is_served_by_the_index_of_the_queue(book: Book) -> None:
    """With a backlog of half a million it must cost what it costs with ten: in the order of the index, unsorted."""
    book.accept()
    served(book, lambda: book.claim(2), "USING COVERING INDEX job_queued (queue=? AND client=?)")
    book.accept()
    assert not any("TEMP B-TREE" in plan for plan in plans(book, lambda: book.claim(1)) if "job_queued" in plan)


def test_what_died_in_a_run_is_found_in_order_without_its_other_jobs(book: Book) -> None:
    """A run of 300,000 is shown within 300 ms, and its newest dead letters with it."""
    reads = book.ledger.reads
    for status in ("dead", "cancelled"):
        made = plans(book, lambda status=status: reads.jobs(JobFilter(run="r", status=status)))  # type: ignore[misc]
        assert any("USING INDEX job_undone (run_id=?)" in plan for plan in made), made
        assert not any("TEMP B-TREE" in plan for plan in made), made


@pytest.mark.parametrize("status", ["waiting", "queued", "running"])
def test_open_jobs_of_a_run_are_found_among_its_own_or_among_the_open_ones(book: Book, status: str) -> None:
    """Whichever are fewer: a run of three beside a backlog of all others, or one that waits in a run of a million."""
    works, reads = Works(book), book.ledger.reads
    run_id = works.start(LINE)
    works.fan_out(10)
    held, *rest = works.claim("points")
    works.succeed(rest)
    if status != "running":
        book.ledger.moves.retry(held, ERROR, due_at=START_MS + 9, duration_s=0.0).wait(LIMIT_S)
    if status == "queued":
        book.clock.advance(1)
        book.ledger.moves.promote_due().wait(LIMIT_S)
    wanted = JobFilter(run=run_id, status=status)
    assert f"USING INDEX job_{status}" in plans(book, lambda: reads.jobs(wanted))[-1]
    assert [job.id for job in reads.jobs(wanted).jobs] == [held.job_id]
    due_at = START_MS + 99_999 if status == "waiting" else None
    book.ledger.moves.accept([NewJob("add", "other", due_at=due_at) for _ in range(50)]).wait(LIMIT_S)
    if status == "running":
        book.claim(50, queue="other")
    served(book, lambda: reads.jobs(wanted), "USING INDEX job_run (run_id=? AND stage=?)")
    assert [job.id for job in reads.jobs(replace(wanted, task="p.points", since=START_MS)).jobs] == [held.job_id]
    assert reads.jobs(replace(wanted, run="none")).jobs == []


def test_queued_jobs_of_a_name_are_found_in_their_lanes(book: Book) -> None:
    """One client's three among 600,000 of others: the list walked all of them."""
    for number in range(3):
        book.accept("rare" if number else "add", client="acme")
        book.accept()
    asked = [JobFilter(client="acme"), JobFilter(task="rare"), JobFilter(queue="q")]
    for wanted in (replace(one, status="queued") for one in asked):
        served(book, lambda wanted=wanted: book.ledger.reads.jobs(wanted), "job_queued (queue=? AND client=?)")  # type: ignore[misc]


def test_the_move_of_what_was_found_goes_by_the_primary_key(book: Book) -> None:
    """The outer UPDATE must not choose the partial index of its own status and walk the backlog."""
    book.accept()
    found = [plan for plan in plans(book, lambda: book.claim(1)) if "job_queued" in plan]
    assert len(found) == 2, "what is looked at, and what is made of it"
    assert all(plan.startswith("SEARCH job USING PRIMARY KEY (id=?)") for plan in found)
    book.accept(due_at=START_MS + 1)
    book.clock.advance(1)
    (plan,) = plans(book, lambda: wait(book.ledger.moves.promote_due()))
    assert plan.startswith("SEARCH job USING PRIMARY KEY (id=?)")


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("due", "COVERING INDEX job_due"),
        ("fits", "COVERING INDEX job_waiting (reason=? AND task=?)"),
        ("known key", "INDEX job_key (client=? AND key=?)"),
        ("succeed", "PRIMARY KEY (id=?)"),
        ("retry", "PRIMARY KEY (id=?)"),
        ("cancelled meanwhile", "PRIMARY KEY (id=?)"),
        ("cancel", "PRIMARY KEY (id=?)"),
        ("requeue", "PRIMARY KEY (id=?)"),
        ("step", "PRIMARY KEY (id=?)"),
        ("next_due", "COVERING INDEX job_due"),
        ("cancels", "INDEX job_running (daemon=?)"),
        ("held_tasks", "COVERING INDEX job_waiting (reason=?)"),
        ("prefix", "PRIMARY KEY (id>? AND id<?)"),
        ("run", "INDEX job_run (run_id=?)"),
        ("oldest", "COVERING INDEX job_queued (queue=? AND client=? AND priority<?)"),
    ],
)
def test_hot_statements_use_their_index(book: Book, name: str, index: str) -> None:
    """Each of them is executed while others wait."""
    moves, reads = book.ledger.moves, book.ledger.reads
    held = book.one(key="k", run_id="r")
    other = book.accept()
    if name == "cancelled meanwhile":
        wait(moves.cancel(held.job_id, actor="ann"))
    if name == "requeue":
        wait(moves.cancel(other, actor="ann"))
    acts: dict[str, Callable[[], Any]] = {
        "due": lambda: wait(moves.promote_due()),
        "fits": lambda: wait(moves.promote_fitting("payload", "add")),
        "known key": lambda: wait(moves.accept([NewJob("add", "q", key="k")])),
        "succeed": lambda: wait(moves.succeed(held, "1", duration_s=0.0)),
        "retry": lambda: wait(moves.retry(held, ERROR, due_at=1, duration_s=0.0)),
        "cancelled meanwhile": lambda: wait(moves.release(held, "shutdown", duration_s=0.0)),
        "cancel": lambda: wait(moves.cancel(other, actor="ann")),
        "requeue": lambda: wait(moves.requeue(other, actor="ann")),
        "step": lambda: wait(moves.step_put(held, "s", "1")),
        "next_due": reads.next_due,
        "cancels": lambda: reads.cancels("d1"),
        "held_tasks": lambda: reads.held_tasks("payload"),
        "prefix": lambda: reads.job(held.job_id),
        "run": lambda: reads.jobs(JobFilter(run="r")),
        "oldest": reads.queues,
    }
    served(book, acts[name], index)


@pytest.mark.parametrize("since", [None, START_MS])
@pytest.mark.parametrize(("status", "index"), list(job_reads._PARTIAL.items()))
def test_a_list_of_open_jobs_walks_their_index_alone(book: Book, status: str, index: str, since: int | None) -> None:
    """INDEXED BY fails at once when the partial index cannot serve the statement: then the list would be an error."""
    for queue in (None, "q"):
        wanted = JobFilter(status=status, queue=queue, client="c", task="t", since=since, after="f", limit=5)
        (plan,) = plans(book, lambda wanted=wanted: book.ledger.reads.jobs(wanted))  # type: ignore[misc]
        assert f"USING INDEX {index}" in plan


@pytest.mark.parametrize("status", ["dead", "cancelled"])
def test_the_dead_letters_are_found_without_the_history(book: Book, status: str) -> None:
    """A handful among a million that succeeded."""
    for after in (None, "f"):
        wanted = JobFilter(status=status, after=after)
        (plan,) = plans(book, lambda wanted=wanted: book.ledger.reads.jobs(wanted))  # type: ignore[misc]
        assert f"USING INDEX job_{status}" in plan
        assert "TEMP B-TREE" not in plan


def test_the_newest_jobs_are_not_sorted(book: Book) -> None:
    """The walk ends with the page, and at `since` if that comes first."""
    (plan,) = plans(book, lambda: book.ledger.reads.jobs(JobFilter()))
    assert "TEMP B-TREE" not in plan
    served(book, lambda: book.ledger.reads.jobs(JobFilter(since=START_MS)), "PRIMARY KEY (id>?)")


def test_what_is_lost_is_looked_for_among_the_running(book: Book) -> None:
    """A start with a million finished jobs must not read them."""
    book.one()
    made = plans(book, lambda: wait(book.ledger.moves.take_back(set())))
    assert all("SCAN job USING INDEX job_running" in plan for plan in made if "SCAN job" in plan), made


def test_depth_and_counts_never_touch_the_jobs(book: Book) -> None:
    """They come from lanes and tallies, whatever the backlog."""
    reads = book.ledger.reads
    for look in (lambda: reads.depth("q"), reads.status_counts, reads.tallies, lambda: reads.balance(count_rows=False)):
        assert plans(book, look) == []


def test_a_new_job_is_one_insert(book: Book) -> None:
    """Without a key nothing is looked up; many jobs are a few statements."""
    assert len(traced(book, book.accept)) == 1
    many = traced(book, lambda: wait(book.ledger.moves.accept([NewJob("add", "q")] * 120)))
    assert len(many) == 2 + 20
    many = traced(book, lambda: wait(book.ledger.moves.accept([NewJob("add", "q")] * 550)))
    assert len(many) == 2 + 1
    assert len(many[0][0]) < 16_384  # longer ones are prepared anew each time


def run_plans(book: Book, act: Callable[[], Any]) -> list[str]:
    """Return the plans of all statements that a call executes; none of them may scan a table."""
    made = plans(book, act)
    assert made
    scans = [plan for plan in made if re.search(r"SCAN (job|run|run_count|fanout|record|skip|progress)\b", plan)]
    assert not scans
    assert not any("TEMP B-TREE" in plan for plan in made), made
    return made


def test_the_moves_of_a_run_scan_nothing(book: Book) -> None:
    """Each of them is made while a run of 300,000 records is in the ledger: a scan per finish would never end."""
    works = Works(book)
    run_id = works.start(DIAMOND)
    (held,) = works.claim("lead")
    run_plans(book, lambda: works.emit(held, 200, bad=[3]))
    run_plans(book, lambda: works.succeed([held]))
    companies, points = works.claim("company"), works.claim("points")
    run_plans(book, lambda: works.succeed(companies[:1]))
    run_plans(book, lambda: works.die(companies[1]))

    def together() -> None:
        stand = hold(book.ledger)
        tickets = [works.moves.succeed(one, "1", duration_s=0.0) for one in companies[2:]]
        stand.go()
        for ticket in tickets:
            ticket.wait(LIMIT_S)

    made = run_plans(book, together)
    assert len(made) < 40, "many successes are few statements"
    made = run_plans(book, lambda: works.succeed(points[:5]))
    assert any("job_run (run_id=? AND stage=? AND <expr>=?)" in plan for plan in made), "siblings by their index"
    made = plans(book, lambda: points.extend(book.claim(10)))
    assert any("SEARCH job USING INDEX job_run (run_id=? AND stage=? AND <expr>=?)" in plan for plan in made), made
    assert any("SEARCH record USING PRIMARY KEY (fanout=? AND number=?)" in plan for plan in made), made
    assert not any(re.search(r"SCAN (job|record)", plan) for plan in made)
    run_plans(book, lambda: wait(works.moves.requeue(companies[1].job_id, actor="ann")))
    run_plans(book, lambda: wait(works.moves.cancel_run(run_id, actor="ann", limit=10)))
    made = run_plans(book, lambda: wait(works.moves.cancel_some(run_id, limit=10)))
    assert any("job_run (run_id=? AND stage=? AND <expr>>?)" in plan for plan in made)
    while wait(works.moves.cancel_some(run_id)):
        pass
    wait(works.moves.take_back(set()))
    for one in points[5:]:
        wait(works.moves.stop(one, duration_s=0.0))
    for one in works.claim():
        wait(works.moves.stop(one, duration_s=0.0))
    made = run_plans(book, lambda: wait(works.moves.resume_run(run_id, actor="ann", limit=10)))
    assert any("job_undone (run_id=? AND id>?)" in plan for plan in made)


def test_skips_are_found_by_their_key(book: Book) -> None:
    """Two in three records pass a branch by: as many rows as there are records."""
    works = Works(book)
    works.start(ROUTED)
    works.fan_out(4)
    routes = works.claim("kind")
    run_plans(book, lambda: works.succeed(routes, '"big"'))
    big = works.claim("big")
    run_plans(book, lambda: works.succeed(big))


def test_the_looks_at_a_run_scan_nothing_and_sort_nothing(book: Book) -> None:
    """The counters are the answer; values come along the index, for each chunk anew."""
    works = Works(book)
    run_id = works.start(DIAMOND, key="k")
    works.fan_out(30)
    works.work_off()
    reads = book.ledger.reads
    for look in (
        lambda: reads.run(run_id),
        lambda: reads.run_inputs(run_id),
        lambda: reads.arguments(run_id, "call", "3"),
        lambda: reads.arguments(run_id, "mail", None),
        lambda: reads.results(run_id, "lead", 10, 5),
        lambda: reads.results_head(run_id, "call"),
        lambda: reads.progress(run_id),
    ):
        run_plans(book, look)
    (plan,) = plans(book, lambda: reads.outcome(run_id, "mail"))
    assert "SEARCH job USING INDEX job_run (run_id=? AND stage=?)" in plan  # a row for each edition, which are sorted
    for runs, index in ((reads.runs_to_cancel, "run_cancel"), (reads.runs_to_resume, "run_resume")):
        (plan, *_) = plans(book, runs)
        assert f"INDEX {index}" in plan, "looked at every second, whatever there is of runs"
    made = run_plans(book, lambda: reads.results(run_id, "call", 10, 5))
    assert any("job_run (run_id=? AND stage=? AND <expr>=?)" in plan for plan in made)
    (first, *_) = plans(book, lambda: reads.runs(RunFilter(after="f")))
    assert first.startswith("SEARCH run USING PRIMARY KEY (id<?)")


def test_doubts_of_a_run_that_is_pruned_are_looked_for_among_those_that_are_open(book: Book) -> None:
    """A run of 100,000 jobs with effects held the write lock for a quarter of a second."""
    run_id = Works(book).start(LINE)
    (plan, *_) = plans(book, lambda: wait(book.ledger.moves.begin_prune_run(run_id, START_MS)))
    assert plan.startswith(("SCAN effect USING INDEX effect_open", "SEARCH effect USING INDEX effect_open"))
    assert "SEARCH job USING" in plan


def test_what_few_fires_came_to_is_summed_without_a_look_at_the_backlog(book: Book) -> None:
    """Twenty fires of a day took more than a second beside 600,000 jobs that were queued."""
    (plan,) = plans(book, lambda: book.ledger.reads.fire_sums(["a", "b"], START_MS, START_MS + 1, now=START_MS))
    assert plan.count("SEARCH fire USING PRIMARY KEY (key=? AND due_at>? AND due_at<?)") == 3
    assert "SEARCH job USING PRIMARY KEY (id=?)" in plan
    assert not re.search(r"SCAN (job|run|fire)|INDEX job_", plan), plan


def test_what_many_fires_came_to_is_summed_without_looking_up_what_succeeded(book: Book) -> None:
    """A day of hundreds of minute-schedules is a million jobs, nearly all of which succeeded."""
    sql = f"EXPLAIN QUERY PLAN {fire_reads.SUMS % fire_reads.OF_MANY}"
    plan = "; ".join(row[3] for row in book.sql(sql, ('["a", "b"]', START_MS, START_MS + 1, START_MS, "")))
    assert "SEARCH fire USING PRIMARY KEY (key=? AND due_at>? AND due_at<?)" in plan
    for status in ("dead", "cancelled", "waiting", "queued", "running"):
        assert f"USING COVERING INDEX job_{status}" in plan
    assert not re.search(r"SCAN (job|fire)(?! USING COVERING INDEX job_)", plan), plan


def test_few_and_many_fires_are_summed_alike(book: Book) -> None:
    """There are two ways to find what did not succeed, and one truth."""
    moves = book.ledger.moves
    last = wait(moves.sync_schedules({"x": "1"}))["x"].last
    jobs = [NewFire(last + at, "on_time", expected_by=last + 50, work=NewJob("add", "q")) for at in range(1, 6)]
    waits = NewFire(last + 8, "late", waits=True)
    rest = [NewFire(last + 6, "missed", "why"), NewFire(last + 7, "skipped", "why"), waits]
    wait(moves.fire(Decision("x", "x", "default", last, last + 8, (*jobs, *rest), alone=False)))
    claims = book.claim(3)
    wait(moves.succeed(claims[0], "1", duration_s=0.1))
    wait(moves.give_up(claims[1], ERROR, duration_s=0.1, cause="gave up"))
    queued = next(row.job_id for row in book.ledger.reads.fires("x") if row.job_id and row.status == "queued")
    wait(moves.cancel(queued, actor="ann"))
    run = NewFire(last + 9, "late", work=NewRun("p", LINE))
    wait(moves.fire(Decision("x", "x", "default", last + 8, last + 9, (run,), alone=False)))
    span, now = ('["x"]', last, last + 100), last + 60
    few = book.sql(fire_reads.SUMS % fire_reads.OF_FEW, (*span, now))
    many = book.sql(fire_reads.SUMS % fire_reads.OF_MANY, (*span, now, ""))
    assert few == many == [tuple(one) for one in book.ledger.reads.fire_sums(["x"], last, last + 100, now=now)]
    statuses = {row[2] for row in few}
    assert statuses >= {"succeeded", "dead", "cancelled", "queued", "running", None}


def test_times_to_come_that_are_decided_are_found_by_their_schedule(book: Book) -> None:
    """The board asks for all schedules at once, beside a year of their fires."""
    sql, values = fire_reads.AHEAD, ('["a", "b"]', START_MS)
    plan = "; ".join(row[3] for row in book.sql(f"EXPLAIN QUERY PLAN {sql}", values))
    assert "SEARCH fire USING COVERING INDEX" in plan or "SEARCH fire USING PRIMARY KEY" in plan, plan


@pytest.mark.parametrize("overlap", ["skip", "allow"])
def test_what_of_a_schedule_runs_and_is_over_is_found_among_what_is_open(book: Book, overlap: str) -> None:
    """Each minute of each schedule, beside a year of its fires."""
    moves, place = book.ledger.moves, ("x", "x", "default")
    last = wait(moves.sync_schedules({"x": "1"}))["x"].last
    fires = (NewFire(last + 60, "on_time", work=NewJob("add", "q")),)
    decision = Decision("x", "x", "default", last, last + 60, fires, alone=overlap != "allow")
    made = run_plans(book, lambda: wait(moves.fire(decision)))
    assert all("SEARCH fire USING" in plan for plan in made if " fire " in plan), made
    assert sum("INDEX fire_open (key=? AND state=?)" in plan for plan in made) == 1 + decision.alone, made
    wait(moves.backfill(place, [NewFire(last, "late", waits=True)], actor="ann"))
    work, beside = NewJob("add", "q"), overlap == "allow"
    made = plans(book, lambda: wait(moves.fire_next("x", last, "backfill", work, beside=beside)))
    by = "(key=? AND state=? AND how=?)" if beside else "(key=? AND state=?)"
    assert any(f"INDEX fire_open {by}" in plan for plan in made), made
    made = plans(book, lambda: book.ledger.reads.turn("x", beside=beside))
    assert made
    assert all("INDEX fire_open" in plan for plan in made), made


def test_old_fires_are_found_by_their_time(book: Book) -> None:
    """What is open of them is held against its job by its key."""
    (plan,) = run_plans(book, lambda: wait(book.ledger.moves.prune_fires(START_MS, 100)))
    assert "USING INDEX fire_due (due_at<?)" in plan, plan
