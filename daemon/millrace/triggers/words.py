"""A schedule in plain words: what it says, its next times, and what clock changes do to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from millrace.clock import MS, format_duration, rfc3339
from millrace.triggers.at import At
from millrace.triggers.cron import Cron
from millrace.triggers.every import Every
from millrace.triggers.zones import ahead_text, changes, offset_ms, wall_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from millrace.triggers.schedule import Timing
    from millrace.triggers.zones import Change

_FEW: Final = 2


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A time to come: `due_at` in epoch ms and in UTC, and as the schedule's zone has it, with weekday and offset."""

    due_at: int
    utc: str
    local: str


def in_words(timing: Timing) -> str:
    """Return when, in a person's words: "every day at 02:30 Europe/Berlin"."""
    match timing:
        case Cron():
            return f"{_cron_words(timing)} {timing.zone}"
        case Every():
            return f"every {format_duration(timing.seconds)}"
        case At():
            return f"once, {local_text(timing.due_at, timing.zone)} {timing.zone}"
        case _:
            return f"{timing} {timing.zone}"


def to_come(timing: Timing, now: int, decided: Collection[int] = ()) -> Iterator[int]:
    """
    Yield the times after `now` that will fire, in order; all in epoch ms.

    Args:
        decided: Those that a clock that was ahead has decided: they do not come again.
    """
    due_at = timing.next(now)
    while due_at is not None:
        if due_at not in decided:
            yield due_at
        due_at = timing.next(due_at)


def upcoming(timing: Timing, now: int, count: int = 3, decided: Collection[int] = ()) -> list[Upcoming]:
    """Return the next times after `now` (epoch ms), at most `count`; see `to_come`."""
    return [
        Upcoming(due_at, rfc3339(due_at) or "", local_text(due_at, timing.zone))
        for due_at in islice(to_come(timing, now, decided), count)
    ]


def notes(timing: Timing, after: int, until: int) -> list[str]:
    """
    Return what the clock changes after `after` up to and including `until` (epoch ms) do to the times, in words; empty
    where they do nothing.
    """
    if isinstance(timing, At):
        return [timing.note] if timing.note and after < timing.due_at <= until else []
    if not isinstance(timing, Cron):  # real time: clock changes leave it alone
        return []
    return [note for change in changes(timing.zone, after, until + 1) for note in _change_notes(timing, change)]


def next_notes(timing: Timing, now: int, count: int = 3) -> list[str]:
    """Return the notes on clock changes up to the last of the next `count` times."""
    times = upcoming(timing, now, count)
    return notes(timing, now, times[-1].due_at) if times else []


def local_text(at: int, zone: str) -> str:
    """Return a moment (epoch ms) as a zone has it: "Sun 2026-03-29 03:00 +02:00"."""
    moment = datetime.fromtimestamp(at // MS, ZoneInfo(zone))
    seconds = ":%S" if moment.second else ""
    return f"{moment.strftime(f'%a %Y-%m-%d %H:%M{seconds}')} {ahead_text(offset_ms(zone, at))}"


def _cron_words(timing: Cron) -> str:
    said = timing.line.words()
    daily = re.fullmatch(r"at (.+) every day", said)
    return f"every day at {daily[1]}" if daily else said


def _change_notes(timing: Cron, change: Change) -> list[str]:
    walls = timing.left_out(change) if change.is_gap else timing.doubled(change)
    if not walls or _follows_the_clock(timing):
        return []
    times = _list_words([wall_text(wall)[1] for wall in walls])
    one, day = len(walls) == 1, wall_text(walls[0])[0]
    if change.is_gap:
        runs = "left out" if timing.line.wild else f"runs at {wall_text(change.at + change.after)[1]}"
        return [f"{times} {'does' if one else 'do'} not exist on {day}: {runs}"]
    runs = "runs both times" if timing.line.wild else "runs once, the first time"
    return [f"{times} {'comes' if one else 'come'} twice on {day}: {runs}"]


def _list_words(times: list[str]) -> str:
    return " and ".join(times) if len(times) <= _FEW else f"{times[0]} to {times[-1]}"


def _follows_the_clock(timing: Cron) -> bool:
    """Return whether it runs in every hour alike: hourly stays hourly, so there is nothing to tell."""
    return timing.line.wild and timing.line.fields[1] in ("*", "*/1")
