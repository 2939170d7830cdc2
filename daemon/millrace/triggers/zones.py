"""
The clock changes of a time zone. zoneinfo tells the offset of a moment but not when it changes; all arithmetic on wall
times needs just that, so the changes of a year are looked for once and kept.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from millrace.clock import MS

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MS: Final = 86_400_000
_STEP_S: Final = 12 * 3600  # no zone changes its clock twice within it
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 9990  # ends before the calendar of Python does


class Change(NamedTuple):
    """A clock change: the moment it happens (epoch ms), and the offsets from UTC before and after it, in ms."""

    at: int
    before: int
    after: int

    @property
    def is_gap(self) -> bool:
        """Whether wall times are left out; else some come twice."""
        return self.after > self.before


class Span(NamedTuple):
    """A time without clock changes, from `start` to before `end` (epoch ms); `change` is the one it begins with."""

    start: int
    end: int
    offset: int
    change: Change | None


def offset_ms(zone: str, at: int) -> int:
    """Return the milliseconds that a zone is ahead of UTC at a moment (epoch ms)."""
    return _offset_s(ZoneInfo(zone), at // MS) * MS


def spans(zone: str, start: int, end: int) -> Iterator[Span]:
    """Yield the spans between the clock changes from `start` to `end`, both epoch ms, cut to them."""
    begin, change = start, None
    offset = offset_ms(zone, start)
    for found in changes(zone, start, end):
        if found.at > begin:
            yield Span(begin, found.at, offset, change)
        begin, change, offset = found.at, found, found.after
    if begin < end:
        yield Span(begin, end, offset, change)


def changes(zone: str, after: int, before: int) -> Iterator[Change]:
    """Yield the clock changes after one moment and before another, both epoch ms, in order."""
    if zone == "UTC":
        return
    for year in range(_year(after), min(_year(before), _LAST_YEAR) + 1):
        for change in _of_year(zone, year):
            if after < change.at < before:
                yield change


def wall_text(wall: int) -> tuple[str, str]:
    """Return date and time of day of a wall time, told in ms as if it were UTC: ("2026-03-29", "02:30")."""
    moment = datetime.fromtimestamp(wall // MS, UTC)
    return f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def ahead_text(offset: int) -> str:
    """Return an offset from UTC in ms as ISO 8601 has it: "+02:00"."""
    minutes = abs(offset) // 60_000
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


@lru_cache(maxsize=4096)
def _of_year(zone: str, year: int) -> tuple[Change, ...]:
    info = ZoneInfo(zone)
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp())
    found = []
    before = _offset_s(info, start)
    for left in range(start, end, _STEP_S):
        right = min(left + _STEP_S, end)
        after = _offset_s(info, right)
        if after != before:
            found.append(Change(_moment(info, left, right) * MS, before * MS, after * MS))
            before = after
    return tuple(found)


def _moment(info: ZoneInfo, left: int, right: int) -> int:
    """Return the first second with the offset of `right`, which differs from that of `left`."""
    wanted = _offset_s(info, right)
    while right - left > 1:
        middle = (left + right) // 2
        if _offset_s(info, middle) == wanted:
            right = middle
        else:
            left = middle
    return right


def _offset_s(info: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, info).utcoffset()
    return round(offset.total_seconds()) if offset is not None else 0


def _year(ms: int) -> int:
    return max(datetime.fromtimestamp(ms // MS, UTC).year, _FIRST_YEAR)
