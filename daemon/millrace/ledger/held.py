"""
Who serves a ledger, as others see it: a daemon holds a lock on a file beside it, which can be looked at without being
taken (`process.lock` takes it). Beside its pid it may have noted there which index it has mapped.

The index is SQLite's `-shm`, where the locks of the log live. With the file removed, the daemon and whoever comes next
would each have an index of their own, would not keep out of each other's way, and would overwrite each other's commits.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from millrace.errors import LedgerBusy

SUFFIX: Final = ".lock"
MOST: Final = 64  # bytes of the text
_FLOCK: Final = "hhqqi"  # struct flock: type, whence, start, length, pid


class Holder(NamedTuple):
    """
    The process that holds the lock of a ledger.

    Args:
        pid: 0 if it has not yet said.
        inode: That of the index that it has mapped; None if it has not said.
    """

    pid: int
    inode: int | None


def lock_path(ledger: Path) -> Path:
    """Return where the lock of a ledger is: beside the database itself, as its log is, whatever links to it."""
    return Path(os.path.realpath(ledger) + SUFFIX)


def lock_text(pid: int, index: int | None = None) -> bytes:
    """Return what the holder of a lock writes into it."""
    return f"{pid} millrace\n{'' if index is None else index}".encode()


def whole_file(kind: int) -> bytes:
    """Return what fcntl is told for a lock of a kind on all of a file."""
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)


def look(ledger: Path) -> Holder | None:
    """
    Return who holds the lock of a ledger; None if nobody does.

    Raises: PermissionError if this user may not look.
    """
    try:
        file = os.open(lock_path(ledger), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        found = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, whole_file(fcntl.F_RDLCK)))
        if found[0] == fcntl.F_UNLCK:
            return None
        who, _, index = os.read(file, MOST).partition(b"\n")
        pid = who.partition(b" ")[0]
        return Holder(int(pid) if pid.isdigit() else 0, int(index) if index.isdigit() else None)
    finally:
        os.close(file)


def holder(ledger: Path) -> int | None:
    """Return the pid of the daemon that holds the ledger's lock, None if none does; 0 if it has not yet said."""
    found = look(ledger)
    return None if found is None else found.pid


def index_of(ledger: Path) -> int | None:
    """Return the inode of the index beside a ledger; None if there is none."""
    try:
        return Path(f"{os.path.realpath(ledger)}-shm").stat().st_ino
    except FileNotFoundError:
        return None


def refuse_if_split(ledger: Path) -> None:
    """
    Refuse to write beside a daemon that has another index than the one that is there.

    Raises: LedgerBusy; for a moment also when a daemon begins or ends, so that one look does not prove it.
    """
    try:
        other = _other(ledger)
    except PermissionError:  # who may not look at the lock is not kept from a ledger that he may write
        return
    if other is not None and other.inode not in (None, index_of(ledger)):
        raise LedgerBusy(
            f"{ledger.name}-shm was removed or replaced under the running daemon (pid {other.pid}): nothing is written "
            "beside that one any more. It stops because of that; start it again"
        )


def refuse_if_served(ledger: Path, why: str) -> None:
    """
    Refuse what must not be done while another process serves a ledger, or is about to.

    Raises: LedgerBusy; PermissionError if this user may not look.
    """
    other = _other(ledger)
    if other is not None:
        raise LedgerBusy(f"{why}, and a daemon serves it (pid {other.pid}): stop that one, or start it anew")


def _other(ledger: Path) -> Holder | None:
    found = look(ledger)
    return None if found is None or found.pid == os.getpid() else found
