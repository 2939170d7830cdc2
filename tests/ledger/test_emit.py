"""What a fan-out writes: items, what they make possible, and how far it has come."""

from __future__ import annotations

import json

import pytest

from millrace.errors import LostClaim
from millrace.ledger.run_rows import Item
from tests.ledger.rig import LIMIT_S, Book
from tests.ledger.runs_rig import BAD, LINE, Works, per, plan, stage

NARROW = plan(stage("lead", kind="fanout"), per("lead", "points", "lead"), bound=4)


@pytest.fixture
def works(book: Book) -> Works:
    """Runs in a fresh ledger."""
    return Works(book)


def test_a_fan_out_goes_on_where_its_last_chunk_ended(works: Works) -> None:
    """Another attempt skips what is in the ledger, and can prove that the source is the same."""
    works.start(LINE)
    (held,) = works.claim("lead")
    assert works.moves.fanout_state(held).wait(LIMIT_S) == (0, "")
    works.emit(held, 3)
    works.moves.release(held, "shutdown", duration_s=0.0).wait(LIMIT_S)
    (again,) = works.claim("lead")
    assert works.moves.fanout_state(again).wait(LIMIT_S) == (3, "3.")


def test_what_a_lost_attempt_emits_is_dropped(works: Works) -> None:
    """Its successor emits the same items."""
    run_id = works.start(LINE)
    (late,) = works.claim("lead")
    works.moves.release(late, "lost", duration_s=0.0).wait(LIMIT_S)
    (held,) = works.claim("lead")
    with pytest.raises(LostClaim):
        works.emit(late, 2)
    works.emit(held, 2)
    with pytest.raises(LostClaim):
        works.moves.emit(held, [Item('"1"')], 1, "x", 0).wait(LIMIT_S)
    assert works.run(run_id).records == {"lead": 2}
    assert works.sound()


def test_positions_that_do_not_add_up_are_refused(works: Works) -> None:
    """A gap in the numbers would be a record that nobody ever asks for."""
    works.start(LINE)
    (held,) = works.claim("lead")
    with pytest.raises(ValueError, match="1 items do not lead from 0 to 2"):
        works.moves.emit(held, [Item('"1"')], 2, "x", 0).wait(LIMIT_S)


def test_a_bad_item_is_a_dead_letter_that_carries_it(works: Works) -> None:
    """Put right or not, whoever decides about it must see it; half a character pair must not stop the chunk."""
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    works.moves.emit(held, [Item(None, {"n": "\ud83d"}, BAD), Item('"good"')], 2, "x", 0).wait(LIMIT_S)
    works.succeed([held])
    (dead,) = works.book.sql("SELECT id, record FROM job WHERE status = 'dead'")
    row = works.reads.job(dead[0])
    assert (row.stage, row.record, row.error) == ("lead", "1", BAD)
    assert json.loads(row.payload) == {"item": {"n": "\ud83d"}}
    assert {record for name, record in works.jobs(run_id) if name == "points"} == {"2"}


def test_a_bad_item_that_was_put_right_becomes_a_record_in_its_place(works: Works) -> None:
    """Its result is the item, and what follows it is made; the collect is made anew."""
    run_id = works.start(LINE)
    works.fan_out(3, bad=[2])
    works.work_off(lambda held: f'"{held.record}"')
    assert works.run(run_id).status == "partial"
    works.requeue(run_id, "lead", "2")
    (held,) = works.claim()
    works.succeed([held], '"put right"')
    works.work_off(lambda held: f'"{held.record}"')
    run = works.run(run_id)
    assert (run.status, run.edition, run.records) == ("succeeded", 2, {"lead": 3})
    assert works.reads.results(run_id, "lead", 0, 10) == [(1, '"item 1"'), (2, '"put right"'), (3, '"item 3"')]
    assert works.reads.results_head(run_id, "lead") == (3, 0, 0)
    assert works.sound()


def test_above_the_bound_a_fan_out_pauses_and_goes_on_below_half(works: Works) -> None:
    """It holds no worker meanwhile; the finish that gets there puts it back in its transaction."""
    run_id = works.start(NARROW)
    (held,) = works.claim("lead")
    assert works.emit(held, 4)
    assert not works.emit(held, 1)
    works.moves.park(held, "limit", due_at=None, duration_s=0.0).wait(LIMIT_S)
    points = works.claim()
    works.succeed(points[:3])
    assert works.jobs(run_id)["lead", None] == "waiting"
    works.succeed(points[3:4])
    assert works.jobs(run_id)["lead", None] == "queued"
    assert works.sound()


def test_a_backlog_that_went_while_the_fan_out_paused_does_not_leave_it_waiting(works: Works) -> None:
    """No finish would come any more that could wake it."""
    run_id = works.start(NARROW)
    (held,) = works.claim("lead")
    assert not works.emit(held, 5)
    works.succeed(works.claim())
    works.moves.park(held, "limit", due_at=None, duration_s=0.0).wait(LIMIT_S)
    assert works.jobs(run_id)["lead", None] == "queued"
    assert works.sound()


def test_nothing_is_emitted_into_a_run_that_is_cancelled(works: Works) -> None:
    """The position stays, so that a resume brings what was refused."""
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    works.emit(held, 1)
    assert works.moves.cancel_run(run_id, actor="ann").wait(LIMIT_S) == "running"
    assert not works.emit(held, 1)
    works.moves.park(held, "limit", due_at=None, duration_s=0.0).wait(LIMIT_S)
    assert works.run(run_id).status == "cancelled"
    assert works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S) == ("running", 2)
    (again,) = works.claim("lead")
    assert works.moves.fanout_state(again).wait(LIMIT_S) == (1, "1.")
    assert works.sound()


def test_a_fan_out_that_got_no_child_is_not_woken_before_its_time(works: Works) -> None:
    """It waits for the machine, not for its backlog: claimed at once it would try, and fail, without a pause."""
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    due_at = works.book.clock.ms + 5000
    works.emit(held, 2)
    works.moves.park(held, "limit", due_at=due_at, duration_s=0.0).wait(LIMIT_S)
    works.succeed(works.claim("points"))
    assert works.jobs(run_id)["lead", None] == "waiting"
    works.book.clock.advance(6)
    works.moves.promote_due().wait(LIMIT_S)
    assert works.jobs(run_id)["lead", None] == "queued"
