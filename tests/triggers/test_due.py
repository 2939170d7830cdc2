"""What becomes of each due time: once, by policy, and whatever the clock does."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from millrace.triggers.at import At
from millrace.triggers.cron import Cron
from millrace.triggers.due import ROWS, Fire, due, settled
from millrace.triggers.every import Every
from millrace.triggers.schedule import Schedule
from tests.triggers.reference import MINUTE, ms

HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = ms("2026-11-22T06:00:00") + 70


def schedule(timing: Any = None, **more: Any) -> Schedule:
    """Return an hourly schedule, or another."""
    return Schedule("x", "task", "t", timing or Cron("0 * * * *", "UTC"), **more)


def outcomes(fires: list[Fire]) -> Counter[str]:
    """Return how many due times came to what."""
    return sum((Counter({fire.outcome: fire.count}) for fire in fires), Counter[str]())


def test_nothing_is_due_before_its_time_and_what_was_decided_is_not_due_again() -> None:
    """The two ways to run something twice."""
    hourly = schedule()
    assert due(hourly, NOW - 60_000, NOW - 100) == []
    fires = due(hourly, NOW - 60_000, NOW)
    assert [(fire.due_at, fire.outcome, fire.runs) for fire in fires] == [(NOW - 70, "on_time", True)]
    assert due(hourly, fires[-1].due_at, NOW) == []


def test_a_fire_says_how_late_it_is() -> None:
    """`today` shows it, and an alert follows it."""
    (fire,) = due(schedule(), NOW - HOUR, NOW + 20 * MINUTE)
    assert (fire.outcome, fire.why, fire.runs) == ("late", "20m late", True)


@pytest.mark.parametrize(
    ("catch_up", "ran", "missed"),
    [("none", 0, 72), ("latest", 1, 71), ("all", 24, 48)],
)
def test_three_days_down_under_each_policy(catch_up: Any, ran: int, missed: int) -> None:
    """No storm: at most the window runs, and what does not run is told."""
    fires = due(schedule(catch_up=catch_up), NOW - 3 * DAY, NOW + 30 * MINUTE)
    came = outcomes(fires)
    assert (came["late"], came["missed"], came["on_time"]) == (ran, missed, 0)
    assert [fire.due_at for fire in fires] == sorted(fire.due_at for fire in fires)
    assert fires[-1].due_at == NOW - 70, "the latest due time is decided, so that none of these comes up again"
    assert due(schedule(catch_up=catch_up), fires[-1].due_at, NOW + 30 * MINUTE) == []
    old = fires[0]
    assert (old.count, old.why) == (48, "older than catch_up_window (1d)")
    assert (old.since, old.due_at) == (NOW - 70 - 71 * HOUR, NOW - 70 - 24 * HOUR)


def test_each_that_does_not_run_says_why() -> None:
    """Somebody asks at seven in the morning why the report is not there."""
    down = {policy: due(schedule(catch_up=policy), NOW - 5 * HOUR, NOW + 30 * MINUTE) for policy in ("none", "latest")}
    assert {fire.why for fire in down["none"]} == {"catch_up = none"}
    assert [fire.why for fire in down["latest"]] == ["catch_up = latest: a later one was due"] * 4 + ["30m late"]
    paused = due(schedule(), NOW - 3 * HOUR, NOW, paused=True)
    assert {(fire.outcome, fire.why) for fire in paused} == {("skipped", "paused")}
    stopped = due(schedule(enabled=False), NOW - 3 * HOUR, NOW)
    assert {(fire.outcome, fire.why) for fire in stopped} == {("skipped", "enabled = false")}


def test_a_quick_restart_costs_nothing_even_without_catching_up() -> None:
    """The fire of 06:00 was delayed by a deploy of forty seconds; nobody would call it missed."""
    (fire,) = due(schedule(catch_up="none"), NOW - 30 * MINUTE, NOW + 40_000)
    assert (fire.outcome, fire.why) == ("late", "40s late")
    (fire,) = due(schedule(catch_up="none"), NOW - 30 * MINUTE, NOW + 61_000)
    assert fire.outcome == "missed"


def test_a_long_gap_is_told_in_few_rows() -> None:
    """500 schedules of a minute that were down for a day would write 720,000 rows at the start otherwise."""
    fires = due(schedule(Every(60, "UTC"), window_ms=7 * DAY), NOW - 3 * DAY, NOW)
    assert len(fires) == ROWS + 2
    assert sum(fire.count for fire in fires) == 3 * 1440
    assert [fire.count for fire in fires[1:]] == [1] * (ROWS + 1)
    assert fires[0].since == NOW - 70 - 3 * DAY + MINUTE
    assert fires[0].due_at + MINUTE == fires[1].due_at


def test_a_restart_inside_the_repeated_hour_does_not_fire_again() -> None:
    """02:30 comes twice on this day; the daemon was restarted at 02:10 for the second time."""
    nightly = schedule(Cron("30 2 * * *", "Europe/Berlin"))
    ran = ms("2026-10-25T02:30:00+02:00")
    for minute in range(0, 24 * 60, 7):
        assert due(nightly, ran, ran + minute * MINUTE) == []
    (fire,) = due(nightly, ran - DAY, ms("2026-10-25T02:10:00+01:00"))
    assert (fire.due_at, fire.outcome) == (ran, "late")


def test_one_time_is_due_once() -> None:
    """`at` has no next time after it."""
    once = schedule(At("2026-11-22T06:00", "UTC"))
    assert [fire.due_at for fire in due(once, NOW - HOUR, NOW)] == [NOW - 70]
    assert due(once, NOW - 70, NOW + 400 * DAY) == []
    assert once.next_fire(NOW) is None


TIMINGS = [
    Cron("*/20 * * * *", "Australia/Lord_Howe"),
    Cron("30 2 * * *", "Europe/Berlin"),
    Cron("0 * * * *", "America/New_York"),
    Every(700, "Asia/Kolkata"),
    Every(240, "Asia/Tokyo"),  # with a jitter beyond its pace: later ones would overtake
]


@pytest.mark.parametrize("timing", TIMINGS, ids=lambda timing: getattr(timing, "zone", ""))
@pytest.mark.parametrize("jitter_ms", [0, 10 * MINUTE])
def test_every_due_time_is_decided_once_however_the_clock_jumps(timing: Any, jitter_ms: int) -> None:
    """An hour ahead and back, three days ahead and back, at random, over both clock changes: none lost, none twice."""
    draw = random.Random(f"{timing.zone} {jitter_ms}")
    for _ in range(25):
        wanted = schedule(
            timing,
            jitter_ms=jitter_ms,
            catch_up=draw.choice(["none", "latest", "all"]),
            window_ms=draw.choice([HOUR, DAY, 7 * DAY]),
        )
        start = draw.choice([ms("2026-03-27"), ms("2026-10-23"), ms("2026-04-03")]) + draw.randrange(DAY)
        last, now, seen = start, start, Counter[int]()
        for _ in range(60):
            now += draw.choice([1000, MINUTE, 17 * MINUTE, 17 * MINUTE, HOUR, -HOUR, 3 * DAY, -3 * DAY])
            fires = due(wanted, last, now, rows=draw.choice([0, 3, 100]), paused=draw.random() < 0.2)
            for fire in fires:
                assert last < fire.due_at <= now
                covered = list(timing.times(fire.since - 1, fire.due_at))
                assert (fire.count, fire.since > last) == (len(covered), True)
                seen.update(covered)
                last = fire.due_at
        assert seen == Counter(timing.times(start, last))
        assert max(seen.values(), default=1) == 1
        following = wanted.next_fire(last)
        assert following is not None
        assert due(wanted, last, following - 1) == []
        assert due(wanted, last, following)[0].due_at > last


def test_the_jitter_is_the_same_everywhere_and_spreads() -> None:
    """Two daemons must agree, and a thousand clients must not all come at full hour."""
    hourly = [schedule(jitter_ms=10 * MINUTE, client=f"c{number}") for number in range(200)]
    put_off = [wanted.jitter(NOW - 70) for wanted in hourly]
    assert put_off == [replace(wanted, target="other").jitter(NOW - 70) for wanted in hourly]
    assert min(put_off) < MINUTE
    assert 9 * MINUTE < max(put_off) < 10 * MINUTE
    assert len({wanted.jitter(NOW - 70 + hour * HOUR) for wanted in hourly for hour in range(3)}) > 590
    for wanted, by in zip(hourly, put_off, strict=True):
        assert due(wanted, NOW - 71, NOW - 70 + by - 1) == []
        (fire,) = due(wanted, NOW - 71, NOW - 70 + by)
        assert (fire.due_at, fire.outcome) == (NOW - 70, "on_time")


def test_a_jitter_that_is_longer_than_the_window_costs_no_fire() -> None:
    """What is put off is not old: the window is for what was missed."""
    wanted = schedule(jitter_ms=HOUR, window_ms=MINUTE)
    for day in range(50):
        due_at = NOW - 70 + day * DAY
        (fire,) = due(wanted, due_at - 1, due_at + wanted.jitter(due_at))
        assert (fire.due_at, fire.outcome) == (due_at, "on_time")


def test_overlap_decides_what_happens_while_the_run_before_is_open() -> None:
    """A job longer than its interval, under each policy."""
    fires = due(schedule(), NOW - 1000, NOW)
    for overlap, busy, runs, waits in (
        ("skip", True, False, False),
        ("skip", False, True, False),
        ("queue", True, True, True),
        ("queue", False, True, False),
        ("allow", True, True, False),
    ):
        (fire,) = settled(schedule(overlap=overlap), fires, busy=busy)
        assert (fire.runs, fire.after_previous) == (runs, waits), (overlap, busy)
    (fire,) = settled(schedule(overlap="skip"), fires, busy=True)
    assert (fire.outcome, fire.why) == ("skipped", "the run before is not over (overlap = skip)")


def test_what_is_made_up_for_runs_one_after_the_other() -> None:
    """catch_up = all with overlap = skip: when they were due nothing ran, so none is skipped for the one before it."""
    month_end = schedule(catch_up="all")
    fires = due(month_end, NOW - 4 * HOUR, NOW + 30 * MINUTE)
    assert [fire.after_previous for fire in settled(month_end, fires, busy=False)] == [False, True, True, True]
    assert not any(fire.runs for fire in settled(month_end, fires, busy=True))
    side_by_side = settled(replace(month_end, overlap="allow"), fires, busy=True)
    assert [fire.after_previous for fire in side_by_side] == [False] * 4


def test_five_hundred_schedules_of_a_minute_are_decided_in_a_moment_after_three_days() -> None:
    """The start of the daemon waits for it. Measured in the work of this thread, as others use the same cores."""
    many = [schedule(Cron("* * * * *", "Europe/Berlin"), client=f"c{number}") for number in range(500)]
    begun = time.thread_time()
    fires = [fire for wanted in many for fire in due(wanted, NOW - 3 * DAY, NOW)]
    took_s = time.thread_time() - begun
    assert sum(fire.count for fire in fires) == 500 * 3 * 1440
    assert took_s < 3, f"{took_s:.1f} s"
