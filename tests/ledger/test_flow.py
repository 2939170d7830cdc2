"""What follows when a stage's job ends: within a record, and for the run."""

from __future__ import annotations

import pytest

from millrace.ledger.plan import Gate
from tests.ledger.rig import LIMIT_S, Book, hold
from tests.ledger.runs_rig import DIAMOND, LINE, ROUTED, Works, per, plan, stage


@pytest.fixture
def works(book: Book) -> Works:
    """Runs in a fresh ledger."""
    return Works(book)


def test_a_run_goes_from_its_source_to_its_collect(works: Works) -> None:
    """Each record through each stage once, and the barrier opens once all are settled."""
    run_id = works.start(LINE)
    works.fan_out(3)
    assert works.run(run_id).status == "running"
    assert works.work_off() == 4
    run = works.run(run_id)
    assert (run.status, run.records) == ("succeeded", {"lead": 3})
    assert run.counts == {"lead": {"succeeded": 1}, "points": {"succeeded": 3}, "total": {"succeeded": 1}}
    assert works.sound()


def test_records_stream(works: Works) -> None:
    """The first records are worked off while the source still brings others: no stage waits for a whole stage."""
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    works.emit(held, 2)
    works.succeed(works.claim("points"))
    assert ("total", None) not in works.jobs(run_id)
    works.emit(held, 1)
    works.succeed([held])
    assert ("total", None) not in works.jobs(run_id)
    works.succeed(works.claim("points"))
    assert works.jobs(run_id)["total", None] == "queued"


@pytest.mark.parametrize("together", [True, False])
def test_siblings_that_finish_make_their_follower_once(works: Works, *, together: bool) -> None:
    """In one batch each of them could take the other for settled; one after the other, neither may be missed."""
    run_id = works.start(DIAMOND)
    works.fan_out(20)
    held = works.claim()
    assert {one.stage for one in held} == {"company", "points"}
    if together:
        stand = hold(works.book.ledger)
        tickets = [works.moves.succeed(one, "1", duration_s=0.0) for one in held]
        stand.go()
        assert {ticket.wait(LIMIT_S) for ticket in tickets} == {"succeeded"}
    else:
        for one in held:
            works.succeed([one])
    assert works.run(run_id).counts["call"] == {"queued": 20}
    assert works.sound()


def test_one_lost_attempt_in_a_batch_undoes_only_itself(works: Works) -> None:
    """What was counted for the whole batch must be forgotten before its units run one by one."""
    run_id = works.start(DIAMOND)
    works.fan_out(5)
    held = works.claim("company") + works.claim("points")
    works.succeed(held[:1])
    stand = hold(works.book.ledger)
    tickets = [works.moves.succeed(one, "1", duration_s=0.0) for one in held]
    stand.go()
    with pytest.raises(Exception, match="no longer owns it"):
        tickets[0].wait(LIMIT_S)
    assert {ticket.wait(LIMIT_S) for ticket in tickets[1:]} == {"succeeded"}
    assert works.run(run_id).counts["call"] == {"queued": 5}
    assert works.sound()


def test_a_branch_that_is_not_taken_is_passed_by_with_all_that_hangs_on_it(works: Works) -> None:
    """A need with a default goes on without it; one without is passed by too."""
    run_id = works.start(ROUTED)
    works.fan_out(3)
    works.succeed(works.claim("kind"), lambda held: '"big"' if held.record == "1" else '"odd"')
    counts = works.run(run_id).counts
    assert counts["big"] == {"queued": 1, "skipped": 2}
    assert counts["card"] == {"skipped": 2}
    assert counts["other"] == {"queued": 2, "skipped": 1}
    assert "note" not in {name for name, of in counts.items() if of}
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.counts["note"], run.counts["card"]) == (
        "succeeded",
        {"succeeded": 3},
        {"succeeded": 1, "skipped": 2},
    )
    assert works.sound()


def test_an_empty_source_opens_its_barriers_at_once(works: Works) -> None:
    """The report of an empty day is a report."""
    run_id = works.start(LINE)
    works.fan_out(0)
    assert works.jobs(run_id)["total", None] == "queued"
    works.work_off()
    assert works.run(run_id).status == "succeeded"


def test_a_source_of_which_every_record_is_bad_collects_nothing_and_is_partial(works: Works) -> None:
    """Each is a dead letter of its own; none stops the run."""
    run_id = works.start(LINE)
    works.fan_out(3, bad=[1, 2, 3])
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.records) == ("partial", {"lead": 0})
    assert run.counts["lead"] == {"succeeded": 1, "dead": 3}
    assert works.reads.results_head(run_id, "lead") == (0, 3, 0)
    assert works.reads.results_head(run_id, "points") == (0, 3, 0)
    assert works.sound()


