"""What became of the times of a schedule, fired by the real scheduler, as `explain` reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from millrace.clock import parse_time
from millrace.ledger.rows import JobError
from millrace.observe import explain_look
from millrace.observe.explain import Around
from millrace.observe.explain_look import SOME_FIRES
from millrace.queue.submit import Submitter
from millrace.triggers.acts import backfill, plan_backfill
from millrace.triggers.board import board
from millrace.triggers.timetable import timetable
from tests.triggers.rig import LIMIT_S, Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from millrace.observe.explain import Explanation
    from tests.conftest import Until

MAKE = "millrace backfill s --from 2027-01-15T"


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Callable[..., Room]]:
    """Return how to open a scheduler of one schedule, every ten minutes."""
    opened: list[Room] = []

    def start(**given: Any) -> Room:
        schedule = {"task": "report", "every": "10m", **given}
        opened.append(Room(tmp_path, {"s": schedule}))
        opened[0].start()
        return opened[0]

    yield start
    for one in opened:
        one.close()


def explained(room: Room, *, served: bool = True) -> Explanation:
    """Explain the schedule."""
    found = timetable(room.settings(), room.tasks)
    now = room.clock.now_ms()
    rows = board(found, found.named("s"), room.ledger.reads, now=now)
    return explain_look.schedule(room.ledger.reads, "s", rows, Around(now, served, None))


def codes(found: Explanation) -> list[str]:
    """Return the codes of its reasons."""
    return [one.code for one in found.because]


def test_one_that_fired_names_its_job_and_its_next_time(room: Callable[..., Room]) -> None:
    """And that it never fired, before."""
    nightly = room()
    assert codes(explained(nightly)) == ["schedule.never", "schedule.next"]
    nightly.pass_time(10, "s")

    found = explained(nightly)

    assert codes(found) == ["fire.on_time", "schedule.next"]
    (job,) = nightly.jobs()
    assert f"job {job.id} is queued" in found.because[0].text
    assert found.change == []
    assert explained(nightly, served=False).code == "no_daemon"


def test_a_skipped_time_names_the_policy(room: Callable[..., Room]) -> None:
    """The run before was not over: which setting would change that."""
    busy = room(overlap="skip")
    busy.pass_time(10, "s")
    busy.pass_time(10, "s")

    found = explained(busy)

    assert found.code == "fire.skipped"
    assert "the run before is not over (overlap = skip)" in found.because[0].text
    assert found.change[0].text.startswith('Let times wait for the run before: overlap = "queue"')
    assert (found.change[1].command or "").startswith(MAKE)


def test_a_time_that_waits_for_its_turn_says_so(room: Callable[..., Room]) -> None:
    """With overlap = queue it is not lost, only later."""
    busy = room(overlap="queue")
    busy.pass_time(10, "s")
    busy.pass_time(10, "s")

    assert explained(busy).code == "fire.pending"


def test_times_that_were_missed_can_be_made_up_for(room: Callable[..., Room]) -> None:
    """The daemon was down; the command that brings them back has its times in it."""
    down = room(catch_up="none")
    down.scheduler.stop()
    down.clock.advance(3600)
    down.restart()
    down.scheduler.fire("s")

    found = explained(down)

    assert "fire.missed" in codes(found)
    assert any((one.command or "").startswith(MAKE) for one in found.change)


def test_what_was_missed_is_told_until_it_is_made_up_for(room: Callable[..., Room]) -> None:
    """Also behind newer times that came as they should; then neither it nor its command is told any more."""
    down = room(catch_up="none", every="90s", overlap="allow")
    down.scheduler.stop()
    down.clock.advance(3600)
    down.restart()
    down.scheduler.fire("s")
    missed = down.outcomes("s")["missed"]
    for _ in range(SOME_FIRES + 1):
        down.pass_time(1.5, "s")

    found = explained(down)

    told = [one.text for one in found.because if one.code == "fire.missed"]
    assert len(told) == 1
    assert told[0].startswith(f"It missed {missed} times from 2027-01-15T")
    (command,) = [one.command for one in found.change]
    assert command is not None
    assert command.startswith(MAKE)
    after, until = (parse_time(command.split()[number]) for number in (4, 6))
    (schedule,) = timetable(down.settings(), down.tasks).named("s")
    plan = plan_backfill(schedule, down.ledger.reads, after, until)
    times = [one.due_at for one in plan if not one.reason]
    assert len(times) == missed
    submitter = Submitter(down.tasks, down.settings(), down.ledger.moves, down.ledger.reads, emit=down.emit)
    backfill(schedule, times, submitter, down.ledger.moves, actor="ann").wait(LIMIT_S)
    again = explained(down)
    assert "fire.missed" not in codes(again)
    assert not any("backfill" in (one.command or "") for one in again.change)


def test_what_nobody_has_decided_is_told(room: Callable[..., Room]) -> None:
    """`today` counts it as missed; what becomes of it is decided by the next start."""
    down = room()
    down.scheduler.stop()
    down.clock.advance(3630)

    found = explained(down, served=False)

    assert codes(found)[:2] == ["no_daemon", "schedule.undecided"]
    assert "6 times from 2027-01-15T" in found.because[1].text
    assert not any("backfill" in (one.command or "") for one in found.change)


def test_times_to_come_that_a_clock_ahead_has_decided_are_told(room: Callable[..., Room], until: Until) -> None:
    """Who waits for them learns that they do not come again, and which is the next one."""
    hasty = room(overlap="allow", catch_up="all")
    hasty.clock.ms += 1_800_000
    until(lambda: len(hasty.fires("s")) == 3 and hasty.scheduler.lag_s() == 0)
    hasty.clock.ms -= 1_800_000
    hasty.scheduler.turn()

    found = explained(hasty)

    assert codes(found) == ["schedule.never", "schedule.ahead", "schedule.next"]
    assert "3 times from 2027-01-15T08:10:00Z to 2027-01-15T08:30:00Z are decided already" in found.because[1].text
    assert "the next time is 2027-01-15T08:40:00" in found.because[2].text


def test_a_paused_one_names_who_did_it(room: Callable[..., Room]) -> None:
    """And the way back."""
    nightly = room()
    nightly.ledger.moves.pause_schedule("s", actor="ann").wait(LIMIT_S)

    found = explained(nightly)

    assert (found.status, found.code) == ("paused", "schedule.paused")
    assert "ann" in found.because[0].text
    assert found.change[0].command == "millrace schedules resume s"


def test_work_that_died_points_to_its_job(room: Callable[..., Room]) -> None:
    """It fired in time, and yet there is no report."""
    nightly = room()
    nightly.pass_time(10, "s")
    held = nightly.claim()
    nightly.ledger.moves.give_up(held, JobError("E", "m"), duration_s=0.1, cause="gave up").wait(LIMIT_S)

    found = explained(nightly)

    assert found.code == "fire.failed"
    assert found.change[-1].command == f"millrace explain {held.job_id}"


def test_one_that_is_off_or_cannot_run_says_so(room: Callable[..., Room]) -> None:
    """Both are in config.toml, and neither fires."""
    off = room(enabled=False, payload={"nonsense": 1})

    found = explained(off)

    assert (found.status, found.code) == ("off", "schedule.problem")
    assert "schedule.off" in codes(found)
    assert "millrace reload" in [one.command for one in found.change]
