"""A schedule as the arithmetic sees it: what, when, for whom, and what to do about what was missed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from millrace.clock import MS, parse_duration
from millrace.config.schedules import ALL_CLIENTS
from millrace.config.settings import DEFAULT
from millrace.triggers.at import At
from millrace.triggers.cron import Cron
from millrace.triggers.every import Every

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from millrace.config.schedules import ScheduleSettings
    from millrace.config.settings import Settings

_FRACTION: Final = 2.0**64


class Timing(Protocol):
    """When: `Cron`, `Every` or `At`. All times are epoch ms."""

    zone: str

    def times(self, after: int, until: int) -> Iterator[int]:
        """Yield the times after `after` up to and including `until`, in order."""

    def back(self, after: int, until: int) -> Iterator[int]:
        """Yield the same times from the last to the first."""

    def count(self, after: int, until: int) -> int:
        """Return how many these are."""

    def next(self, after: int) -> int | None:
        """Return the first time after a moment, or None if there is none."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    One schedule for one client.

    `kind` and `target` say what to submit, `payload` with what (for a pipeline: its inputs). `window_ms` is how far
    back `catch_up` reaches, `done_by` a time of day ("08:00") or a duration after the due time ("2h"), `jitter_ms`
    below how long a fire is put off.
    """

    name: str
    kind: Literal["task", "pipeline"]
    target: str
    timing: Timing
    payload: Mapping[str, Any] = field(default_factory=dict)
    client: str = DEFAULT
    catch_up: Literal["none", "latest", "all"] = "latest"
    window_ms: int = 86_400_000
    overlap: Literal["skip", "queue", "allow"] = "skip"
    done_by: str | None = None
    jitter_ms: int = 0
    enabled: bool = True

    @property
    def key(self) -> str:
        """What its fires are stored under: the name, and behind an @ the client if it is not the default one."""
        return self.name if self.client == DEFAULT else f"{self.name}@{self.client}"

    @property
    def zone(self) -> str:
        """The time zone it is read in."""
        return self.timing.zone

    @property
    def fingerprint(self) -> str:
        """Changes when the times do: a schedule that was changed makes up for nothing from before the change."""
        return hashlib.blake2b(f"{timing_text(self.timing)}|{self.zone}".encode(), digest_size=8).hexdigest()

    def jitter(self, due_at: int) -> int:
        """Return by how many ms the fire of a due time is put off: the same in every daemon and after a restart."""
        if not self.jitter_ms:
            return 0
        drawn = hashlib.blake2b(f"{self.key}|{due_at}".encode(), digest_size=8).digest()
        return int(int.from_bytes(drawn) / _FRACTION * self.jitter_ms)

    def next_fire(self, last: int) -> int | None:
        """
        Return when to fire next (epoch ms, jitter included), or None if there is nothing to come.

        Args:
            last: The latest due time that was decided, or since when the schedule is there.
        """
        due_at = self.timing.next(last)
        return None if due_at is None else due_at + self.jitter(due_at)

    def expected_by(self, due_at: int) -> int | None:
        """Return until when the work of a due time should be done (epoch ms), or None if nothing is said."""
        if self.done_by is None:
            return None
        hour, colon, minute = self.done_by.partition(":")
        if colon:
            return Cron(f"{int(minute)} {int(hour)} * * *", self.zone).next(due_at)
        return due_at + round(parse_duration(self.done_by) * MS)


def timing_text(timing: Timing) -> str:
    """Return a timing as config.toml has it: `cron = "30 2 * * *"`."""
    match timing:
        case Cron():
            return f'cron = "{timing.line.text}"'
        case Every():
            return f'every = "{timing.seconds:g}s"'
        case At():
            return f'at = "{timing.text}"'
        case _:
            return type(timing).__name__


def schedules_of(settings: Settings) -> dict[str, Schedule]:
    """Return all schedules of config.toml by key: one for each schedule and client."""
    found = {}
    for name, wanted in settings.schedules.items():
        for client in _clients(wanted, settings):
            schedule = schedule_of(name, wanted, client=client, zone=_zone(wanted, settings, client))
            found[schedule.key] = schedule
    return found


def schedule_of(name: str, wanted: ScheduleSettings, *, client: str = DEFAULT, zone: str = "UTC") -> Schedule:
    """
    Return one schedule for one client.

    Args:
        zone: The zone to read it in, an IANA name; that of `wanted` is not looked at.
    """
    return Schedule(
        name=name,
        kind="task" if wanted.task is not None else "pipeline",
        target=wanted.task or wanted.pipeline or "",
        timing=_timing(wanted, zone),
        payload=wanted.payload if wanted.task is not None else wanted.inputs,
        client=client,
        catch_up=wanted.catch_up,
        window_ms=round(wanted.catch_up_window * MS),
        overlap=wanted.overlap,
        done_by=wanted.done_by,
        jitter_ms=round(wanted.jitter * MS),
        enabled=wanted.enabled,
    )


def _timing(wanted: ScheduleSettings, zone: str) -> Timing:
    if wanted.cron is not None:
        return Cron(wanted.cron, zone)
    if wanted.every is not None:
        return Every(wanted.every, zone)
    return At(wanted.at or "", zone)


def _clients(wanted: ScheduleSettings, settings: Settings) -> tuple[str, ...]:
    if ALL_CLIENTS in wanted.clients:
        return tuple(settings.clients) or (DEFAULT,)
    return tuple(dict.fromkeys(wanted.clients))


def _zone(wanted: ScheduleSettings, settings: Settings, client: str) -> str:
    own = settings.clients.get(client)
    return wanted.timezone or (own.timezone if own else None) or settings.site.timezone
