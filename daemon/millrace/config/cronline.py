"""
One line of cron, as Debian's cron means it: read by cronsim, refused with a reason and a suggestion where it is wrong
or can never match. It knows days and minutes of a wall clock; zones and clock changes are `triggers.cron`'s.
"""

from __future__ import annotations

import re
from calendar import month_name
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from cronsim import CronSim, CronSimError

from millrace.errors import did_you_mean

NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Final = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day-of-month", "1 to 31, L (the last day) or LW (the last weekday)"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day-of-week", "0 to 7 (0 and 7 are Sunday), SUN to SAT, 1#2 (the second Monday) or 5L (the last Friday)"),
)
_NAMES: Final = {  # not those of the calendar: they are in the language of the machine
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "day-of-week": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
_LONGEST: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MOST: Final = 200  # characters; an honest line has fewer
_START: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall clock of no zone
_CYCLE: Final = 40  # years from 2000 in which each date falls on each weekday: what does not match then never does


class CronLine:
    """
    A line of cron that matches at some time.

    `text` is the line as given, with single spaces; `minutes` are the minutes of a day it names (0 to 1439, rising),
    `wild` says that its minute or hour begins with a star, so that it follows the clock as it goes instead of naming a
    time of day.

    Args:
        text: Five fields (minute, hour, day of month, month, day of week), or a nickname such as "@daily".
    Raises: ValueError with reason and suggestion.
    """

    __slots__ = ("_cron", "minutes", "months", "text", "wild")

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        fields = self.fields
        self._cron = _read(fields)
        self.wild = fields[0].startswith("*") or fields[1].startswith("*")
        self.months = frozenset(self._cron.months)
        self.minutes = tuple(sorted(hour * 60 + minute for hour in self._cron.hours for minute in self._cron.minutes))
        if not self._ever():
            raise ValueError(f"never runs: {_why_never(fields)}")

    @property
    def fields(self) -> list[str]:
        """The five fields, in capitals; a nickname's are those that it stands for."""
        return _five_fields(self.text).upper().split()

    def matches(self, day: date) -> bool:
        """Return whether the line runs on this day; which months it has is included."""
        return day.month in self.months and self._cron.match_day(day)

    def words(self) -> str:
        """Return the line in plain words, such as "at 02:30 every day"."""
        said = self._cron.explain()
        day, weekday = self.fields[2], self.fields[4]
        if not day.startswith("*") and not weekday.startswith("*"):
            said = " or on ".join(said.rsplit(" and on ", 1))  # either will do, as in all crons
        return said[0].lower() + said[1:]

    def _ever(self) -> bool:
        day = _START.date()
        end = day.replace(year=day.year + _CYCLE)
        while day < end:
            if day.month not in self.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            elif self._cron.match_day(day):
                return True
            else:
                day += timedelta(days=1)
        return False


@lru_cache(maxsize=1024)
def read_cron(text: str) -> CronLine:
    """
    Return the line of cron of a text.

    Raises: ValueError with reason and suggestion, if it is none or can never match.
    """
    return CronLine(text)


def _five_fields(text: str) -> str:
    if not text or len(text) > _MOST:
        raise ValueError('must be a line of cron such as "30 2 * * *"')
    if text.startswith("@"):
        return _nickname(text)
    count = len(text.split())
    if count == len(_FIELDS) + 1:
        rest = text.partition(" ")[2]
        raise ValueError(f'has six fields; seconds are not known here: write "{rest}", or every = "10s"')
    if count != len(_FIELDS):
        raise ValueError(
            f"has {count} {'field' if count == 1 else 'fields'}; a line of cron has five: "
            'minute hour day-of-month month day-of-week, such as "30 2 * * *"'
        )
    return text


def _nickname(text: str) -> str:
    if text.lower() == "@reboot":
        raise ValueError("@reboot is no time: a start of the daemon makes up for what was missed, see catch_up")
    if text.lower() not in NICKNAMES:
        raise ValueError(f'"{text}" is not known.{did_you_mean(text.lower(), NICKNAMES)}')
    return NICKNAMES[text.lower()]


def _read(fields: list[str]) -> CronSim:
    for number, field in enumerate(fields):
        alone = ["*"] * len(fields)
        alone[number] = field
        if _parsed(alone) is None:
            name, known = _FIELDS[number]
            raise ValueError(f'its {name} "{field}" is not right: it may be *, {known}.{_hint(name, field)}')
    found = _parsed(fields)
    if found is None:  # each field is right, but not together: that is how cronsim refuses 30 February
        raise ValueError(f"never runs: {_why_never(fields)}")
    return found


def _parsed(fields: list[str]) -> CronSim | None:
    try:
        return CronSim(" ".join(fields), _START)
    except (CronSimError, AssertionError, ValueError, TypeError):  # its parser trips over some nonsense, as "1#2/2"
        return None


def _hint(name: str, field: str) -> str:
    for word in re.findall("[a-z]{2,}", field.lower()) if name in _NAMES else ():
        if word not in _NAMES[name] and word != "lw":
            close = get_close_matches(word, _NAMES[name], n=1)
            meant = f', did you mean "{close[0]}"?' if close else "."
            return f' "{word}" is no {name.removesuffix("-of-week")}{meant}'
    if "?" in field:
        return ' For "?" write "*".'
    if field.endswith("W"):
        return " The weekday nearest to a day is not known here; LW is the last weekday."
    low, dash, high = field.partition("-")
    if dash and "," not in field and "/" not in field and low and high:
        return f' A range rises: if "{field}" goes past the end, write two, separated by a comma.'
    return " Lists (1,15), ranges (1-5) and steps (*/20) of these are fine."


def _why_never(fields: list[str]) -> str:
    day, months = fields[2], sorted(CronSim(f"* * * {fields[3]} *", _START).months)
    cron = CronSim(f"* * {day} * *", _START)
    first = min(cron.days)
    longest = max(months, key=lambda month: _LONGEST[month])
    if first > _LONGEST[longest]:
        named = " or ".join(month_name[month] for month in months)
        return f'there is no day {first} in {named} ("L" is the last day of a month)'
    return "no day ever fits both its day-of-month and its day-of-week, and with a star in one of them both must fit"
