"""Lines of cron: what is taken, what is refused, and in which words."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta

import pytest

from millrace.config.cronline import NICKNAMES, CronLine

WEEK = [date(2026, 11, 1) + timedelta(days=day) for day in range(7)]  # a Sunday, and the days after it


def weekdays(line: str) -> list[str]:
    """Return the days of a week on which a line runs."""
    found = CronLine(line)
    return [f"{day:%a}" for day in WEEK if found.matches(day)]


def test_zero_and_seven_are_sunday() -> None:
    """Libraries that begin the week on Monday run the weekly report a day late."""
    assert weekdays("0 0 * * 0") == weekdays("0 0 * * 7") == weekdays("0 0 * * sun") == ["Sun"]
    assert weekdays("0 0 * * 1-5") == weekdays("0 0 * * MON-FRI") == ["Mon", "Tue", "Wed", "Thu", "Fri"]
    assert weekdays("0 0 * * 5-7") == ["Sun", "Fri", "Sat"]


def test_two_day_fields_are_either_unless_one_begins_with_a_star() -> None:
    """That is Debian's rule; joining them with "and" makes `0 0 13 * 5` a schedule for Friday the 13th only."""
    assert (
        sum(CronLine("0 0 13 * 5").matches(date(2026, 11, day)) for day in range(1, 31)) == 4
    )  # Fridays, one the 13th
    assert (
        sum(CronLine("0 0 */2 * 5").matches(date(2026, 11, day)) for day in range(1, 31)) == 2
    )  # the 13th and the 27th


def test_the_last_day_and_the_second_monday() -> None:
    """What month-end and patch days need."""
    assert [day for day in range(1, 29) if CronLine("0 0 L 2 *").matches(date(2027, 2, day))] == [28]
    assert [day for day in range(1, 31) if CronLine("0 0 * * 1#2").matches(date(2026, 11, day))] == [9]
    assert [day for day in range(1, 31) if CronLine("0 0 * * 5L").matches(date(2026, 11, day))] == [27]
    assert [day for day in range(1, 31) if CronLine("0 0 LW * *").matches(date(2026, 11, day))] == [30]


def test_nicknames_stand_for_their_lines() -> None:
    """@daily is what people write first."""
    for name, line in NICKNAMES.items():
        assert (CronLine(name).minutes, CronLine(name).months) == (CronLine(line).minutes, CronLine(line).months)
    assert CronLine("@Daily").minutes == (0,)
    assert CronLine("@hourly").wild


def test_a_line_says_its_minutes_of_the_day_and_whether_it_follows_the_clock() -> None:
    """The sets that cronsim parsed and its match of a day are used: a release that renames them shows here."""
    line = CronLine(" */30   9-10 1,L * 5L ")
    assert (line.text, line.minutes, line.wild) == ("*/30 9-10 1,L * 5L", (540, 570, 600, 630), True)
    assert (line.months, CronLine("5 4 * 2,JUN *").months) == (frozenset(range(1, 13)), frozenset({2, 6}))
    assert not CronLine("0 0 * * *").wild


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("30 2 * * *", "at 02:30 every day"),
        ("0 6 1 * *", "at 06:00 on the first day of every month"),
        ("0 9 * * 1#2", "at 09:00 on the second Monday of the month"),
        ("@hourly", "at the start of every hour"),
    ],
)
def test_a_line_in_words(line: str, said: str) -> None:
    """Nobody reads five numbers aloud."""
    assert CronLine(line).words() == said


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0 30 2 *", 'never runs: there is no day 30 in February ("L" is the last day of a month)'),
        ("0 0 31 4,6,9 *", "never runs: there is no day 31 in April or June or September"),
        ("0 0 30 FEB */2", "never runs: there is no day 30 in February"),
        ("* * */20 * 1L", "never runs: no day ever fits both its day-of-month and its day-of-week"),
        ("0 0 0 * * *", 'has six fields; seconds are not known here: write "0 0 * * *", or every = "10s"'),
        ("0 0 * *", "has 4 fields; a line of cron has five"),
        ("", 'must be a line of cron such as "30 2 * * *"'),
        ("60 * * * *", 'its minute "60" is not right: it may be *, 0 to 59'),
        ("0 24 * * *", 'its hour "24" is not right'),
        ("0 0 0 * *", 'its day-of-month "0" is not right'),
        ("0 0 * 13 *", 'its month "13" is not right: it may be *, 1 to 12 or JAN to DEC'),
        ("0 0 * * 8", 'its day-of-week "8" is not right'),
        ("0 0 ? * 1", 'For "?" write "*".'),
        ("0 0 15W * *", "LW is the last weekday"),
        ("0 0 * * FRI-MON", "write two, separated by a comma"),
        ("0 0 * * mon-fir", '"fir" is no day, did you mean "fri"?'),
        ("0 0 * jum *", '"jum" is no month, did you mean "jun"?'),
        ("0 0 * * xyz", '"xyz" is no day.'),
        ("0 0 * * 1#2/2", 'its day-of-week "1#2/2" is not right'),
        ("@dayly", '"@dayly" is not known. Did you mean "@daily"?'),
        ("@reboot", "@reboot is no time"),
        ("* " * 200, "must be a line of cron"),
    ],
)
def test_a_line_that_is_wrong_or_never_runs_is_refused_with_the_reason(line: str, reason: str) -> None:
    """A schedule that never fires is noticed months later, if the file is taken in silence."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        CronLine(line)


def test_nonsense_is_a_value_error_and_nothing_else() -> None:
    """The parser of cronsim trips over some texts in ways of its own; the message must still name the key."""
    draw = random.Random(43)
    refused = 0
    for _ in range(3000):
        line = " ".join("".join(draw.choices("0123456789*/-,#LWMONSU²@", k=draw.randint(1, 5))) for _ in range(5))
        try:
            CronLine(line)
        except ValueError:
            refused += 1
    assert refused > 2000
