"""
What the ledger's file stands on: a file system whose locks can be trusted, and, while a daemon runs, the very file that
it opened. One that was removed, replaced or overwritten must stop it: what it would write on goes to nobody.

The file is never opened for that: closing it again would drop SQLite's locks on it (fcntl(2), "record locks ... are
released as soon as the process closes any file descriptor"). It is looked at by `stat`, and read through a descriptor
that SQLite holds.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.errors import SettingsError
from millrace.ledger.database import APPLICATION_ID
from millrace.ledger.ids import new_id
from millrace.process.lock import lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNTS: Final = Path("/proc/self/mountinfo")
_DESCRIPTORS: Final = Path("/proc/self/fd")
_REMOTE: Final = frozenset({
    "afs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3",
    "smbfs", "fuse.ceph", "fuse.davfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs",
})  # fmt: skip
_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
_APPLICATION: Final = slice(68, 72)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def check_ground(ledger: Path, mounts: str | None = None) -> None:
    """
    Refuse a ledger on a network file system.

    Args:
        mounts: The text of /proc/self/mountinfo; read when None.
    Raises: SettingsError.
    """
    if mounts is None:
        try:
            mounts = MOUNTS.read_text()
        except OSError:  # no /proc: nothing can be said
            return
    kind = file_system(ledger, mounts)
    if kind in _REMOTE:
        raise SettingsError(
            f"{ledger} would lie on a network file system ({kind}), on whose locks SQLite cannot rely: let [site] "
            "state or [database] url name a folder on a local disk"
        )


def file_system(path: Path, mounts: str) -> str | None:
    """Return the kind of file system that a path lies on, by the longest mount point above it; None if unknown."""
    real = Path(os.path.realpath(path))
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        mount, _, rest = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not rest:  # noqa: PLR2004 - the mount point is the fifth
            continue
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        if real.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):  # a later one covers it
            best = len(point.parts), rest.split(" ")[0]
    return best[1] if best else None


class Sentry:
    """
    Watches the file of an open ledger, the log beside it, and the daemon's lock.

    Whoever removed the lock may have started a second daemon, which then has a lock of its own. So this one does not
    make it anew: it writes nothing any more, and the next one takes over.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._log = ledger.with_name(f"{ledger.name}-wal")
        self._file_mark = _mark(ledger)
        self._log_mark = _mark(self._log)
        self._lock = lock_path(ledger)
        self._lock_mark = _mark(self._lock)
        self._ours = False  # whether the header was seen to say so: that of a fresh ledger is in the log for a while

    def look(self) -> str | None:
        """Return why the ledger is not the one that was opened any more; None while it is."""
        marks = ((self._ledger, self._file_mark), (self._log, self._log_mark), (self._lock, self._lock_mark))
        for path, opened in marks:
            found = _mark(path)
            if opened is not None and found is None:
                return f"{path} was removed under the running daemon"
            if opened is not None and found != opened:
                return f"{path} was replaced by another file under the running daemon"
        self._log_mark = self._log_mark or _mark(self._log)
        return self._header_flaw()

    def set_log_aside(self) -> Path | None:
        """
        Take the log of the file that was opened away from the one that stands in its place now; return where it is.

        SQLite would play it into that other file at the next start, and damage it.
        """
        if self._log_mark is None or _mark(self._log) != self._log_mark or _mark(self._ledger) == self._file_mark:
            return None
        aside = self._log.with_name(f"{self._log.name}.left-{new_id(0)}")
        with suppress(OSError):
            self._log.rename(aside)
            return aside
        return None

    def _header_flaw(self) -> str | None:
        header = next(self._headers(), None)
        if header is None:
            return None
        if not header.startswith(_MAGIC):
            return f"{self._ledger} was cut off or overwritten under the running daemon"
        application = int.from_bytes(header[_APPLICATION])
        if application == APPLICATION_ID:
            self._ours = True
        elif application or self._ours:
            return f"{self._ledger} was overwritten with the database of another program"
        return None

    def _headers(self) -> Iterator[bytes]:
        """Yield the head of the file, read through descriptors that are open anyway."""
        for entry in _DESCRIPTORS.iterdir():
            descriptor = int(entry.name)
            with suppress(OSError):  # closed meanwhile
                if _same(descriptor, self._file_mark):
                    header = os.pread(descriptor, _HEADER, 0)
                    if _same(descriptor, self._file_mark):
                        yield header


def _same(descriptor: int, mark: tuple[int, int] | None) -> bool:
    found = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == mark


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
