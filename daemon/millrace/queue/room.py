"""
Whether the disk has room for more work. Below the reserve none is taken in from outside, so that what was accepted can
still be run and recorded: results, attempts and the log need room too. Once there is room, work is taken again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from millrace.clock import SYSTEM, Clock
from millrace.config.sizes import format_size
from millrace.errors import LedgerFull

if TYPE_CHECKING:
    from pathlib import Path

RESERVE: Final = (50_000_000, 0.02)  # unless it is set: so many bytes, or this share of a smaller disk
LOOK_S: Final = 0.1  # while there is room; without it, each caller looks anew


def reserve_of(told: int | None, total_bytes: int) -> int:
    """Return below how many free bytes no work is taken in, on a disk of `total_bytes`."""
    return min(RESERVE[0], int(RESERVE[1] * total_bytes)) if told is None else told


class Room:
    """The disk of one ledger. Safe to share between threads."""

    def __init__(self, ledger: Path, reserve: int | None, *, clock: Clock = SYSTEM) -> None:
        self._folder = ledger.parent
        self.reserve = reserve
        self._clock = clock
        self._looked_at = -LOOK_S

    def refusal(self) -> LedgerFull | None:
        """Return why no work is taken in; None while there is room, or that cannot be found out."""
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_S:
            return None
        try:
            disk = os.statvfs(self._folder)
        except OSError:  # the folder is gone: the write itself will tell better why
            return None
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        reserve = reserve_of(self.reserve, total)
        if free >= reserve:
            self._looked_at = now
            return None
        return LedgerFull(
            f"the disk is nearly full: {format_size(free)} are left and {format_size(reserve)} are kept for the work "
            "that was accepted. Free some space; no restart is needed"
        )
