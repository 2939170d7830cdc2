"""The due time in what a schedule submits."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from millrace.triggers.placeholders import filled
from tests.triggers.reference import ms
from tests.triggers.rig import Room

if TYPE_CHECKING:
    from pathlib import Path

DUE = ms("2026-03-01T05:00:00")  # 06:00 in Vienna


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("{due:%Y-%m}", "2026-03"),
        ("{due-1d:%Y-%m}", "2026-02"),
        ("{due+1h:%H:%M}", "07:00"),
        ("{due}", "2026-03-01T06:00:00+01:00"),
        ("out/{due:%Y}/{due:%m}.csv", "out/2026/03.csv"),
        ("{name} {duet} {}", "{name} {duet} {}"),
    ],
)
def test_the_due_time_stands_where_it_is_asked_for(text: str, becomes: str) -> None:
    """In the zone of the schedule; other braces are somebody else's."""
    given: dict[str, Any] = {"a": text, "b": [{"c": text}], "n": 3}
    assert filled(given, DUE, "Europe/Vienna") == {"a": becomes, "b": [{"c": becomes}], "n": 3}


def test_a_day_is_a_day_of_the_calendar_also_when_the_clocks_change() -> None:
    """00:30 less a day is the day before, though that one had 23 hours."""
    assert filled({"a": "{due-1d:%d %H:%M}"}, ms("2026-03-29T22:30:00"), "Europe/Berlin") == {"a": "29 00:30"}


def test_each_job_gets_the_period_that_it_was_due_for(tmp_path: Path) -> None:
    """What is made up for late is not made up for the wrong month."""
    schedules: dict[str, dict[str, Any]] = {
        "x": {"task": "report", "every": "1h", "payload": {"month": "{due:%H}"}, "overlap": "allow", "catch_up": "all"},
        "bad": {"task": "report", "every": "1h", "payload": {"month": "{due-1moon:%H}"}},
    }
    with closing(Room(tmp_path, schedules)) as room:
        room.start()
        assert "moon" in room.scheduler.timetable.problems["bad"]
        room.pass_time(125, "x")
        hours = [job.payload for job in room.jobs()]
        assert len(set(hours)) == len(hours) == 2
