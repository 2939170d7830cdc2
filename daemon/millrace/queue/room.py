"""
Whether the disk has room for more work. Below the reserve none is taken in from outside, so that what was accepted can
still be run and recorded: results, attempts and the log need room too. Once there is room, work is taken again.

A transaction writes a page that it changes into the log, whatever the database has of it, and a move writes the payload
of its job again: one that moves many jobs may need as much room in the log as the database has. So no more than half of
a small disk is taken. The log itself, the pages of it that the database lacks, and what is on its way count as taken.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.clock import SYSTEM, Clock
from millrace.config.sizes import format_size
from millrace.errors import LedgerError, LedgerFull
from millrace.ledger.blobs import LARGE, size_of
from millrace.ledger.database import disk_bytes, log_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RESERVE: Final = (50_000_000, 0.5)  # unless it is set: so many bytes, or this share of a smaller disk
PER_JOB: Final = 5_000  # bytes that an open job still needs: attempts, events, a result that takes a page of its own
ROW: Final = 600  # bytes of a new job beside its payload, with its places in indexes
PAGE: Final = 4096  # of which a payload that does not fit into the row beside it takes whole ones
# So much more must be free, or this share of what is kept, before work is taken again: else the door would flap.
MARGIN: Final = (50_000_000, 0.05)
LOOK_S: Final = 0.1  # while there is room; without it, each caller looks anew


class Level(NamedTuple):
    """
    The room on the disk, in bytes.

    Args:
        kept: How much of what is free is kept for the work that was accepted.
    """

    free: int
    kept: int

    @property
    def refusal(self) -> LedgerFull | None:
        """Why no work is taken in; None while there is room."""
        if self.free >= self.kept:
            return None
        return LedgerFull(
            f"the disk is nearly full: {format_size(self.free)} are left and {format_size(self.kept)} are kept for "
            "work that was accepted or is on its way. Free some space; no restart is needed"
        )


def reserve_of(told: int | None, total_bytes: int) -> int:
    """Return below how many free bytes no work is taken in, on a disk of `total_bytes`, when all else is counted."""
    return min(RESERVE[0], int(RESERVE[1] * total_bytes)) if told is None else told


def bytes_of(payloads: Iterable[str]) -> int:
    """
    Return what new jobs take: what is small in the log and in the database, what is large once, in its file; and what
    is kept for them from then on.
    """
    return sum(map(_bytes_of, payloads))


def _bytes_of(text: str) -> int:
    size = size_of(text)
    if size > LARGE:
        return size + PER_JOB
    return 2 * (ROW + (size if size < ROW else (size // PAGE + 1) * PAGE)) + PER_JOB


class Room:
    """
    The disk of one ledger. Safe to share between threads.

    Args:
        reserve: Bytes, as it was set; None is by the size of the disk.
        open_jobs: Returns how many jobs were accepted and are not over.
    """

    def __init__(
        self, ledger: Path, reserve: int | None, *, open_jobs: Callable[[], int] = lambda: 0, clock: Clock = SYSTEM
    ) -> None:
        real = Path(os.path.realpath(ledger))  # as its log, which lies beside the database itself
        self._folder = real.parent
        self._log = real.with_name(f"{real.name}-wal")
        self.reserve = reserve
        self._open_jobs = open_jobs
        self._clock = clock
        self._lock = threading.Lock()
        self._held = 0  # bytes that are on their way to the disk
        self._taken = 0  # bytes that were let in since the last look
        self._spare = 0  # bytes that could be let in at the last look
        self._shut = False  # work was refused at the last look
        self._looked_at = -LOOK_S

    def take(self, size: int) -> Callable[[], None]:
        """
        Take room for work of so many bytes, so that those who come together do not all find the same; return what is
        called once it is on the disk, or will not come.

        Raises: LedgerFull.
        """
        with self._lock:
            self._held += size
            self._taken += size
        refusal = self.refusal()
        if refusal is not None:
            self._let_go(size)
            raise refusal
        return partial(self._let_go, size)

    def _let_go(self, size: int) -> None:
        with self._lock:
            self._held -= size

    def refusal(self) -> LedgerFull | None:
        """Return why no work is taken in; None while there is room, or that cannot be found out."""
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_S and self._taken <= self._spare:
            return None
        with self._lock:
            self._taken = 0  # what comes from here on may not be seen by this look
        level = self.level()
        if level is None:
            return None
        self._spare, self._looked_at = level.free - level.kept, now
        self._shut = level.refusal is not None
        return level.refusal

    def level(self) -> Level | None:
        """Return how much room there is; None if that cannot be found out: the write itself will tell better why."""
        held = self._held
        try:
            disk = os.statvfs(self._folder)
        except OSError:  # the folder is gone
            return None
        total = disk.f_blocks * disk.f_frsize
        if not total:  # a file system that does not tell
            return None
        log = max(log_bytes(total), self._log_bytes())
        kept = max(reserve_of(self.reserve, total), PER_JOB * self._count()) + log + held
        margin = min(MARGIN[0], int(MARGIN[1] * kept)) if self._shut else 0
        return Level(disk.f_bavail * disk.f_frsize, kept + margin)

    def piece(self) -> int:
        """Return how many bytes should come in at once: what many bring together is taken or refused as one."""
        try:
            return 2 * log_bytes(disk_bytes(self._folder))
        except OSError:  # the folder is gone
            return 2 * log_bytes(0)

    def _count(self) -> int:
        try:
            return self._open_jobs()
        except LedgerError:  # told to whoever needs the ledger for more than a guess
            return 0

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:  # it is not there yet
            return 0
