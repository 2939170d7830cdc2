"""The backups that the daemon makes by itself: when one is due, how many are kept, when the newest is rehearsed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import MS
from millrace.errors import MillraceError
from millrace.events import BackupDone, BackupFailed, BackupFlawed, RestoreTested, RestoreTestFailed
from millrace.ledger.notes import BACKUP, BACKUP_FAILED, RESTORE_TEST
from millrace.process.backup.make import Backup, kept, last_whole, make, name_for, prune
from millrace.process.backup.restore import rehearse

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock
    from millrace.config.find import Places
    from millrace.config.storage import BackupSettings
    from millrace.events import Emit
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads

AGAIN_S: Final = 600.0  # after a failure: soon enough to matter, and one line in the log each time


class Rota:
    """
    Makes what is due, when `turn` is called. What was done stands in the ledger, so that a restart repeats nothing.

    Args:
        settings: Asked at each turn: they may change.
        stop: Asked while a backup is made; True ends it.
    """

    def __init__(
        self,
        places: Places,
        settings: Callable[[], BackupSettings],
        *,
        moves: Moves,
        reads: Reads,
        clock: Clock,
        emit: Emit,
        stop: Callable[[], bool],
    ) -> None:
        self._places = places
        self._settings = settings
        self._moves = moves
        self._reads = reads
        self._clock = clock
        self._emit = emit
        self._stop = stop
        self._wait_until = 0.0  # monotonic

    def turn(self) -> None:
        """Make a backup, or rehearse the newest, if that is due."""
        settings = self._settings()
        if settings.every is None or self._clock.monotonic() < self._wait_until:
            return
        folder = folder_of(self._places, settings)
        if self._due(BACKUP, settings.every, folder):
            self._back_up(folder, settings.keep)
        newest = next(iter(kept(folder)), None)
        if newest is not None and self._due(RESTORE_TEST, settings.test_every) and not self._stop():
            self._rehearse(newest)

    def _due(self, name: str, every_s: float, folder: Path | None = None) -> bool:
        note = json.loads(self._reads.note(name) or "null")
        if note is None or (folder and not lies_in(Path(note["file"]), folder)):  # the setting was changed
            return True
        passed_s = (self._clock.now_ms() - note["at"]) / MS
        return not 0 <= passed_s < every_s  # one from the future: the clock was set back, or wrong before

    def _back_up(self, folder: Path, keep: int) -> None:
        at = self._clock.now_ms()
        try:
            done = make(self._places, name_for(folder, at), clock=self._clock, stop=self._stop)
        except MillraceError as error:
            if self._stop():
                return
            self._wait_until = self._clock.monotonic() + AGAIN_S
            self._emit(BackupFailed(str(error)))
            self._moves.note(BACKUP_FAILED, json.dumps({"at": at, "reason": str(error)})).wait()
            return
        # What this one has lost may be whole in an older one, and in none of those that came between.
        prune(folder, keep, spare=[done.file, *(last_whole(folder) if done.flaws else [])])
        self._emit(BackupDone(str(done.file), done.size, done.accepted, done.difference, done.took_s))
        if done.flaws:
            self._emit(BackupFlawed(str(done.file), "; ".join(done.flaws)))
        keep_note(self._moves, done, at)

    def _rehearse(self, archive: Path) -> None:
        at = self._clock.now_ms()
        try:
            seen = rehearse(archive, archive.parent, clock=self._clock)
            problems = seen.problems
        except MillraceError as error:
            self._wait_until = self._clock.monotonic() + AGAIN_S
            self._emit(RestoreTestFailed(str(archive), str(error)))
            return
        if problems:
            self._emit(RestoreTestFailed(str(archive), "; ".join(problems)))
        else:
            self._emit(RestoreTested(str(archive), seen.found.accepted if seen.found else 0, seen.took_s))
        note = {"at": at, "file": str(archive), "problems": list(problems)}
        self._moves.note(RESTORE_TEST, json.dumps(note)).wait()


def folder_of(places: Places, settings: BackupSettings) -> Path:
    """Return where backups lie: in the state folder, unless the setting is an absolute path."""
    return places.state / Path(settings.folder).expanduser()


def lies_in(file: Path, folder: Path) -> bool:
    """Return whether a file is one of a folder, by whatever path either was reached."""
    return os.path.realpath(file.parent) == os.path.realpath(folder)


def keep_note(moves: Moves, done: Backup, at: int) -> None:
    """Note a good backup in the folder of backups, for the daemon's next turn and for its health."""
    facts: dict[str, Any] = {"at": at, "file": str(done.file), "bytes": done.size, "jobs": done.accepted}
    moves.note(
        BACKUP,
        json.dumps({**facts, "difference": done.difference, "took_s": done.took_s, "flaws": done.flaws}),
    ).wait()
