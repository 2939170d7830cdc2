"""From config.toml to schedules: one for each client, in its zone; and the paces and times that are no cron."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from millrace.config.load import load_site
from millrace.triggers.at import At
from millrace.triggers.cron import Cron
from millrace.triggers.every import Every
from millrace.triggers.schedule import Schedule, schedules_of
from millrace.triggers.zones import changes
from tests.triggers.reference import MINUTE, ms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from millrace.triggers.schedule import Timing

DAY = 1440 * MINUTE
TEXT = """
[site]
timezone = "Europe/London"
[clients.acme]
timezone = "Europe/Vienna"
[clients.beta]

[schedules.report]
task = "report"
cron = "0 6 * * *"
payload = { month = "2026-11" }
[schedules.close]
pipeline = "month-end"
every = "90s"
inputs = { path = "x.csv" }
clients = ["*"]
catch_up_window = "3d"
jitter = "5s"
[schedules.fixed]
task = "t"
at = "2026-12-01T06:00"
clients = ["acme", "default"]
timezone = "America/New_York"
enabled = false
"""


def test_a_schedule_is_one_for_each_of_its_clients_in_the_client_s_zone(config: Callable[[str], Path]) -> None:
    """Six in the morning is the client's six; and one client's long run must not make another's be skipped."""
    found = schedules_of(load_site(config(TEXT), {}).settings)
    assert {key: (made.client, made.zone) for key, made in found.items()} == {
        "report": ("default", "Europe/London"),
        "close@acme": ("acme", "Europe/Vienna"),
        "close@beta": ("beta", "Europe/London"),
        "fixed@acme": ("acme", "America/New_York"),
        "fixed": ("default", "America/New_York"),
    }
    report, close = found["report"], found["close@acme"]
    assert (report.kind, report.target, report.payload) == ("task", "report", {"month": "2026-11"})
    assert (close.kind, close.target, close.payload) == ("pipeline", "month-end", {"path": "x.csv"})
    assert (close.window_ms, close.jitter_ms, close.enabled) == (3 * DAY, 5000, True)
    assert not found["fixed"].enabled


def test_all_clients_of_a_site_without_clients_is_the_default_one(config: Callable[[str], Path]) -> None:
    """The sample file must not stop working because nobody is configured yet."""
    text = '[schedules.x]\ntask = "t"\ncron = "@daily"\nclients = ["*"]\n'
    assert set(schedules_of(load_site(config(text), {}).settings)) == {"x"}


def test_the_fingerprint_changes_with_the_times_and_with_nothing_else() -> None:
    """A schedule that was moved from six to five at half past five must not run for the five that has passed."""
    six = Schedule("x", "task", "t", Cron("0 6 * * *", "UTC"))
    assert six.fingerprint == Schedule("x", "task", "other", Cron("0  6 * * *", "UTC"), overlap="allow").fingerprint
    others: list[Timing] = [
        Cron("0 5 * * *", "UTC"),
        Cron("0 6 * * *", "Europe/London"),
        Every(60, "UTC"),
        At("2026-12-01", "UTC"),
    ]
    assert len({six.fingerprint, *(Schedule("x", "task", "t", timing).fingerprint for timing in others)}) == 5


def test_until_when_the_work_should_be_done() -> None:
    """`today` compares with it: a time of day in the schedule's zone, the next one, or a span."""
    due_at = ms("2026-11-30T23:00:00+01:00")

    def expected(done_by: str | None) -> int | None:
        return Schedule("x", "task", "t", Cron("0 23 L * *", "Europe/Berlin"), done_by=done_by).expected_by(due_at)

    assert expected(None) is None
    assert expected("08:00") == ms("2026-12-01T08:00:00+01:00")
    assert expected("23:30") == ms("2026-11-30T23:30:00+01:00")
    assert expected("23:00") == ms("2026-12-01T23:00:00+01:00")
    assert expected("2h30m") == due_at + 150 * MINUTE


def test_a_pace_is_kept_through_clock_changes_and_restarts() -> None:
    """Fifteen minutes are fifteen minutes, on the quarters of the hour, wherever one begins to look."""
    pace = Every(900, "Europe/Berlin")
    change = next(changes("Europe/Berlin", ms("2026-03-01"), ms("2026-04-01"))).at
    times = list(pace.times(change - DAY, change + DAY))
    assert {later - earlier for earlier, later in pairwise(times)} == {15 * MINUTE}
    assert all(at % (15 * MINUTE) == 0 for at in times)
    assert list(pace.back(change - DAY, change + DAY)) == times[::-1]
    draw = random.Random(44)
    for _ in range(200):
        after = draw.randrange(ms("1990-01-01"), ms("2040-01-01"))
        following = pace.next(after)
        assert following is not None
        assert after < following <= after + 15 * MINUTE
        assert pace.count(after, following) == 1
        assert pace.count(after, following - 1) == 0


def test_a_weekly_pace_is_monday_at_midnight_of_the_zone() -> None:
    """The anchor is a Monday, so that a week begins where people think it does."""
    assert Every(7 * 86400, "Europe/Berlin").next(ms("2026-11-18")) == ms("2026-11-23T00:00:00+01:00")
    assert Every(3600, "Asia/Kolkata").next(ms("2026-11-18T00:00:00+05:30")) == ms("2026-11-18T01:00:00+05:30")


@pytest.mark.parametrize(
    ("text", "zone", "moment", "note"),
    [
        ("2026-12-01T06:00", "Europe/Berlin", "2026-12-01T05:00:00Z", ""),
        ("2026-12-01", "Europe/Berlin", "2026-11-30T23:00:00Z", ""),
        ("2026-12-01T06:00Z", "Europe/Berlin", "2026-12-01T06:00:00Z", ""),
        ("2026-10-25T02:30+01:00", "Europe/Berlin", "2026-10-25T01:30:00Z", ""),
        (
            "2026-03-29T02:30",
            "Europe/Berlin",
            "2026-03-29T01:00:00Z",
            "02:30 does not exist on 2026-03-29: runs at 03:00",
        ),
        (
            "2026-10-25T02:30",
            "Europe/Berlin",
            "2026-10-25T00:30:00Z",
            '02:30 comes twice on 2026-10-25: runs the first time (for the second write "2026-10-25T02:30:00+01:00")',
        ),
        (
            "2026-10-04T02:10",
            "Australia/Lord_Howe",
            "2026-10-03T15:30:00Z",
            "02:10 does not exist on 2026-10-04: runs at 02:30",
        ),
    ],
)
def test_one_time_is_a_wall_time_of_the_zone_and_odd_ones_are_explained(
    text: str, zone: str, moment: str, note: str
) -> None:
    """A time that does not exist must not be an hour off in silence."""
    at = At(text, zone)
    assert (at.due_at, at.note) == (ms(moment), note)
    assert (at.next(at.due_at - 1), at.next(at.due_at)) == (at.due_at, None)
    assert (at.count(at.due_at - 1, at.due_at), at.count(at.due_at, at.due_at + DAY)) == (1, 0)


def test_the_offset_that_a_note_offers_is_the_second_time() -> None:
    """What an explanation says can be written, can be written."""
    first = At("2026-10-25T02:30", "Europe/Berlin")
    second = At(first.note.split('"')[1], "Europe/Berlin")
    assert (second.due_at - first.due_at, second.note) == (60 * MINUTE, "")
