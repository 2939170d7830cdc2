"""One time: `at = "2026-12-01T06:00"`, a wall time of the schedule's zone, or a moment if it has its own offset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from millrace.clock import MS
from millrace.triggers.zones import DAY_MS, ahead_text, changes, wall_text

if TYPE_CHECKING:
    from collections.abc import Iterator


class At:
    """
    One time. `due_at` is the moment in epoch ms, `note` what a clock change makes of the wall time, or "".

    A wall time that does not exist is the first moment after the gap, one that comes twice is the first, as for cron.

    Args:
        text: ISO 8601; without an offset a wall time of the zone.
        zone: An IANA name such as "Europe/Berlin".
    Raises: ValueError with an example, if the text is no time.
    """

    def __init__(self, text: str, zone: str) -> None:
        self.text = text
        self.zone = zone
        moment = _read(text)
        if moment.tzinfo is not None:
            self.due_at, self.note = round(moment.timestamp() * MS), ""
        else:
            self.due_at, self.note = _place(moment, zone)

    def times(self, after: int, until: int) -> Iterator[int]:
        """Yield the time, if it lies after `after` and not after `until`, both epoch ms."""
        if after < self.due_at <= until:
            yield self.due_at

    def back(self, after: int, until: int) -> Iterator[int]:
        """Yield the same."""
        return self.times(after, until)

    def count(self, after: int, until: int) -> int:
        """Return 1 if the time lies after `after` and not after `until`, else 0."""
        return int(after < self.due_at <= until)

    def next(self, after: int) -> int | None:
        """Return the time if it lies after a moment (epoch ms), else None."""
        return self.due_at if self.due_at > after else None


def _read(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f'"{text}" is not a time: write for example "2026-12-01T06:00"') from None


def _place(wall: datetime, zone: str) -> tuple[int, str]:
    """Return the moment of a wall time in a zone, and what is special about it."""
    info = ZoneInfo(zone)
    wall_ms = round(wall.replace(tzinfo=UTC).timestamp() * MS)
    day, shown = wall_text(wall_ms)
    for change in changes(zone, wall_ms - 2 * DAY_MS, wall_ms + 2 * DAY_MS):
        if change.at + change.before <= wall_ms < change.at + change.after:
            return change.at, f"{shown} does not exist on {day}: runs at {wall_text(change.at + change.after)[1]}"
        if change.at + change.after <= wall_ms < change.at + change.before:
            second = f"{wall.isoformat()}{ahead_text(change.after)}"
            note = f'{shown} comes twice on {day}: runs the first time (for the second write "{second}")'
            return wall_ms - change.before, note
    return round(wall.replace(tzinfo=info).timestamp() * MS), ""
