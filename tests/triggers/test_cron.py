"""The times of cron lines: against brute force over ten years, and around each kind of clock change."""

from __future__ import annotations

import random
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from millrace.triggers.cron import Cron
from millrace.triggers.zones import changes
from tests.triggers.reference import MINUTE, TABLE, Rule, any_day, fires, ms

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
# Whole-hour and half-hour changes, at midnight and at noon of UTC, and a whole day that an island skipped.
ODD_ZONES = [
    *ZONES,
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/St_Johns",
    "Pacific/Apia",
    "Asia/Tehran",
]


@pytest.mark.parametrize("zone", ZONES)
def test_ten_years_of_fires_are_those_of_brute_force(zone: str) -> None:
    """One wrong night in ten years is a report that came twice, or never."""
    start, end = ms("2024-01-01"), ms("2034-01-01")
    assert all(part % (10 * MINUTE) == 0 for change in changes(zone, start, end) for part in change)

    expected = fires(TABLE, zone, start, end, step=10 * MINUTE)  # all lines and changes fall on tenth minutes

    for rule in TABLE:
        assert list(Cron(rule.line, zone).times(start - 1, end - 1)) == expected[rule.line], rule.line
    assert [len(expected[rule.line]) for rule in TABLE[-2:]] == [120, 3]


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_lines_drawn_at_random_are_right_around_every_clock_change(zone: str) -> None:
    """Minute by minute: the odd minutes that the table does not have, and zones that change at midnight."""
    draw = random.Random(f"4 {zone}")
    for middle in [change.at for change in changes(zone, ms("2009-01-01"), ms("2030-01-01"))][-12:] or [
        ms("2026-06-15")
    ]:
        start, end = middle - 1500 * MINUTE, middle + 3000 * MINUTE
        rules = [_drawn(draw) for _ in range(6)]
        # From two days before, so that the reference has seen the hour that comes again.
        expected = fires(rules, zone, start - 2880 * MINUTE, end)
        for rule in rules:
            cron = Cron(rule.line, zone)
            wanted = [at for at in expected[rule.line] if at >= start]
            assert list(cron.times(start - 1, end - 1)) == wanted, (zone, rule.line, middle)


def _drawn(draw: random.Random) -> Rule:
    hours = sorted(draw.sample(range(24), draw.choice([1, 2, 24])))
    minutes = sorted(draw.sample(range(60), draw.choice([1, 2, 3])))
    if draw.random() < 0.3:
        step = draw.choice([5, 7, 20, 30])
        line = f"*/{step} {','.join(map(str, hours))} * * *"
        return Rule(line, any_day, frozenset(hours), frozenset(range(0, 60, step)), star=True)
    if draw.random() < 0.3:
        return Rule(f"{minutes[0]} * * * *", any_day, frozenset(range(24)), frozenset(minutes[:1]), star=True)
    line = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    return Rule(line, any_day, frozenset(hours), frozenset(minutes), star=False)


def test_the_times_do_not_depend_on_where_one_begins_to_look() -> None:
    """A daemon that starts inside the repeated hour, or right after a gap, must see the fires that all others see."""
    draw = random.Random(41)
    for zone in ODD_ZONES:
        for line in ("30 2 * * *", "15,45 0-3 * * *", "*/20 * * * *", "59 23 * * *", "0 0 * * *"):
            cron = Cron(line, zone)
            for change in list(changes(zone, ms("2005-01-01"), ms("2030-01-01")))[-6:]:
                end = change.at + 4000 * MINUTE
                whole = list(cron.times(change.at - 4000 * MINUTE, end))
                for _ in range(8):
                    start = change.at + draw.randrange(-150 * MINUTE, 150 * MINUTE)
                    assert list(cron.times(start, end)) == [at for at in whole if at > start], (zone, line, start)
                    assert cron.next(start) == next(at for at in whole if at > start)


def test_a_restart_inside_the_repeated_hour_fires_nothing_again() -> None:
    """02:30 fired at the first 02:30; a daemon that starts at 02:10 for the second time must wait for the next day."""
    second_time = ms("2026-10-25T02:10:00+01:00")
    assert Cron("30 2 * * *", "Europe/Berlin").next(second_time) == ms("2026-10-26T02:30:00+01:00")
    assert Cron("*/20 * * * *", "Europe/Berlin").next(second_time) == ms("2026-10-25T02:20:00+01:00")


def test_backwards_is_the_same_from_the_other_end() -> None:
    """What was missed is told from the latest on, so both ways must agree."""
    draw = random.Random(42)
    for _ in range(60):
        cron = Cron(_drawn(draw).line, draw.choice(ODD_ZONES))
        start = draw.randrange(ms("2008-01-01"), ms("2030-01-01"))
        end = start + draw.randrange(400 * 1440 * MINUTE)
        forward = list(cron.times(start, end))
        assert list(cron.back(start, end)) == forward[::-1]
        assert cron.count(start, end) == len(forward)
        assert len(set(forward)) == len(forward)
        assert forward == sorted(forward)


HALF_HOURS = [f"{hour:02}:30{'+01:00' if hour < 2 else '+02:00'}" for hour in range(24) if hour != 2]


@pytest.mark.parametrize(
    ("line", "zone", "day", "times"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", ["03:00+02:00"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-29", ["03:00+02:00"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-29", ["03:00+02:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["02:30+02:00"]),
        ("0 1-3 * * *", "America/New_York", "2026-11-01", ["01:00-04:00", "02:00-05:00", "03:00-05:00"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["02:30+11:00"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["01:45+11:00"]),
        ("30 * * * *", "Europe/Berlin", "2026-03-29", HALF_HOURS),
        ("0 0 * * *", "Africa/Cairo", "2026-04-24", ["01:00+03:00"]),
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-29", []),
    ],
)
def test_the_day_of_a_clock_change(line: str, zone: str, day: str, times: list[str]) -> None:
    """Worked out by hand from the manual of cron, so that the brute force is not the only witness."""
    middle = ms(day)
    around = Cron(line, zone).times(middle - 1440 * MINUTE, middle + 2880 * MINUTE)
    local = [datetime.fromtimestamp(at / 1000, ZoneInfo(zone)) for at in around]
    assert [f"{at:%H:%M}{at.isoformat()[-6:]}" for at in local if at.date().isoformat() == day] == times


def test_a_rare_day_is_found_however_far_it_is() -> None:
    """29 February on a Monday comes in 2044 next; a search that gives up early calls it never."""
    assert Cron("0 0 * 2 MON#5", "Europe/Berlin").next(ms("2026-01-01")) == ms("2044-02-29T00:00:00+01:00")
