"""
One daemon per ledger: a lock on a file beside it, which the kernel lets go of when its holder dies.

An open-file-description lock, because it can be looked at without being taken: a `status` that took it for a moment
could turn a starting daemon away. (fcntl(2), "Open file description locks".)
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING, Final

from millrace.errors import AlreadyRunning, LedgerError, LedgerFull, MillraceError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FLOCK: Final = "hhqqi"  # struct flock: type, whence, start, length, pid


def take_lock(ledger: Path) -> int:
    """
    Take the lock of a ledger; return its descriptor.

    There is no way to give it back but the end of the process: a thread that would not stop runs its job until then,
    and a daemon that started meanwhile would run that job beside it.

    Raises: AlreadyRunning with the pid of the daemon that has it; SettingsError if the state folder cannot be used,
        LedgerFull or LedgerError if its disk is full or fails.
    """
    file = _opened(_path(ledger))
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except BlockingIOError:
        os.close(file)
        pid = holder(ledger)
        who = f"pid {pid}" if pid else "another process"
        raise AlreadyRunning(
            f"a daemon already serves {ledger} ({who}): stop that one first, or give this one a state folder of its own"
        ) from None
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise _trouble(ledger.parent, error) from error
    return file


def holder(ledger: Path) -> int | None:
    """Return the pid of the daemon that holds the ledger's lock, None if none does; 0 if it has not yet said."""
    try:
        file = os.open(_path(ledger), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        wanted = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        found = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, wanted))
        if found[0] == fcntl.F_UNLCK:
            return None
        text = os.read(file, 32).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Close-on-exec is Python's default: a child that inherited the lock would keep it after our death.
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _trouble(path.parent, error) from error


def _trouble(folder: Path, error: OSError) -> MillraceError:
    """Return what to raise: a full or a broken disk is no fault of the settings, and another start may find it well."""
    msg = f"the state folder {folder} cannot be used: {error.strerror}. It is [site] state in config.toml"
    if error.errno in _FULL:
        return LedgerFull(msg)
    return LedgerError(msg) if error.errno == errno.EIO else SettingsError(msg)


def _path(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".lock")