def test_a_dead_record_stops_only_itself(works: Works) -> None:
    """What follows it is not created; the collect counts it as missing."""
    run_id = works.start(DIAMOND)
    works.fan_out(3)
    companies = works.claim("company")
    works.die(companies[0])
    works.succeed(companies[1:])
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.counts["call"]) == ("partial", {"succeeded": 2})
    assert works.reads.results_head(run_id, "call") == (2, 1, 0)
    assert works.sound()


def test_a_dead_source_fails_the_run_once_nothing_is_open(works: Works) -> None:
    """Its records in flight are worked off; a collect over half a source would be a lie."""
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    works.emit(held, 2)
    works.die(held)
    assert works.run(run_id).status == "running"
    works.work_off()
    assert works.run(run_id).status == "failed"
    assert ("total", None) not in works.jobs(run_id)
    assert works.sound()


def test_a_dead_source_that_is_put_back_goes_on_where_it_was(works: Works) -> None:
    """The run is open again, and ends as if nothing had been."""
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    works.emit(held, 2)
    works.die(held)
    works.work_off()
    works.requeue(run_id, "lead", None)
    assert works.run(run_id).status == "running"
    works.fan_out(1)
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.edition, run.records) == ("succeeded", 1, {"lead": 3})


def test_a_step_of_run_scope_that_dies_fails_the_run(works: Works) -> None:
    """What hangs on it is never made."""
    run_id = works.start(plan(stage("a"), stage("b", "a"), stage("c", "b")))
    (held,) = works.claim("a")
    works.succeed([held])
    works.die(works.claim("b")[0])
    assert works.run(run_id).status == "failed"
    assert set(works.jobs(run_id)) == {("a", None), ("b", None)}
    works.requeue(run_id, "b", None)
    works.work_off()
    assert works.run(run_id).status == "succeeded"


def test_a_fan_out_waits_for_what_its_records_need_of_the_run(works: Works) -> None:
    """So no record ever waits for the run, and joins look at their own record alone."""
    graph = plan(stage("rates"), stage("lead", kind="fanout"), per("lead", "price", "lead", "rates"))
    run_id = works.start(graph)
    assert works.jobs(run_id) == {("rates", None): "queued"}
    works.succeed(works.claim("rates"))
    works.fan_out(2)
    works.work_off()
    assert works.run(run_id).counts["price"] == {"succeeded": 2}


def test_a_fan_out_that_is_not_taken_passes_by_its_records_and_its_collect(works: Works) -> None:
    """A collect with a default goes on without its results."""
    graph = plan(
        stage("kind", kind="route"),
        stage("lead", kind="fanout", gate=Gate("kind", ("big",))),
        per("lead", "points", "lead"),
        stage("total", "points", kind="collect"),
        stage("report", "points?", kind="collect"),
    )
    run_id = works.start(graph)
    works.succeed(works.claim("kind"), '"small"')
    run = works.run(run_id)
    assert [run.counts[name] for name in ("lead", "points", "total", "report")] == [
        {"skipped": 1}, {"skipped": 1}, {"skipped": 1}, {"queued": 1},
    ]  # fmt: skip
    works.work_off()
    assert works.run(run_id).status == "succeeded"
    assert works.sound()


def test_a_route_of_the_run_gates_stages_of_records(works: Works) -> None:
    """Its answer holds for each of them."""
    graph = plan(
        stage("kind", kind="route"),
        stage("lead", kind="fanout"),
        per("lead", "deep", "lead", gate=Gate("kind", ("deep",))),
        per("lead", "flat", "lead", gate=Gate("kind", (), otherwise=True)),
    )
    run_id = works.start(graph)
    works.succeed(works.claim("kind"), '"deep"')
    works.fan_out(2)
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.counts["deep"], run.counts["flat"]) == ("succeeded", {"succeeded": 2}, {"skipped": 2})


def test_two_runs_of_one_pipeline_do_not_meet(works: Works) -> None:
    """They share a plan, and nothing else."""
    first, second = works.start(DIAMOND), works.start(DIAMOND)
    sources = works.claim("lead")
    for held, count in zip(sources, (2, 3), strict=True):
        works.emit(held, count)
    works.succeed(sources)
    works.work_off()
    assert [works.run(one).counts["call"]["succeeded"] for one in (first, second)] == [2, 3]
    assert {works.run(one).status for one in (first, second)} == {"succeeded"}
    assert works.book.sql("SELECT count(*) FROM plan") == [(1,)]
    assert works.sound()


def test_the_end_of_a_run_is_told_once(works: Works) -> None:
    """Counters and alerts hang on it; a unit that was undone must not have told it."""
    run_id = works.start(LINE)
    works.fan_out(1)
    works.work_off()
    told = [event for event in works.book.events if event.EVENT == "run.ended"]
    assert [(event.run_id, event.status) for event in told] == [(run_id, "succeeded")]  # type: ignore[attr-defined]
