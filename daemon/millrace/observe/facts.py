"""What metrics and health look at: the ledger, the pools, and how long ago each part of the daemon made progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from millrace.clock import Clock
    from millrace.config.settings import Settings
    from millrace.define.registry import Registry
    from millrace.ledger.reads import Reads
    from millrace.observe.conservation import ConservationCheck
    from millrace.queue.pool import PoolState
    from millrace.queue.room import Level


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """How many schedules there are, why some cannot run, and for how long the last of them should have fired."""

    count: int = 0
    problems: Mapping[str, str] = field(default_factory=dict)
    lag_s: float = 0.0


@dataclass
class Facts:
    """
    The daemon, as an onlooker sees it.

    Args:
        ledger: The database file.
        writer_alive: Whether the ledger's writer works.
        pools: The pools at this moment.
        ages: For each part that must make progress, the seconds since its last turn.
        failing: For each part that failed at its last turn, the reason.
        refusals: How many attempts have ended whose outcome the ledger has not yet taken, and why not.
        level: How much room the disk has for work; None if that cannot be told.
        accepting: Whether the daemon takes work: not while it starts or stops.
        settings: Replaced when they are read again.
        schedules: The schedules at this moment.
    """

    ledger: Path
    reads: Reads
    writer_alive: Callable[[], bool]
    pools: Callable[[], Sequence[PoolState]]
    ages: Callable[[], Mapping[str, float]]
    accepting: Callable[[], bool]
    registry: Registry
    settings: Settings
    conservation: ConservationCheck
    clock: Clock
    schedules: Callable[[], ScheduleFacts] = ScheduleFacts
    failing: Callable[[], Mapping[str, str]] = dict
    refusals: Callable[[], tuple[int, str]] = lambda: (0, "")
    level: Callable[[], Level | None] = lambda: None
