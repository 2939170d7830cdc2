"""
Looks at the ledger's storage once a second, by means that cost nothing: is the file the one that was opened, is there
room on the disk, does the log stay within its bound? Tells when that changes, and not each time.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.events import IntakeResumed, IntakeStopped, LogPinned
from millrace.observe.storage import storage_of
from millrace.process.ground import Sentry

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.events import Emit
    from millrace.queue.room import Room

LOG_BOUND: Final = 256_000_000  # four times what the log is cut back to: somebody keeps it from being cut
PINNED_S: Final = 60.0
_MOST_HOLDERS: Final = 5
_PROC: Final = Path("/proc")


class Guard:
    """
    The guard of one open ledger.

    Args:
        named: What the settings call it, where that is a link; see `ground.Sentry`.
        log_bound: Bytes of the log above which somebody is told who keeps it from being cut back.
    """

    def __init__(
        self,
        ledger: Path,
        room: Room,
        *,
        clock: Clock,
        emit: Emit,
        named: Path | None = None,
        log_bound: int = LOG_BOUND,
    ) -> None:
        self._ledger = ledger
        self._room = room
        self._clock = clock
        self._emit = emit
        self._log_bound = log_bound
        self._sentry = Sentry(ledger, named)
        self._shut_since: float | None = None
        self._large_since: float | None = None
        self._told_pinned = False

    def look(self) -> str | None:
        """Return why the daemon must stop; None while all is as it should be."""
        ghost = self._sentry.look()
        if ghost is None:
            self._look_at_room()
            self._look_at_log()
        return ghost

    @property
    def doubtful(self) -> bool:
        """Whether the file looks too short, so that somebody should read it."""
        return self._sentry.doubtful

    def after_all(self) -> Path | None:
        """Keep the log of a lost ledger from another that took its place; return where it is now."""
        return self._sentry.set_log_aside()

    def _look_at_room(self) -> None:
        refusal = self._room.refusal()
        now = self._clock.monotonic()
        if refusal is not None and self._shut_since is None:
            self._shut_since = now
            self._emit(IntakeStopped(str(refusal)))
        elif refusal is None and self._shut_since is not None:
            self._emit(IntakeResumed(round(now - self._shut_since, 1)))
            self._shut_since = None

    def _look_at_log(self) -> None:
        try:
            size = storage_of(self._ledger).wal_bytes
        except OSError:
            return
        now = self._clock.monotonic()
        if size <= self._log_bound:
            self._large_since, self._told_pinned = None, False
        elif self._large_since is None:
            self._large_since = now
        elif now - self._large_since >= PINNED_S and not self._told_pinned:
            self._told_pinned = True
            self._emit(LogPinned(size, ", ".join(holders(self._ledger)) or "unknown"))


def holders(ledger: Path) -> list[str]:
    """Return who has a ledger open beside this process: pid and name, as far as this user may see."""
    others = (entry for entry in _PROC.iterdir() if entry.name.isdigit() and int(entry.name) != os.getpid())
    found = (f"pid {entry.name} ({_name(entry)})" for entry in others if _has_open(entry, ledger))
    return list(islice(found, _MOST_HOLDERS))


def _has_open(process: Path, ledger: Path) -> bool:
    try:
        return any(_target(descriptor) == str(ledger) for descriptor in (process / "fd").iterdir())
    except OSError:
        return False


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "?"
