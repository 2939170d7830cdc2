"""
The times of a line of cron in a time zone, as Debian's cron keeps them. A line that names its times of day fires once
for each: right after the gap when the clock skipped it, the first time when it comes twice. A line whose minute or hour
begins with a star follows the clock as it goes, so that hourly stays hourly.
"""

from __future__ import annotations

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
    A line of cron in a zone. Two are equal when line and zone are.

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
        return sum(1 for _ in self.times(after, until))

    def next(self, after: int) -> int | None:
        """Return the first time after a moment (epoch ms), or None if there is none in 50 years."""
        start = after
        while start < after + _HORIZON_MS:
            found = next(self.times(start, start + _STEP_MS), None)
            if found is not None:
                return found
            start += _STEP_MS
        return None

    def walls(self, start: int, end: int, *, back: bool = False) -> Iterator[int]:
        """Yield the wall times that the line names from `start` to before `end`, as if the wall clock were UTC."""
        first, last = start // DAY_MS, (end - 1) // DAY_MS
        days = range(min(last, _LAST_DAY), first - 1, -1) if back else range(first, min(last, _LAST_DAY) + 1)
        minutes = self.line.minutes[::-1] if back else self.line.minutes
        for day in days:
            if self.line.matches(date.fromordinal(day + _EPOCH)):
                midnight = day * DAY_MS
                if first < day < last:
                    yield from [midnight + minute * _MINUTE_MS for minute in minutes]
                else:
                    walls = [midnight + minute * _MINUTE_MS for minute in minutes]
                    yield from [wall for wall in walls if start <= wall < end]

    def left_out(self, change: Change) -> list[int]:
        """Return the wall times of the line that a clock change leaves out; none if it is no gap."""
        return list(self.walls(change.at + change.before, change.at + change.after))

    def doubled(self, change: Change) -> list[int]:
        """Return the wall times of the line that a clock change makes come twice; none if it is a gap."""
        return list(self.walls(change.at + change.after, change.at + change.before))

    def _spans(self, after: int, until: int) -> Iterator[Span]:
        # From two days before, so that the change is known whose repeated hour reaches past `after`.
        return spans(self.zone, after - 2 * DAY_MS, until + 1)

    def _of_span(self, span: Span, after: int, until: int, *, back: bool = False) -> Iterator[int]:
        start, change = span.start, span.change
        at_once = False
        if change is not None and not self.line.wild:
            if change.is_gap:
                at_once = after < span.start <= until and bool(self.left_out(change))
            else:
                start = min(span.end, change.at + change.before - change.after)  # the second coming: fired before
        start = max(start, after + 1)
        found = (wall - span.offset for wall in self.walls(start + span.offset, span.end + span.offset, back=back))
        inside = (at for at in found if at != span.start) if at_once else found
        if at_once and not back:
            yield span.start
        yield from inside
        if at_once and back:
            yield span.start
