"""Runs as a whole: their start, their key, their end by hand, and their going on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.errors import KeyConflict, NotFound, WrongStatus
from millrace.ledger.rows import Source
from millrace.ledger.run_rows import NewRun
from tests.ledger.rig import LIMIT_S, Book
from tests.ledger.runs_rig import DIAMOND, ERROR, LINE, Works, per, plan, stage

if TYPE_CHECKING:
    from millrace.ledger.plan import Plan


@pytest.fixture
def works(book: Book) -> Works:
    """Runs in a fresh ledger."""
    return Works(book)


def test_a_run_gives_its_jobs_what_it_was_given(works: Works) -> None:
    """Client, priority and correlation go through the whole run."""
    given = {"client": "acme", "priority": 7, "correlation_id": "c-1", "source": Source("cli", "ann")}
    run_id = works.start(LINE, inputs='{"path":"x"}', **given)
    run = works.run(run_id)
    assert (run.client, run.correlation_id, run.source, run.inputs) == ("acme", "c-1", given["source"], '{"path":"x"}')
    (held,) = works.claim()
    row = works.book.row(held.job_id)
    assert (row.client, row.priority, row.correlation_id, row.source) == ("acme", 7, "c-1", Source("stage", "p"))
    assert row.task == "p.lead"


def test_a_key_that_is_known_gives_the_run_that_has_it(works: Works) -> None:
    """A submission that is sent again starts nothing."""
    new = NewRun("p", LINE, '{"a":1}', key="k")
    first = works.moves.start_run(new).wait(LIMIT_S)
    again = works.moves.start_run(new).wait(LIMIT_S)
    assert (first.existed, again.existed, again.id) == (False, True, first.id)
    for other in (new._replace(inputs="{}"), new._replace(pipeline="q")):
        with pytest.raises(KeyConflict, match=first.id):
            works.moves.start_run(other).wait(LIMIT_S)
    assert not works.moves.start_run(new._replace(client="acme")).wait(LIMIT_S).existed, "a key is the client's own"


def test_what_belongs_to_no_run_is_said_so(works: Works) -> None:
    """By each of the moves."""
    for ticket in (
        works.moves.cancel_run("no", actor="ann"),
        works.moves.resume_run("no", actor="ann"),
        works.moves.settle_run("no"),
    ):
        with pytest.raises(NotFound, match="no run no"):
            ticket.wait(LIMIT_S)
    assert works.moves.cancel_some("no").wait(LIMIT_S) == 0


def test_a_cancelled_run_ends_with_its_last_running_job(works: Works) -> None:
    """Jobs that have not started end at once; what a running one brings is kept, and nothing follows it."""
    run_id = works.start(LINE)
    works.fan_out(4)
    held = works.claim("points", slots=2)
    assert works.moves.cancel_run(run_id, actor="ann").wait(LIMIT_S) == "running"
    assert works.run(run_id).cancel_requested
    assert works.run(run_id).counts["points"] == {"running": 2, "cancelled": 2}
    works.succeed(held[:1])
    works.moves.stop(held[1], duration_s=0.0).wait(LIMIT_S)
    run = works.run(run_id)
    assert (run.status, "total" in {name for name, of in run.counts.items() if of}) == ("cancelled", False)
    with pytest.raises(WrongStatus, match="is cancelled"):
        works.moves.cancel_run(run_id, actor="ann").wait(LIMIT_S)
    assert works.sound()


def test_a_cancellation_goes_on_where_it_was(works: Works) -> None:
    """In chunks, over many jobs, from what the ledger says: the daemon may be another one."""
    run_id = works.start(DIAMOND)
    works.fan_out(25)
    assert works.moves.cancel_run(run_id, actor="ann", limit=7).wait(LIMIT_S) == "running"
    assert works.reads.runs_to_cancel() == [run_id]
    looked = 7
    while (some := works.moves.cancel_some(run_id, limit=7).wait(LIMIT_S)) > 0:
        assert some <= 7
        looked += some
    assert looked == 50
    assert works.run(run_id).status == "cancelled"
    assert works.reads.runs_to_cancel() == []
    assert works.sound()


def test_a_cancelled_run_that_is_resumed_comes_to_its_end(works: Works) -> None:
    """Also for what finished while it was being cancelled."""
    run_id = works.start(DIAMOND)
    works.fan_out(3)
    companies = works.claim("company")
    works.moves.cancel_run(run_id, actor="ann").wait(LIMIT_S)
    works.succeed(companies)
    assert works.run(run_id).status == "cancelled"
    assert works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S) == ("running", 3)
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.edition, run.counts["call"]) == ("succeeded", 1, {"succeeded": 3})
    assert not run.cancel_requested
    assert works.sound()


def test_a_run_that_is_being_cancelled_is_not_resumed(works: Works) -> None:
    """Half of it would be put back and ended again."""
    run_id = works.start(LINE)
    (held,) = works.claim()
    works.moves.cancel_run(run_id, actor="ann").wait(LIMIT_S)
    with pytest.raises(WrongStatus, match="is being cancelled"):
        works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S)
    works.moves.stop(held, duration_s=0.0).wait(LIMIT_S)
    assert works.run(run_id).status == "cancelled"


def test_a_resume_puts_back_the_dead_and_collects_anew(works: Works) -> None:
    """Just them; the first edition stays as it was, and the second sees all."""
    run_id = works.start(DIAMOND)
    works.fan_out(5)
    for held in works.claim("company")[:3]:
        works.die(held)
    works.moves.daemon = "d2"
    works.moves.take_back(set()).wait(LIMIT_S)
    works.work_off()
    assert works.run(run_id).status == "partial"
    assert works.moves.resume_run(run_id, actor="ann", limit=2).wait(LIMIT_S) == ("running", 2)
    assert works.moves.resume_run(run_id, actor="ann", limit=2).wait(LIMIT_S) == ("running", 1)
    assert works.moves.resume_run(run_id, actor="ann", limit=2).wait(LIMIT_S) == ("running", 0)
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.edition) == ("succeeded", 2)
    jobs = works.jobs(run_id)
    assert {key for key in jobs if key[0] in ("total", "mail")} == {
        ("total", None), ("total", "@2"), ("mail", None), ("mail", "@2"),
    }  # fmt: skip
    assert works.sound()


def dead_run(works: Works, shape: Plan, count: int) -> str:
    """Start a run whose every record dies in its first stage, work the rest off, and return its id."""
    run_id = works.start(shape)
    works.fan_out(count)
    while held := works.claim():
        for one in held:
            (works.die if one.record and one.stage in ("points", "company") else lambda one: works.succeed([one]))(one)
    return run_id


def test_nothing_is_collected_between_two_parts_of_a_resume(works: Works) -> None:
    """Else each part would have a collect, and an edition, of its own: a run of 300,000 dead a thousand of them."""
    run_id = dead_run(works, LINE, 5)
    for left in (2, 2, 1):
        assert works.run(run_id).edition == (1 if works.jobs(run_id)["points", "1"] == "dead" else 2)
        assert works.moves.resume_run(run_id, actor="ann", limit=2).wait(LIMIT_S) == ("running", left)
        assert len(works.claim("points", slots=10)) == left
        works.moves.daemon = f"after {left}"
        works.moves.take_back(set()).wait(LIMIT_S)
        works.work_off()
        assert works.run(run_id).status == ("running" if left == 2 else "succeeded")
    assert {key for key in works.jobs(run_id) if key[0] == "total"} == {("total", None), ("total", "@2")}
    assert works.sound()


def test_a_resume_that_broke_off_is_gone_on_with_from_the_ledger(works: Works) -> None:
    """Whoever began it may have been killed: a run must not wait for him for ever."""
    run_id = dead_run(works, DIAMOND, 6)
    assert works.reads.runs_to_resume() == {}
    assert works.moves.resume_run(run_id, actor="ann", limit=5, before=works.book.clock.ms).wait(LIMIT_S)[1] == 5
    works.book.clock.advance(5)
    works.die(works.claim("company", slots=1)[0])
    works.work_off()
    assert works.run(run_id).status == "running"
    assert works.reads.runs_to_resume() == {run_id: 8}
    assert works.moves.resume_some(run_id, limit=5).wait(LIMIT_S) == 5
    assert works.moves.resume_some(run_id, limit=5).wait(LIMIT_S) == 2
    assert works.moves.resume_some(run_id, limit=5).wait(LIMIT_S) == 0
    assert works.reads.runs_to_resume() == {}
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.edition, run.counts["company"]) == ("partial", 2, {"succeeded": 5, "dead": 1})
    names = ("ann",)
    events = "SELECT DISTINCT actor FROM event WHERE event = 'requeue'"
    assert works.book.sql(events) == [names]
    assert works.sound()


@pytest.mark.parametrize("how", ["retry", "release", "take back"])
def test_a_collect_that_a_later_edition_took_the_place_of_is_not_run_again(works: Works, how: str) -> None:
    """It ran when a record was put back. Done again it would tell of fewer records, beside one that tells of all."""
    run_id = works.start(LINE)
    works.fan_out(3)
    points = works.claim("points")
    works.die(points[0])
    works.succeed(points[1:])
    (total,) = works.claim("total")
    works.requeue(run_id, "points", "1")
    clock = works.book.clock
    if how == "retry":
        works.moves.retry(total, ERROR, due_at=clock.ms, duration_s=0.1).wait(LIMIT_S)
        clock.advance(1)
        works.moves.promote_due().wait(LIMIT_S)
    elif how == "release":
        works.moves.release(total, "shutdown", duration_s=0.1).wait(LIMIT_S)
    else:
        works.moves.daemon = "d2"
        works.moves.take_back(set()).wait(LIMIT_S)
    claims = works.claim()
    assert [(held.stage, held.record) for held in claims] == [("points", "1")]
    assert works.jobs(run_id)["total", None] == "cancelled"
    works.succeed(claims)
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.counts["total"]) == ("succeeded", {"succeeded": 1, "cancelled": 1})
    assert works.sound()


def test_a_run_that_is_held_collects_once_what_is_put_back_one_by_one(works: Works) -> None:
    """The first may be through before the last has come: each would make an edition of its own."""
    run_id = dead_run(works, LINE, 4)
    assert works.moves.hold_run(run_id, actor="ann").wait(LIMIT_S)
    for record in ("1", "2", "3", "4"):
        works.requeue(run_id, "points", record)
        works.work_off()
        assert works.run(run_id).status == "running"
    assert works.moves.resume_some(run_id).wait(LIMIT_S) == 0
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.edition, works.reads.runs_to_resume()) == ("succeeded", 2, {})
    assert {key for key in works.jobs(run_id) if key[0] == "total"} == {("total", None), ("total", "@2")}
    assert works.sound()


def test_one_that_was_held_and_not_touched_is_as_it_was(works: Works) -> None:
    """All that was named may be refused: a run that was cancelled must not come to life by that."""
    partial, cancelled = dead_run(works, LINE, 2), works.start(LINE)
    works.moves.cancel_run(cancelled, actor="ann").wait(LIMIT_S)
    before = [works.run(run_id) for run_id in (partial, cancelled)]
    for run_id in (partial, cancelled):
        assert works.moves.hold_run(run_id, actor="ann").wait(LIMIT_S)
        works.moves.resume_some(run_id).wait(LIMIT_S)
    assert [works.run(run_id) for run_id in (partial, cancelled)] == before
    assert works.reads.runs_to_resume() == {}
    assert works.sound()


def test_a_hold_is_no_bar_to_a_resume_nor_to_another_hold(works: Works) -> None:
    """A resume puts all back, the held ones among it, and is not cut short by the end of the hold."""
    run_id = dead_run(works, LINE, 5)
    assert works.moves.hold_run(run_id, actor="ann").wait(LIMIT_S)
    assert not works.moves.hold_run(run_id, actor="bob").wait(LIMIT_S)
    works.requeue(run_id, "points", "5")
    assert works.moves.resume_run(run_id, actor="bob", limit=2, before=works.book.clock.ms).wait(LIMIT_S)[1] == 2
    assert works.moves.resume_some(run_id).wait(LIMIT_S) == 2
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.edition, run.counts["points"]) == ("succeeded", 2, {"succeeded": 5})
    assert works.sound()


def test_a_resume_that_broke_off_gives_way_to_a_cancellation(works: Works) -> None:
    """The last word counts: nothing is put back behind the back of him who cancelled."""
    run_id = dead_run(works, LINE, 5)
    works.moves.resume_run(run_id, actor="ann", limit=2).wait(LIMIT_S)
    assert works.moves.cancel_run(run_id, actor="bob").wait(LIMIT_S) == "cancelled"
    assert works.reads.runs_to_resume() == {}
    assert works.moves.resume_some(run_id).wait(LIMIT_S) == 0
    assert works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S) == ("running", 5)
    works.work_off()
    assert (works.run(run_id).status, works.run(run_id).edition) == ("succeeded", 2)
    assert works.sound()


def test_collects_of_two_fan_outs_that_are_mended_together_share_an_edition(works: Works) -> None:
    """What hangs on both would be made twice, once from half of what was mended."""
    shape = plan(
        stage("a", kind="fanout"), per("a", "points", "a"), stage("as", "points", kind="collect"),
        stage("b", kind="fanout"), per("b", "company", "b"), stage("bs", "company", kind="collect"),
        stage("both", "as", "bs", after_collect=True),
    )  # fmt: skip
    run_id = works.start(shape)
    for held in works.claim():
        works.emit(held, 1)
        works.succeed([held])
    for held in works.claim():
        works.die(held)
    works.work_off()
    works.requeue(run_id, "points", "1")
    works.requeue(run_id, "company", "1")
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.edition) == ("succeeded", 2)
    assert {key for key in works.jobs(run_id) if key[0] == "both"} == {("both", None), ("both", "@2")}
    assert works.sound()


def test_what_somebody_discarded_is_not_resumed(works: Works) -> None:
    """It was decided that it stays undone."""
    run_id = works.start(LINE)
    works.fan_out(2)
    one, two = works.claim("points")
    works.die(one)
    works.die(two)
    works.work_off()
    works.moves.discard(one.job_id, actor="ann").wait(LIMIT_S)
    assert works.run(run_id).status == "partial"
    assert works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S) == ("running", 1)
    works.work_off()
    assert (works.run(run_id).status, works.book.row(one.job_id).status) == ("partial", "cancelled")


def test_what_died_again_meanwhile_is_not_put_back_by_the_same_resume(works: Works) -> None:
    """It is called until nothing is left: jobs that die at once would keep it going for ever."""
    run_id = works.start(LINE)
    works.fan_out(1)
    works.die(works.claim("points")[0])
    works.work_off()
    begun = works.book.clock.ms
    assert works.moves.resume_run(run_id, actor="ann", before=begun).wait(LIMIT_S) == ("running", 1)
    works.book.clock.advance(1)
    works.die(works.claim("points")[0])
    assert works.moves.resume_run(run_id, actor="ann", before=begun).wait(LIMIT_S) == ("running", 0)
    assert works.work_off() == 1, "the second collect"


def test_a_run_of_which_nothing_is_undone_is_left_alone(works: Works) -> None:
    """Resuming what succeeded is no error, and changes nothing."""
    run_id = works.start(plan(stage("a")))
    works.work_off()
    assert works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S) == ("succeeded", 0)
    assert works.moves.settle_run(run_id).wait(LIMIT_S) == "succeeded"


def test_a_record_put_back_while_the_collect_runs_makes_the_next_edition(works: Works) -> None:
    """The collect that runs is over half the truth: it is kept, nothing follows it, and another is made."""
    run_id = works.start(DIAMOND)
    works.fan_out(2)
    one, two = works.claim("points")
    works.die(one)
    works.succeed([two])
    while held := works.claim():
        if held[0].stage == "total":
            break
        works.succeed(held)
    works.requeue(run_id, "points", one.record)
    works.succeed(held)
    assert ("mail", None) not in works.jobs(run_id)
    works.work_off()
    jobs = works.jobs(run_id)
    assert (jobs["total", None], jobs["total", "@2"], jobs["mail", "@2"]) == ("succeeded", "succeeded", "succeeded")
    run = works.run(run_id)
    assert (run.status, run.edition) == ("succeeded", 2)
    assert works.sound()


def test_the_next_edition_waits_for_the_end_of_the_one_before(works: Works) -> None:
    """Both at once write the same file, and the one that tells of fewer records may be the last to do so."""
    run_id = works.start(DIAMOND)
    works.fan_out(2)
    one, two = works.claim("company")
    works.die(one)
    works.succeed([two])
    works.moves.daemon = "d2"
    works.moves.take_back(set()).wait(LIMIT_S)
    while (held := works.claim()) and held[0].stage != "total":
        works.succeed(held)
    (total,) = held
    works.requeue(run_id, "company", one.record)
    assert works.book.sql("SELECT cancel_by FROM job WHERE stage = 'total'") == [("ledger",)]
    works.work_off()
    assert ("total", "@2") not in works.jobs(run_id)
    assert works.run(run_id).status == "running"
    works.moves.stop(total, duration_s=0.0).wait(LIMIT_S)
    works.work_off()
    jobs = works.jobs(run_id)
    assert (jobs["total", None], jobs["total", "@2"], jobs["mail", "@2"]) == ("cancelled", "succeeded", "succeeded")
    assert works.run(run_id).status == "succeeded"
    assert works.sound()


@pytest.mark.parametrize("late", [False, True])
def test_what_died_in_an_edition_before_is_no_dead_letter_any_more(works: Works, *, late: bool) -> None:
    """Nobody could put it back, and `runs show` advised to; also one that dies after it was asked to end."""
    run_id = works.start(LINE)
    works.fan_out(2)
    one, two = works.claim("points")
    works.die(one)
    works.succeed([two])
    (total,) = works.claim("total")
    if not late:
        works.die(total)
        assert works.run(run_id).status == "failed"
    works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S)
    if late:
        works.die(total)
    works.work_off()
    run = works.run(run_id)
    assert (run.status, run.edition, run.counts["total"]) == ("succeeded", 2, {"succeeded": 1, "cancelled": 1})
    ((job_id,),) = works.book.sql("SELECT id FROM job WHERE stage = 'total' AND status = 'cancelled'")
    (*_, said) = works.reads.events(job_id)
    assert (said.event, said.actor, said.reason) == ("discard", "ledger", "edition 2 collects anew")
    assert works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S) == ("succeeded", 0)
    assert works.sound()


def test_a_collect_that_has_not_begun_gives_way_to_the_next_edition(works: Works) -> None:
    """It would collect half; somebody who puts it back is told why not."""
    run_id = works.start(LINE)
    works.fan_out(2)
    one, two = works.claim("points")
    works.die(one)
    works.succeed([two])
    assert works.jobs(run_id)["total", None] == "queued"
    works.requeue(run_id, "points", one.record)
    assert works.jobs(run_id)["total", None] == "cancelled"
    with pytest.raises(WrongStatus, match="superseded: edition 2"):
        works.requeue(run_id, "total", None)
    works.work_off()
    run = works.run(run_id)
    assert (run.status, works.jobs(run_id)["total", "@2"]) == ("succeeded", "succeeded")
    assert works.sound()


def test_jobs_of_a_run_of_a_daemon_that_died_are_taken_back_into_its_counts(works: Works) -> None:
    """A kill -9 anywhere: what was running is queued again, what was to end is cancelled, and the run knows."""
    run_id = works.start(LINE)
    works.fan_out(3)
    held = works.claim("points", slots=2)
    works.moves.cancel(held[0].job_id, actor="ann").wait(LIMIT_S)
    works.moves.daemon = "d2"
    assert works.moves.take_back(set()).wait(LIMIT_S) == (1, 1)
    assert works.run(run_id).counts["points"] == {"queued": 2, "cancelled": 1}
    works.work_off()
    assert works.run(run_id).status == "partial"
    assert works.sound()
