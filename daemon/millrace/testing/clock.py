"""A clock that stands still until the test moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.clock import MS, parse_duration, parse_time

if TYPE_CHECKING:
    import threading

START: Final = "2026-01-31T08:00:00Z"


class FakeClock:
    """
    All the time that a pretended job sees.

    Args:
        at: What its wall clock shows first.
    """

    def __init__(self, at: str = START) -> None:
        self._now_ms = parse_time(at)
        self._monotonic = 0.0

    def now_ms(self) -> int:
        """Return the wall clock as UTC epoch milliseconds."""
        return self._now_ms

    def monotonic(self) -> float:
        """Return the seconds since the clock was made."""
        return self._monotonic

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """Let the time pass at once, unless the event is set; return whether it is."""
        if not event.is_set() and timeout_s is not None:
            self.advance(timeout_s)
        return event.is_set()

    def advance(self, by: float | str) -> None:
        """
        Let time pass.

        Args:
            by: Seconds, ≥ 0, or a duration such as "5m".
        Raises: ValueError for a time that goes back, or a text that is no duration.
        """
        seconds = parse_duration(by) if isinstance(by, str) else by
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s")
        self._monotonic += seconds
        self._now_ms += round(seconds * MS)
