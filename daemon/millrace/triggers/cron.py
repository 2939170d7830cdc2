"""
The times of a line of cron in a time zone, as Debian's cron keeps them. A line that names its times of day fires once
for each: right after the gap when the clock skipped it, the first time when it comes twice. A line whose minute or hour
begins with a star follows the clock as it goes, so that hourly stays hourly.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import date
from typing import TYPE_CHECKING, Final

from millrace.config.cronline import read_cron
from millrace.triggers.zones import DAY_MS, spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.triggers.zones import Change, Span

_MINUTE_MS: Final = 60_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_STEP_MS: Final = 400 * DAY_MS  # how far ahead is looked at once
_HORIZON_MS: Final = 50 * 366 * DAY_MS  # 29 February on a given weekday: at most 40 years apart
_LAST_DAY: Final = date(9990, 1, 1).toordinal() - _EPOCH


class Cron:
    """
    A line of cron in a zone.

    Args:
        line: Five fields or a nickname, see `CronLine`.
        zone: An IANA name such as "Europe/Berlin".
    Raises: ValueError if the line is wrong.
    """

    def __init__(self, line: str, zone: str) -> None:
        self.line = read_cron(line)
        self.zone = zone

    def times(self, after: int, until: int) -> Iterator[int]:
        """Yield the times after `after` up to and including `until`, both epoch ms, in order."""
        for span in self._spans(after, until):
            yield from self._of_span(span, after, until)

    def back(self, after: int, until: int) -> Iterator[int]:
        """Yield the same times from the last to the first."""
        for span in reversed(list(self._spans(after, until))):
            yield from self._of_span(span, after, until, back=True)

    def count(self, after: int, until: int) -> int:
        """Return how many times there are after `after` up to and including `until`."""
        found = 0
        for span in self._spans(after, until):
            start, end, at_once = self._walls_of(span, after, until)
            found += at_once + sum(last - first for _, first, last in self._days(start, end))
        return found

    def next(self, after: int) -> int | None:
        """Return the first time after a moment (epoch ms), or None if there is none in 50 years."""
        start = after
        while start < after + _HORIZON_MS:
            found = next(self.times(start, start + _STEP_MS), None)
            if found is not None:
                return found
            start += _STEP_MS
        return None

    def left_out(self, change: Change) -> list[int]:
        """Return the wall times of the line that a clock change leaves out; none if it is no gap."""
        return list(self._walls_left_out(change))

    def doubled(self, change: Change) -> list[int]:
        """Return the wall times of the line that a clock change makes come twice; none if it is a gap."""
        return list(self._walls(change.at + change.after, change.at + change.before))

    # ---- wall times, told in ms as if the wall clock were UTC

    def _spans(self, after: int, until: int) -> Iterator[Span]:
        # From two days before, so that the change is known whose repeated hour reaches past `after`.
        return spans(self.zone, after - 2 * DAY_MS, until + 1)

    def _of_span(self, span: Span, after: int, until: int, *, back: bool = False) -> Iterator[int]:
        start, end, at_once = self._walls_of(span, after, until)
        if at_once and not back:
            yield span.start
        for wall in self._walls(start, end, back=back):
            yield wall - span.offset
        if at_once and back:
            yield span.start

    def _walls_of(self, span: Span, after: int, until: int) -> tuple[int, int, bool]:
        """Return from and to which wall time a span counts, and whether one is made up for at its start."""
        start, change = max(span.start, after + 1), span.change
        at_once = False
        if change is not None and not self.line.wild:
            if change.is_gap:
                at_once = after < span.start <= until and next(self._walls_left_out(change), None) is not None
                start = max(start, span.start + at_once)  # once, also when the end of the gap is a time of the line
            else:
                start = max(start, change.at + change.before - change.after)  # what comes twice has fired before
        return start + span.offset, min(span.end, until + 1) + span.offset, at_once

    def _walls_left_out(self, change: Change) -> Iterator[int]:
        return self._walls(change.at + change.before, change.at + change.after)

    def _walls(self, start: int, end: int, *, back: bool = False) -> Iterator[int]:
        for midnight, first, last in self._days(start, end, back=back):
            minutes = self.line.minutes[first:last]
            for minute in reversed(minutes) if back else minutes:
                yield midnight + minute * _MINUTE_MS

    def _days(self, start: int, end: int, *, back: bool = False) -> Iterator[tuple[int, int, int]]:
        """Yield each day of the line, and the slice of its minutes that lies from `start` to before `end`."""
        minutes, count = self.line.minutes, len(self.line.minutes)
        one, other = start // DAY_MS, min((end - 1) // DAY_MS, _LAST_DAY)
        for day in range(other, one - 1, -1) if back else range(one, other + 1):
            if self.line.matches(date.fromordinal(day + _EPOCH)):
                midnight = day * DAY_MS
                first = bisect_left(minutes, (start - midnight) / _MINUTE_MS) if day == one else 0
                last = bisect_left(minutes, (end - midnight) / _MINUTE_MS) if day == other else count
                yield midnight, first, max(first, last)
