"""
Cron as its manual describes it, by brute force: look at each minute (or each tenth one) of real time in turn and ask
what the wall clock shows. Nothing here is shared with the code under test; lines are given as sets, not as text.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MINUTE = 60_000


class Rule(NamedTuple):
    """A line of cron: which days, hours and minutes, and whether its minute or hour began with a star."""

    line: str
    day: Callable[[datetime], bool]
    hours: frozenset[int]
    minutes: frozenset[int]
    star: bool

    def shows(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self.day(wall)


def any_day(wall: datetime) -> bool:
    """`* * *`."""
    return True


def last_day(wall: datetime) -> bool:
    """`L * *`."""
    return wall.day == monthrange(wall.year, wall.month)[1]


def leap_day(wall: datetime) -> bool:
    """`29 2 *`."""
    return (wall.month, wall.day) == (2, 29)


ALL_HOURS = frozenset(range(24))
TABLE = (
    Rule("30 2 * * *", any_day, frozenset({2}), frozenset({30}), star=False),
    Rule("0 * * * *", any_day, ALL_HOURS, frozenset({0}), star=True),
    Rule("*/20 * * * *", any_day, ALL_HOURS, frozenset({0, 20, 40}), star=True),
    Rule("40 1 L * *", last_day, frozenset({1}), frozenset({40}), star=False),
    Rule("0 2 29 2 *", leap_day, frozenset({2}), frozenset({0}), star=False),
)


def fires(rules: Sequence[Rule], zone: str, start: int, end: int, step: int = MINUTE) -> dict[str, list[int]]:
    """Return the times of each line from `start` to before `end`, epoch ms, looking every `step` ms."""
    found: dict[str, list[int]] = {rule.line: [] for rule in rules}
    steps = timedelta(milliseconds=step)
    latest: datetime | None = None  # the latest wall time that was ever shown
    for at, wall in _walls(zone, start, end, step):
        fresh = latest is None or wall > latest
        usual = latest is not None and wall - latest == steps
        come = [wall] if usual else _since(latest, wall, steps) if fresh else []  # none: the clock went back
        for rule in rules:
            if any(rule.shows(shown) for shown in come) if not (rule.star or usual) else rule.shows(wall):
                found[rule.line].append(at)
        if fresh:
            latest = wall
    return found


def _walls(zone: str, start: int, end: int, step: int) -> Iterator[tuple[int, datetime]]:
    info = ZoneInfo(zone)
    for at in range(start, end, step):
        yield at, datetime.fromtimestamp(at // 1000, info).replace(tzinfo=None, fold=0)


def _since(latest: datetime | None, wall: datetime, step: timedelta) -> list[datetime]:
    """Return the wall times that have come since the latest: one, but after a gap all that it left out as well."""
    shown = wall if latest is None else latest + step
    return [shown + number * step for number in range((wall - shown) // step + 1)]


def ms(text: str) -> int:
    """Return the epoch ms of an ISO 8601 time, in UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
