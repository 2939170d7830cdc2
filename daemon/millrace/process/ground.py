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
from millrace.ledger.held import lock_path
from millrace.ledger.ids import new_id

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
# Where they stand in it (https://sqlite.org/fileformat.html, "The Database Header").
_PAGE_SIZE: Final = slice(16, 18)
_CHANGES: Final = slice(24, 28)
_PAGES: Final = slice(28, 32)
_APPLICATION: Final = slice(68, 72)
_PAGES_VALID_FOR: Final = slice(92, 96)
_LARGEST_PAGE: Final = 65_536  # which does not fit its field, and is written as 1
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
    Watches the file of an open ledger, the log and the index beside it, and the daemon's lock.

    The log and the index stay while the ledger is open: SQLite removes them with the last connection, and the writer
    keeps one from the start of the daemon to its end.

    Whoever removed the lock may have started a second daemon, which then has a lock of its own. So this one does not
    make it anew: it writes nothing any more, and the next one takes over.

    Args:
        ledger: The file itself.
        named: What the settings call it, where that is a link: commands follow it wherever it leads by now.
    """

    def __init__(self, ledger: Path, named: Path | None = None) -> None:
        self._ledger = ledger
        self._log = ledger.with_name(f"{ledger.name}-wal")
        index = ledger.with_name(f"{ledger.name}-shm")
        self._marks = {path: _mark(path) for path in (named or ledger, ledger, self._log, index, lock_path(ledger))}
        self._first: bytes | None = None  # the header that was seen first
        self._short: tuple[int, int] | None = None  # how long the file is, and should be, where it is too short
        self.doubtful = False  # whether two looks in a row found it so

    def look(self) -> str | None:
        """Return why the ledger is not the one that was opened any more; None while it is."""
        for path, opened in self._marks.items():
            found = _mark(path)
            if opened is None:  # there was no log yet
                self._marks[path] = found
            elif found is None:
                return f"{path} was removed under the running daemon"
            elif found != opened:
                return f"{path} was replaced by another file under the running daemon"
        head = next(self._heads(), None)
        if head is None or head != next(self._heads(), None):  # a checkpoint writes it at this moment
            return None
        self._measure(*head)
        return self._header_flaw(head[0])

    def set_log_aside(self) -> Path | None:
        """
        Take the log of the file that was opened away from the one that stands in its place now; return where it is.

        SQLite would play it into that other file at the next start, and damage it.
        """
        if self._changed(self._log) or not self._changed(self._ledger):
            return None
        aside = self._log.with_name(f"{self._log.name}.left-{new_id(0)}")
        with suppress(OSError):
            self._log.rename(aside)
            return aside
        return None

    def _changed(self, path: Path) -> bool:
        return self._marks[path] is None or _mark(path) != self._marks[path]

    def _measure(self, header: bytes, size: int) -> None:
        """
        Note whether the file lacks pages that its header counts: it was cut off, or a checkpoint is under way.

        A checkpoint writes the header first and the end last, and one that was killed leaves it at that; what is not
        yet in the file is in the log. Only SQLite can tell the two apart: see `ledger.checkup.damage`.
        """
        page, pages = (int.from_bytes(header[field]) for field in (_PAGE_SIZE, _PAGES))
        whole = pages * (_LARGEST_PAGE if page == 1 else page)
        counted = header[_CHANGES] == header[_PAGES_VALID_FOR]
        short = (size, whole) if counted and size < whole else None
        self.doubtful = short is not None and short == self._short
        self._short = short

    def _header_flaw(self, header: bytes) -> str | None:
        if not header.startswith(_MAGIC):
            return f"{self._ledger} was cut off or overwritten under the running daemon"
        self._first = self._first or header
        # That of a fresh ledger lacks the id until the log is moved into the file for the first time.
        if int.from_bytes(header[_APPLICATION]) != APPLICATION_ID and header != self._first:
            return f"{self._ledger} was overwritten with the database of another program"
        return None

    def _heads(self) -> Iterator[tuple[bytes, int]]:
        """Yield the head of the file and its length, read through descriptors that are open anyway."""
        opened = self._marks[self._ledger]
        for entry in _DESCRIPTORS.iterdir():
            descriptor = int(entry.name)
            with suppress(OSError):  # closed meanwhile
                if _same(descriptor, opened):
                    header, size = os.pread(descriptor, _HEADER, 0), os.fstat(descriptor).st_size
                    if _same(descriptor, opened):
                        yield header, size


def _same(descriptor: int, mark: tuple[int, int] | None) -> bool:
    found = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == mark


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
