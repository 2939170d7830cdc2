"""
A fixed pace: `every = "15m"`. It is counted in real time from an anchor that never moves, so it needs no memory, two
daemons agree, and clock changes leave it alone: 15 minutes are 15 minutes.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from millrace.clock import MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ANCHOR: Final = (2001, 1, 1)  # a Monday: every = "1w" is Monday 00:00, every = "15m" the quarters of the hour


class Every:
    """
    A fixed pace in real time, anchored at Monday 2001-01-01 00:00 in its zone.

    Args:
        seconds: The pace, at least a thousandth.
        zone: An IANA name; it moves the anchor only.
    """

    def __init__(self, seconds: float, zone: str) -> None:
        self.seconds = seconds
        self.zone = zone
        self.step = max(1, round(seconds * MS))
        self._anchor = round(datetime(*ANCHOR, tzinfo=ZoneInfo(zone)).timestamp() * MS)

    def times(self, after: int, until: int) -> Iterator[int]:
        """Yield the times after `after` up to and including `until`, both epoch ms, in order."""
        return iter(self._between(after, until))

    def back(self, after: int, until: int) -> Iterator[int]:
        """Yield the same times from the last to the first."""
        return reversed(self._between(after, until))

    def count(self, after: int, until: int) -> int:
        """Return how many times there are after `after` up to and including `until`."""
        return len(self._between(after, until))

    def next(self, after: int) -> int | None:
        """Return the first time after a moment (epoch ms)."""
        return self._anchor + ((after - self._anchor) // self.step + 1) * self.step

    def _between(self, after: int, until: int) -> Sequence[int]:
        first = self.next(after)
        return range(first if first is not None else until + 1, until + 1, self.step)
