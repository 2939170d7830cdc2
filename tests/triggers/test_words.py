"""Schedules in words: what people read before they trust a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.triggers.at import At
from millrace.triggers.cron import Cron
from millrace.triggers.every import Every
from millrace.triggers.words import in_words, next_notes, notes, upcoming
from tests.triggers.reference import ms

if TYPE_CHECKING:
    from millrace.triggers.schedule import Timing


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        (Cron("30 2 * * *", "Europe/Berlin"), "every day at 02:30 Europe/Berlin"),
        (Cron("0 6 1 * *", "UTC"), "at 06:00 on the first day of every month UTC"),
        (Cron("*/20 9-17 * * 1-5", "UTC"), "every 20th minute from 09:00 through 17:59 on Monday through Friday UTC"),
        (Cron("0 7 1 * mon", "UTC"), "at 07:00 on the first day of month or on Monday UTC"),
        (
            Cron("0 7 1,15 6 mon,wed", "UTC"),
            "at 07:00 on the first and the 15th day of month or on Monday and Wednesday in June UTC",
        ),
        (Cron("0 7 */2 * mon", "UTC"), "at 07:00 on every second day of month if it's on Monday UTC"),
        (Cron("@hourly", "Asia/Kolkata"), "at the start of every hour Asia/Kolkata"),
        (Every(900, "Europe/Berlin"), "every 15m"),
        (At("2026-12-01T06:00", "Europe/Berlin"), "once, Tue 2026-12-01 06:00 +01:00 Europe/Berlin"),
    ],
)
def test_a_schedule_in_words(timing: Timing, said: str) -> None:
    """`schedules list` says it."""
    assert in_words(timing) == said


def test_the_next_times_are_told_in_utc_and_as_the_zone_has_them() -> None:
    """Over a clock change the offset tells why the day has 23 hours."""
    times = upcoming(Cron("30 2 * * *", "Europe/Berlin"), ms("2026-03-28T00:00:00"))
    assert [(found.utc, found.local) for found in times] == [
        ("2026-03-28T01:30:00.000Z", "Sat 2026-03-28 02:30 +01:00"),
        ("2026-03-29T01:00:00.000Z", "Sun 2026-03-29 03:00 +02:00"),
        ("2026-03-30T00:30:00.000Z", "Mon 2026-03-30 02:30 +02:00"),
    ]
    assert [found.local for found in upcoming(Every(10, "UTC"), ms("2026-03-28T00:00:00"), 1)] == [
        "Sat 2026-03-28 00:00:10 +00:00"
    ]
    assert len(upcoming(At("2026-12-01", "UTC"), ms("2026-11-01"))) == 1
    assert upcoming(At("2026-12-01", "UTC"), ms("2026-12-02")) == []


@pytest.mark.parametrize(
    ("line", "day", "said"),
    [
        ("30 2 * * *", "2026-03-28", ["02:30 does not exist on 2026-03-29: runs at 03:00"]),
        ("0,30 2 * * *", "2026-03-28", ["02:00 and 02:30 do not exist on 2026-03-29: runs at 03:00"]),
        ("0,10,20 2 * * *", "2026-03-28", ["02:00 to 02:20 do not exist on 2026-03-29: runs at 03:00"]),
        ("*/20 2 * * *", "2026-03-28", ["02:00 to 02:40 do not exist on 2026-03-29: left out"]),
        ("30 2 * * *", "2026-10-24", ["02:30 comes twice on 2026-10-25: runs once, the first time"]),
        ("*/30 2 * * *", "2026-10-24", ["02:00 and 02:30 come twice on 2026-10-25: runs both times"]),
        ("0 * * * *", "2026-03-28", []),
        ("*/20 * * * *", "2026-10-24", []),
        ("30 4 * * *", "2026-03-28", []),
        ("30 2 * * *", "2026-06-01", []),
    ],
)
def test_clock_changes_within_the_next_times_are_told(line: str, day: str, said: list[str]) -> None:
    """Twice a year somebody asks why the night's job came at three, or why it did not come twice."""
    start = ms(f"{day}T12:00:00")
    assert notes(Cron(line, "Europe/Berlin"), start, start + 2 * 86_400_000) == said
    assert next_notes(Cron(line, "Europe/Berlin"), start, 100 if "*" in line[:4] else 3) == said


def test_a_time_that_is_odd_is_told_until_it_has_passed() -> None:
    """`at` has one time, so its note is the note."""
    at = At("2026-03-29T02:30", "Europe/Berlin")
    assert next_notes(at, ms("2026-01-01")) == ["02:30 does not exist on 2026-03-29: runs at 03:00"]
    assert next_notes(at, ms("2026-04-01")) == []
    assert next_notes(Every(60, "Europe/Berlin"), ms("2026-03-29T00:59:00")) == []
