"""What a scheduler decides over a real ledger: each due time once, by its policies, whatever happens in between."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from millrace.clock import parse_time
from millrace.errors import WrongStatus
from millrace.events import ClockJumped, ScheduleMissed, SchedulePassedOver, ScheduleProblem, SchedulesSetBack
from millrace.ledger.fire_rows import ByHand, NewFire, Turn
from millrace.ledger.fires import LOOKED_AT
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.queue.submit import Submitter
from millrace.triggers.acts import backfill, fire_now
from millrace.triggers.board import board
from millrace.triggers.deciding import MOST_WAITING, decide
from millrace.triggers.scheduler import LOOK_S
from millrace.triggers.timetable import timetable
from millrace.triggers.today import today
from tests.ledger.rig import OwnClock
from tests.triggers.rig import LIMIT_S, Room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Until

_NO_TURN = Turn(None, ())
_OPEN_FIRE = """INSERT INTO fire (due_at, key, how, schedule, client, outcome, why, since, count, state, decided_at,
  job_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
MINUTELY: dict[str, Any] = {"task": "report", "cron": "* * * * *"}


class MakeRoom(Protocol):
    """Make a room whose schedule `x` is a minutely one with more options, and start it."""

    def __call__(self, **more: Any) -> Room: ...


@pytest.fixture
def make_room(tmp_path: Path) -> Iterator[MakeRoom]:
    """Make rooms that are closed, and hold, at the end."""
    with ExitStack() as stack:

        def make(**more: Any) -> Room:
            room = Room(tmp_path, {"x": MINUTELY | more})
            stack.enter_context(closing(room))
            room.start()
            return room

        yield make


def test_a_due_time_is_a_row_and_a_job_of_one_transaction(make_room: MakeRoom) -> None:
    """The job says where it comes from and for which time; the row says which job it is."""
    room = make_room(payload={"month": "11"})
    room.pass_time(1, "x")
    (row,), (job,) = room.fires("x"), room.jobs()
    assert (row.outcome, row.state, row.job_id, row.status) == ("on_time", "open", job.id, "queued")
    assert (job.source.kind, job.source.name, job.due_at, job.payload) == (
        "schedule",
        "x",
        row.due_at,
        '{"month":"11"}',
    )


def test_a_new_schedule_begins_now(make_room: MakeRoom) -> None:
    """What it would have run before it was written is nobody's wish."""
    room = make_room()
    room.scheduler.fire("x")
    assert room.fires("x") == []


def test_two_daemons_fire_once(make_room: MakeRoom) -> None:
    """Each believes that it decides; the ledger lets one of them."""
    room = make_room(overlap="allow")
    other = room.another()
    room.begin(other)
    for _ in range(20):
        room.clock.advance(60)
        both = [threading.Thread(target=one.fire, args=("x",)) for one in (room.scheduler, other)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(LIMIT_S)
    other.stop()
    assert len(room.jobs()) == len(room.fires("x")) == 20


def test_a_kill_between_the_decision_and_its_commit_fires_once(make_room: MakeRoom) -> None:
    """What was decided in memory alone is decided again."""
    room = make_room(overlap="allow")
    room.clock.advance(60)
    room.restart()  # as after a kill before the commit: the ledger knows of nothing
    room.scheduler.fire("x")
    room.restart()  # as after a kill behind it: the ledger knows, and nobody was told
    room.scheduler.fire("x")
    assert len(room.jobs()) == len(room.fires("x")) == 1


@pytest.mark.parametrize(("catch_up", "ran"), [("none", 0), ("latest", 1), ("all", 4)])
def test_three_days_down_under_each_policy(make_room: MakeRoom, until: Until, catch_up: str, ran: int) -> None:
    """No storm: at most the window runs, and each time that passed is accounted for."""
    room = make_room(cron="30 */6 * * *", catch_up=catch_up, overlap="allow")
    room.scheduler.stop()
    room.clock.advance(3 * 86400)
    room.restart()
    until(lambda: room.scheduler.lag_s() == 0)
    found = room.outcomes("x")
    assert sum(found.values()) == 12
    assert (found.get("late", 0), found.get("missed", 0)) == (ran, 12 - ran)
    assert len(room.jobs()) == ran
    told = [event for event in room.events if isinstance(event, ScheduleMissed)]
    assert sum(event.count for event in told) == 12 - ran


def test_more_than_one_transaction_takes_is_cut_and_none_is_lost(make_room: MakeRoom, until: Until) -> None:
    """A thousand jobs in one transaction would keep others waiting."""
    room = make_room(catch_up="all", overlap="allow", catch_up_window="10h")
    room.scheduler.stop()
    room.clock.advance(20 * 3600)
    room.restart()
    until(lambda: room.scheduler.lag_s() == 0)
    found = room.outcomes("x")
    assert found["late"] + found.get("on_time", 0) == len(room.ledger.reads.fires("x", limit=9999)) - 1 == 600
    assert found["missed"] == 600


def test_overlap_skip_leaves_out_what_comes_while_the_run_before_is_not_over(make_room: MakeRoom) -> None:
    """A job that is longer than its interval runs alone, and what it displaced is told."""
    room = make_room(overlap="skip")
    room.pass_time(1, "x")
    held = room.claim()
    room.pass_time(1, "x")
    room.pass_time(1, "x")
    room.end(held)
    room.pass_time(1, "x")
    assert [row.outcome for row in room.fires("x")] == ["on_time", "skipped", "skipped", "on_time"]
    assert len(room.jobs()) == 2
    assert any(isinstance(event, SchedulePassedOver) and "not over" in event.why for event in room.events)


def test_overlap_allow_starts_beside(make_room: MakeRoom) -> None:
    """That is what it says."""
    room = make_room(overlap="allow")
    for _ in range(3):
        room.pass_time(1, "x")
    assert [job.status for job in room.jobs()] == ["queued"] * 3


def open_ones(room: Room) -> int:
    """Count the fires that have not been noted to be over."""
    return sum(row.state == "open" for row in room.fires("x"))


def test_what_runs_beside_another_is_over_too_and_goes_when_it_is_old(make_room: MakeRoom) -> None:
    """Its fires do not pile up; one that still runs is kept, however old."""
    room, day_ms = make_room(overlap="allow"), 86_400_000
    room.pass_time(1, "x")
    room.ledger.moves.claim("default", 1).wait(LIMIT_S)
    for _ in range(20):
        room.pass_time(1, "x")
        room.end(room.claim())
        assert open_ones(room) <= 3  # the first, the one before, this one
    room.clock.advance(400 * 86_400)
    prune = room.ledger.moves.prune_fires
    assert prune(room.clock.now_ms() - day_ms, 1000).wait(LIMIT_S) == 20
    (kept,) = room.fires("x")
    assert (kept.state, kept.status) == ("open", "running")


def test_many_that_are_over_and_not_noted_to_be_do_not_hold_the_lock(make_room: MakeRoom) -> None:
    """They are noted by and by; what is in the way is told at once."""
    room = make_room(overlap="allow")
    moves, place, now = room.ledger.moves, ("x", "x", "default"), room.clock.now_ms()
    job = room.ledger.moves.accept([NewJob("report", "default")]).wait(LIMIT_S)[0].id
    room.end(room.claim())
    row = ("x", "hand", "x", "default", "late", "", 1, 1, "open", now, job)
    room.ledger.writer.submit(
        lambda tx: tx.connection.executemany(_OPEN_FIRE, [(at, *row) for at in range(2 * LOOKED_AT)])
    ).wait(LIMIT_S)
    moves.backfill(place, [NewFire(now - 60_000, "late", waits=True)], actor="ann").wait(LIMIT_S)
    room.scheduler.turn()
    assert len(room.jobs()) == 2
    assert open_ones(room) == LOOKED_AT + 1
    with pytest.raises(WrongStatus):
        moves.fire_now([ByHand(place, NewFire(now, "on_time"), "skip")], actor="ann").wait(LIMIT_S)
    room.end(room.claim())
    moves.fire_now([ByHand(place, NewFire(now, "on_time"), "skip")], actor="ann").wait(LIMIT_S)


def test_overlap_queue_runs_one_after_the_other(make_room: MakeRoom) -> None:
    """None is lost, and never two at once."""
    room = make_room(overlap="queue")
    for _ in range(4):
        room.pass_time(1, "x")
    assert [row.state for row in room.fires("x")] == ["open", "pending", "pending", "pending"]
    for number in range(1, 5):
        room.scheduler.turn()
        assert len(room.jobs()) == number
        room.end(room.claim())
    room.scheduler.turn()
    jobs = room.jobs()
    assert [job.due_at for job in jobs] == [row.due_at for row in room.fires("x")]
    assert all(job.status == "succeeded" for job in jobs)


def test_the_end_of_the_run_before_is_heard(make_room: MakeRoom) -> None:
    """A series of short runs must not wait a second between each two."""
    room = make_room(overlap="queue")
    room.pass_time(1, "x")
    room.pass_time(1, "x")
    room.scheduler.turn()
    nudged = room.nudged
    room.end(room.claim())
    assert room.nudged == nudged + 1
    room.scheduler.turn()
    assert len(room.jobs()) == 2


def test_what_was_in_the_way_and_is_cancelled_is_not_listened_for_any_more(make_room: MakeRoom) -> None:
    """The end of a job that never began is not told; in years of a daemon such ones must not pile up."""
    room = make_room(overlap="queue")
    room.pass_time(1, "x")
    for number in range(1, 16):
        room.pass_time(1, "x")
        room.scheduler.turn()
        room.ledger.moves.cancel(room.jobs()[-1].id, actor="cli:ann").wait(LIMIT_S)
        room.clock.advance(LOOK_S)
        room.scheduler.turn()
        assert len(room.jobs()) == number + 1
        assert len(room.scheduler._awaited) <= 1
    room.end(room.claim())
    room.scheduler.turn()
    room.clock.advance(LOOK_S)
    room.scheduler.turn()
    assert not room.scheduler._awaited


def test_what_waits_for_its_turn_survives_a_kill(make_room: MakeRoom) -> None:
    """Whether the run before had ended by then or not; and it starts once."""
    room = make_room(overlap="queue")
    room.pass_time(1, "x")
    room.pass_time(1, "x")
    room.restart()
    room.scheduler.turn()
    assert len(room.jobs()) == 1, "the run before is not over"
    room.ledger.moves.succeed(room.claim(), "null", duration_s=0.1).wait(LIMIT_S)
    room.restart()
    other = room.another()
    room.begin(other)
    both = [threading.Thread(target=one.turn) for one in (room.scheduler, other)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(LIMIT_S)
    other.stop()
    assert len(room.jobs()) == 2


def test_what_is_made_up_for_at_once_runs_one_after_the_other(make_room: MakeRoom, until: Until) -> None:
    """When it was due nothing ran: skip is no reason to leave one of them out."""
    room = make_room(cron="0 */6 * * *", catch_up="all", overlap="skip")
    room.scheduler.stop()
    room.clock.advance(86400)
    room.restart()
    until(lambda: room.scheduler.lag_s() == 0)
    for number in range(1, 5):
        assert len(room.jobs()) == number
        room.end(room.claim())
        room.scheduler.turn()
    assert len(room.jobs()) == 4
    assert room.outcomes("x") == {"late": 4}


def test_runs_of_a_pipeline_wait_for_one_another_too(tmp_path: Path) -> None:
    """A run is over when nothing of it is open."""
    with closing(Room(tmp_path, {"x": {"pipeline": "close", "cron": "* * * * *", "overlap": "queue"}})) as room:
        room.start()
        room.pass_time(1, "x")
        room.pass_time(1, "x")
        room.scheduler.turn()
        first, second = room.fires("x")
        assert (first.status, second.state) == ("running", "pending")
        room.ledger.moves.succeed(room.claim(), '"now"', duration_s=0.1).wait(LIMIT_S)
        room.scheduler.turn()
        first, second = room.fires("x")
        assert (first.status, second.status) == ("succeeded", "running")
        assert room.ledger.reads.run(second.run_id or "").source == ("schedule", "x")


def test_a_paused_schedule_submits_nothing_and_says_so(make_room: MakeRoom) -> None:
    """Its times are rows all the same; after it nothing is made up for."""
    room = make_room(catch_up="all")
    assert room.ledger.moves.pause_schedule("x", actor="cli:ann").wait(LIMIT_S) is True
    assert room.ledger.moves.pause_schedule("x", actor="cli:bob").wait(LIMIT_S) is False
    room.scheduler.turn()
    room.pass_time(2, "x")
    room.ledger.moves.resume_schedule("x", actor="cli:ann").wait(LIMIT_S)
    room.scheduler.turn()
    room.pass_time(1, "x")
    assert [(row.outcome, row.why) for row in room.fires("x")] == [
        ("skipped", "paused"),
        ("skipped", "paused"),
        ("on_time", ""),
    ]
    acts = [row.action for row in room.ledger.reads.audit()]
    assert acts == ["schedule.pause", "schedule.pause", "schedule.resume"]


def test_a_pause_holds_after_a_restart(make_room: MakeRoom) -> None:
    """Who paused it wants it paused."""
    room = make_room()
    room.ledger.moves.pause_schedule("x", actor="cli:ann").wait(LIMIT_S)
    room.restart()
    room.pass_time(1, "x")
    assert room.jobs() == []


def test_a_pause_before_the_start_lets_nothing_of_an_outage_run(make_room: MakeRoom, until: Until) -> None:
    """After a restore what passed since the backup has run; who knows that pauses, starts, and resumes."""
    room = make_room(catch_up="all", cron="0 */6 * * *")
    room.scheduler.stop()
    room.ledger.moves.pause_schedule("x", actor="cli:ann").wait(LIMIT_S)
    room.clock.advance(86_400)
    room.restart()
    until(lambda: room.scheduler.lag_s() == 0)
    room.ledger.moves.resume_schedule("x", actor="cli:ann").wait(LIMIT_S)
    room.scheduler.turn()
    room.pass_time(6 * 60, "x")
    until(lambda: room.scheduler.lag_s() == 0)
    assert room.outcomes("x") == {"skipped": 4, "late": 1}
    assert len(room.jobs()) == 1


def test_a_reload_adds_changes_and_removes_schedules(make_room: MakeRoom) -> None:
    """A schedule that was changed makes up for nothing; one that went fires no more, nor does what waited of it."""
    room = make_room(overlap="queue")
    room.pass_time(1, "x")
    room.pass_time(1, "x")
    room.schedules = {"y": dict(MINUTELY)}
    room.scheduler.apply(room.settings())
    room.scheduler.turn()
    room.clock.advance(60)
    room.scheduler.fire("x")
    room.scheduler.fire("y")
    room.end(room.claim())
    room.scheduler.turn()
    assert [(row.outcome, row.why) for row in room.fires("x")] == [
        ("on_time", ""),
        ("skipped", "the schedule was removed"),
    ]
    assert [row.outcome for row in room.fires("y")] == ["on_time"]
    room.clock.advance(86400)
    room.schedules = {"y": MINUTELY | {"cron": "*/2 * * * *"}}
    room.scheduler.apply(room.settings())
    room.scheduler.turn()
    room.scheduler.fire("y")
    assert len(room.fires("y")) == 1


def test_a_schedule_that_cannot_run_is_told_and_the_others_run(tmp_path: Path) -> None:
    """Each of its times is missed, with the reason."""
    schedules = {"bad": MINUTELY | {"task": "reprot"}, "odd": MINUTELY | {"payload": {"moon": 1}}, "x": MINUTELY}
    with closing(Room(tmp_path, schedules)) as room:
        room.start()
        assert set(room.scheduler.timetable.problems) == {"bad", "odd"}
        for key in schedules:
            room.scheduler.fire(key)
        room.clock.advance(60)
        for key in schedules:
            room.scheduler.fire(key)
        told = {event.schedule: event.reason for event in room.events if isinstance(event, ScheduleProblem)}
        assert "Did you mean" in told["bad"]
        assert "moon" in told["odd"]
        assert [row.outcome for row in room.fires("bad")] == ["missed"]
        assert "reprot" in room.fires("bad")[0].why
        assert [job.task for job in room.jobs()] == ["report"]


def test_a_schedule_may_stand_beside_its_task_and_config_wins(tmp_path: Path) -> None:
    """The same name in config.toml is how a site changes what the code says."""
    with closing(Room(tmp_path, {})) as room:
        room.tasks.tasks["sweep"].schedule = {"every": "5m", "overlap": "allow"}
        room.start()
        (found,) = room.scheduler.timetable.named("sweep")
        assert (found.target, found.overlap) == ("sweep", "allow")
        room.schedules = {"sweep": {"task": "sweep", "cron": "@daily"}}
        room.scheduler.apply(room.settings())
        room.scheduler.turn()
        (found,) = room.scheduler.timetable.named("sweep")
        assert found.overlap == "skip"


def test_a_wrong_schedule_beside_a_task_is_a_problem_with_its_place(tmp_path: Path) -> None:
    """Nobody reads the code to find it."""
    with closing(Room(tmp_path, {})) as room:
        room.tasks.tasks["sweep"].schedule = "61 * * * *"
        room.start()
        assert "rig.py:" in room.scheduler.timetable.problems["sweep"]
        assert "minute" in room.scheduler.timetable.problems["sweep"]
        assert "Value error" not in room.scheduler.timetable.problems["sweep"]
        for wrong, said in (
            ({"every": "1h", "overlap": "wait"}, 'overlap: must be one of "skip", "queue", "allow" (is "wait")'),
            ({"evry": "1h"}, 'evry: unknown key. Did you mean "every"?'),
            ({"every": "1h", "cron": "@daily"}, "needs one of cron, every and at, not cron and every"),
        ):
            room.tasks.tasks["sweep"].schedule = wrong
            assert said in timetable(room.settings(), room.tasks).problems["sweep"]


def test_each_client_has_a_schedule_of_its_own(tmp_path: Path) -> None:
    """In its own time zone, and one that is slow holds up no other."""
    schedules = {"x": MINUTELY | {"clients": ["*"]}}
    with closing(Room(tmp_path, schedules, clients={"acme": {"timezone": "Europe/Vienna"}, "beta": {}})) as room:
        room.start()
        room.clock.advance(60)
        room.scheduler.fire("x@acme")
        room.scheduler.fire("x@beta")
        assert sorted(job.client for job in room.jobs()) == ["acme", "beta"]


def test_a_site_without_schedules_writes_nothing_and_has_no_clock(tmp_path: Path) -> None:
    """Idle costs nothing."""
    with closing(Room(tmp_path, {})) as room:
        room.start()
        room.scheduler.turn()
        assert room.scheduler.ages() == {}
        assert room.scheduler.revive() == []


def test_a_pause_by_another_process_is_heard(make_room: MakeRoom) -> None:
    """The command line writes into the file."""
    room = make_room()
    with Ledger(room.folder / "ledger.db", synchronous="normal") as ledger:
        ledger.moves.pause_schedule("x", actor="cli:ann").wait(LIMIT_S)
    room.scheduler.turn()
    room.pass_time(1, "x")
    assert room.outcomes("x") == {"skipped": 1}


def test_a_restart_inside_the_repeated_hour_fires_nothing_again(tmp_path: Path) -> None:
    """02:30 comes twice that night and runs once; what is hourly runs in each of both hours."""
    berlin = {"task": "report", "timezone": "Europe/Berlin", "overlap": "allow"}
    schedules = {"once": berlin | {"cron": "30 2 * * *"}, "hourly": berlin | {"cron": "0 * * * *"}}
    clock = OwnClock()
    clock.ms = round(datetime(2027, 10, 31, 0, 20, tzinfo=UTC).timestamp() * 1000)  # 02:20 summer time
    with closing(Room(tmp_path, schedules, clock=clock)) as room:
        room.start()
        for _ in range(6):  # until 03:20 winter time, with a restart each 20 minutes
            for key in schedules:
                room.pass_time(10, key)
            room.restart()
        assert [row.due_at for row in room.fires("once")] == [_utc(0, 30)]
        assert [row.due_at for row in room.fires("hourly")] == [_utc(1, 0), _utc(2, 0)]


def _utc(hour: int, minute: int) -> int:
    return round(datetime(2027, 10, 31, hour, minute, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("by_s", [3600.0, 3 * 86400.0])
def test_a_clock_that_jumps_ahead_makes_up_for_what_it_jumped_over(
    make_room: MakeRoom, until: Until, by_s: float
) -> None:
    """It is noticed at once, and no due time is without a row."""
    room = make_room(cron="0 * * * *")
    room.clock.ms += round(by_s * 1000)  # and not the monotonic one
    until(lambda: bool(room.fires("x")) and room.scheduler.lag_s() == 0)
    assert sum(room.outcomes("x").values()) == by_s / 3600
    assert len(room.jobs()) == 1
    assert any(isinstance(event, ClockJumped) for event in room.events)


def test_what_was_decided_while_the_clock_was_ahead_is_not_decided_again(tmp_path: Path) -> None:
    """Its times come up a second time once it is changed: they stop nothing, and the others are not lost."""
    room, day = Room(tmp_path, {"x": {"task": "report", "cron": "0 6 * * *"}}), 24 * 60
    with closing(room):
        room.start()
        room.pass_time(day, "x")
        room.end(room.claim())
        room.clock.ms -= day * 60_000  # set right
        room.schedules = {"x": {"task": "report", "cron": "0 6,18 * * *"}}
        room.scheduler.apply(room.settings())
        room.scheduler.turn()
        for _ in range(30):
            room.pass_time(day / 2, "x")
            for held in room.ledger.moves.claim("default", 5).wait(LIMIT_S):
                room.end(held)
        assert set(room.outcomes("x")) <= {"on_time", "late"}
        times = [row.due_at for row in room.fires("x")]
        assert {after - before for before, after in pairwise(times)} == {day // 2 * 60_000}
        assert len(times) == len(room.jobs())


YEARS_MS = 4 * 365 * 86_400_000


def set_ahead(room: Room, until: Until, by_ms: int) -> None:
    """Let the clock be ahead until the schedule has seen it, and set it right."""
    room.clock.ms += by_ms
    until(lambda: bool(room.fires("x")) and room.scheduler.lag_s() == 0)
    room.clock.ms -= by_ms


def told_set_back(room: Room) -> list[SchedulesSetBack]:
    """Return what was told of schedules that were decided too far."""
    return [event for event in room.events if isinstance(event, SchedulesSetBack)]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_was_years_ahead_silences_nothing(make_room: MakeRoom, until: Until, *, restarts: bool) -> None:
    """Once it is right each morning fires, in the same daemon and in the next one; and it is told, once."""
    room, day = make_room(cron="0 6 * * *", overlap="allow"), 24 * 60
    set_ahead(room, until, YEARS_MS)
    if restarts:
        room.restart()
    room.scheduler.turn()
    start = room.clock.now_ms()
    for number in range(60):
        room.pass_time(day, "x")
        if number == 30:
            room.restart()
        room.scheduler.turn()
    until(lambda: room.scheduler.lag_s() == 0)
    times = [row.due_at for row in room.ledger.reads.fires("x", after=start, until=room.clock.now_ms())]
    assert len(times) == 60
    assert {before - after for before, after in pairwise(times)} == {day * 60_000}
    (told,) = told_set_back(room)
    assert told.count == 1
    assert told.ahead_s == pytest.approx(YEARS_MS / 1000, abs=2 * 86400)


def test_what_passed_by_the_right_clock_while_it_was_ahead_is_made_up_for(make_room: MakeRoom, until: Until) -> None:
    """The daemon took a morning of this year for one of another: it comes as after an outage, and not in silence."""
    room = make_room(cron="0 6 * * *", overlap="allow")
    room.pass_time(24 * 60, "x")
    before = room.fires("x")[-1].due_at
    room.clock.ms += YEARS_MS
    until(lambda: len(room.fires("x")) > 1 and room.scheduler.lag_s() == 0)
    room.pass_time(24 * 60, "x")
    room.clock.ms -= YEARS_MS
    room.scheduler.turn()
    room.scheduler.fire("x")
    rows = room.ledger.reads.fires("x", after=before, until=room.clock.now_ms())
    assert [(row.due_at, row.outcome) for row in rows] == [(before + 86_400_000, "late")]


def test_what_was_noted_as_missed_before_its_time_runs_at_its_time(make_room: MakeRoom, until: Until) -> None:
    """Three hours ahead, an hourly schedule that makes up for nothing had missed two of them: they are yet to come."""
    room = make_room(cron="0 * * * *", overlap="allow", catch_up="none")
    start = room.clock.now_ms()
    set_ahead(room, until, 3 * 3_600_000 + 60_000)
    assert any(row.outcome == "missed" for row in room.fires("x"))
    room.scheduler.turn()
    ran = {row.due_at for row in room.fires("x") if row.job_id}
    for _ in range(3):
        room.pass_time(60, "x")
        room.scheduler.turn()
        until(lambda: room.scheduler.lag_s() == 0)
    rows = room.ledger.reads.fires("x", after=start, until=room.clock.now_ms())
    assert [row.outcome for row in rows if row.due_at not in ran] == ["on_time"] * (3 - len(ran))
    assert len(rows) == 3


def test_a_schedule_that_ran_under_a_clock_that_was_ahead_does_not_run_twice(make_room: MakeRoom, until: Until) -> None:
    """Three minutes came too early; when they come again they are decided, and the fourth one runs."""
    room = make_room(overlap="allow", catch_up="all")
    set_ahead(room, until, 3 * 60_000)
    assert len(room.jobs()) == 3
    room.scheduler.turn()
    after, (minute, *_) = room.clock.now_ms(), [row.due_at for row in room.fires("x")]
    (row,) = board(room.scheduler.timetable, room.scheduler.timetable.named("x"), room.ledger.reads, now=after)
    (line,) = today(room.scheduler.timetable, room.ledger.reads, after).lines
    assert (parse_time(row["next"][0]["at"]), row["ahead"]["count"], row["last_fire"]) == (minute + 180_000, 3, None)
    assert line.next_at == minute + 180_000, "the next three are decided"
    for _ in range(4):
        room.pass_time(1, "x")
    until(lambda: room.scheduler.lag_s() == 0)
    times = [row.due_at for row in room.fires("x")]
    assert {after - before for before, after in pairwise(times)} == {60_000}
    assert len(times) == len(room.jobs()) == 4


def test_of_many_times_that_are_missed_those_are_left_out_that_were_decided(make_room: MakeRoom) -> None:
    """An outage after the clock was ahead: what ran is not told as missed, and none of the others is left out."""
    room = make_room(catch_up="none", overlap="allow")
    reads, start = room.ledger.reads, room.clock.now_ms()
    held, minute = room.scheduler.timetable.schedules["x"], 60_000
    submitter = Submitter(room.tasks, room.settings(), room.ledger.moves, reads, emit=room.emit)
    first = next(held.timing.times(start, start + minute))
    times = [first + number * minute for number in range(60)]
    taken = {times[0], *times[30:50], times[55], times[40] + 1}  # one of them is a time of what it was before
    decision = decide(held, start, times[-1] + 120_000 - 1, _NO_TURN, paused=False, submitter=submitter, taken=taken)
    assert decision is not None
    one, *others = decision.fires
    assert (one.since, one.due_at, one.number) == (times[1], times[29], 29)
    assert [new.due_at for new in others] == [at for at in [*times[50:], times[-1] + minute] if at != times[55]]
    assert decision.upto == times[-1] + minute


def test_a_fire_by_hand_takes_its_turn(make_room: MakeRoom) -> None:
    """Also when something of the schedule waits already."""
    room = make_room(overlap="queue")
    room.pass_time(1, "x")
    schedule = room.scheduler.timetable.schedules["x"]
    submitter = Submitter(room.tasks, room.settings(), room.ledger.moves, room.ledger.reads, emit=room.emit)
    for _ in range(2):
        ticket = fire_now([schedule], submitter, room.ledger.moves, now=room.clock.now_ms(), actor="cli:ann")
        assert ticket.wait(LIMIT_S)[0][0] is None
    for number in range(1, 4):
        assert len(room.jobs()) == number
        room.end(room.claim())
        room.scheduler.turn()
    assert sorted(row.how for row in room.fires("x")) == ["clock", "hand", "hand"]


def test_a_backfill_runs_one_by_one_and_costs_no_fire(make_room: MakeRoom) -> None:
    """What is due while something is made up for waits for it, and goes before the rest of it."""
    room = make_room(overlap="skip")
    schedule = room.scheduler.timetable.schedules["x"]
    submitter = Submitter(room.tasks, room.settings(), room.ledger.moves, room.ledger.reads, emit=room.emit)
    now = room.clock.now_ms() // 60_000 * 60_000
    times = [now - 180_000, now - 120_000]
    assert backfill(schedule, times, submitter, room.ledger.moves, actor="cli:ann").wait(LIMIT_S) == 2
    assert backfill(schedule, times, submitter, room.ledger.moves, actor="cli:ann").wait(LIMIT_S) == 0
    room.scheduler.turn()
    room.pass_time(1, "x")
    for number in range(1, 4):
        assert len(room.jobs()) == number
        room.end(room.claim())
        room.scheduler.turn()
    assert [job.due_at for job in room.jobs()] == [times[0], now + 60_000, times[1]]
    assert room.outcomes("x") == {"late": 2, "on_time": 1}


def test_a_schedule_that_never_keeps_up_is_bounded(make_room: MakeRoom) -> None:
    """A job that is always longer than its interval would else fill the disk with what waits."""
    room = make_room(overlap="queue")
    for _ in range(2):
        room.pass_time(1, "x")
    turn = room.ledger.reads.turn("x")
    assert turn.waiting == 1
    room.clock.advance(60)
    held, moves, reads = room.scheduler.timetable.schedules["x"], room.ledger.moves, room.ledger.reads
    submitter = Submitter(room.tasks, room.settings(), moves, reads, emit=room.emit)
    last, now = reads.schedules()["x"].last, room.clock.now_ms()
    for waiting, outcome in ((MOST_WAITING - 1, "on_time"), (MOST_WAITING, "skipped")):
        full = turn._replace(waiting=waiting)
        decision = decide(held, last, now, full, paused=False, submitter=submitter)
        assert decision is not None
        assert [fire.outcome for fire in decision.fires] == [outcome]


def test_what_waits_and_can_no_longer_run_is_missed(make_room: MakeRoom) -> None:
    """It must not stand in the way of what comes."""
    room = make_room(overlap="queue")
    room.pass_time(1, "x")
    room.pass_time(1, "x")
    del room.tasks.tasks["report"]
    room.restart()
    room.end(room.claim())
    room.scheduler.turn()
    assert [row.outcome for row in room.fires("x")] == ["on_time", "missed"]
    assert room.ledger.reads.turn("x").next is None
