"""
All time: the wall clock for rows (UTC epoch milliseconds), the monotonic clock for durations, waiting, and the text
forms of both. Nothing else in Millrace reads a clock or sleeps, so a test that passes its own `Clock` owns time.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import threading

MS: Final = 1000


class Clock(Protocol):
    """What the rooms need of time."""

    def now_ms(self) -> int:
        """Return the wall clock as UTC epoch milliseconds."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back, from an arbitrary start."""

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """Wait for the event, at most `timeout_s` seconds; return whether it is set."""


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """See `Clock`."""
        return event.wait(timeout_s)


SYSTEM: Final = SystemClock()


def be_in_utc() -> None:
    """Take this process's own zone away, and that of all that it starts: zones belong to schedules and clients."""
    os.environ["TZ"] = "UTC"
    time.tzset()  # of the variable alone, only processes that begin after it would hear


_UNITS: Final = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "y": 365 * 86400.0,
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|min|s|m|h|d|w|y)")
_ISO: Final = re.compile(
    r"P(?:(?P<w>\d+(?:\.\d+)?)W)?(?:(?P<d>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)
MAX_DURATION_S: Final = 100 * 365 * 86400.0


def parse_duration(text: str) -> float:
    """
    Return the seconds in a duration.

    Args:
        text: "90s", "5m", "1h30m", "2d", "250ms", or ISO 8601 ("PT5M", "P1DT2H"); at most 100 years.
    Returns: Seconds, ≥ 0.
    Raises: ValueError with an example, if the text is no duration.
    """
    compact = text.strip()
    seconds = _iso_seconds(compact) if compact[:1] == "P" else _plain_seconds(compact.lower())
    if seconds is None or seconds > MAX_DURATION_S:
        msg = f'"{text}" is not a duration: write for example "90s", "5m", "1h30m", "2d" or "PT5M"'
        raise ValueError(msg)
    return seconds


def parse_range(text: str) -> tuple[float, float]:
    """
    Return both ends of a range of durations, in seconds.

    Args:
        text: "10s..15m"; a single duration is both ends.
    Raises: ValueError with an example, if the text is no range or falls.
    """
    low, dots, high = text.partition("..")
    try:
        ends = parse_duration(low), parse_duration(high if dots else low)
    except ValueError:
        raise ValueError(f'"{text}" is not a range of durations: write for example "10s..15m"') from None
    if ends[0] > ends[1]:
        raise ValueError(f'"{text}": the first duration must not be longer than the second')
    return ends


def _plain_seconds(text: str) -> float | None:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _iso_seconds(text: str) -> float | None:
    match = _ISO.fullmatch(text)
    given = {unit: float(number) for unit, number in match.groupdict().items() if number} if match else {}
    return sum(number * _UNITS[unit] for unit, number in given.items()) if given else None


def format_duration(seconds: float) -> str:
    """Return a duration in the units a person would use: 0.04 → "40ms", 90 → "1m30s", 172800 → "2d"."""
    if seconds < 1:
        return f"{round(seconds * MS)}ms"
    if seconds < 10:  # noqa: PLR2004 - below ten seconds the tenth matters
        return f"{round(seconds, 1):g}s"
    left, words = round(seconds), []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(_UNITS[unit]))
        if count:
            words.append(f"{count}{unit}")
    return "".join(words[:2])


def rfc3339(ms: int | None) -> str | None:
    """Return epoch milliseconds as RFC 3339 in UTC with milliseconds, or None for None."""
    if ms is None:
        return None
    moment = datetime.fromtimestamp(ms // MS, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % MS:03d}Z"


def parse_time(text: str) -> int:
    """
    Return the epoch milliseconds of an ISO 8601 moment; one without an offset is taken as UTC.

    Raises: ValueError with an example, if the text is no moment.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(aware.timestamp() * MS)
    except (ValueError, OverflowError) as error:
        msg = f'"{text}" is not a time: write for example "2026-12-01T06:00:00Z"'
        raise ValueError(msg) from error
