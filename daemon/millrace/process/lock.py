"""
One daemon per ledger: a lock on a file beside it, which the kernel lets go of when its holder dies.

An open-file-description lock, because it can be looked at without being taken: a `status` that took it for a moment
could turn a starting daemon away. (fcntl(2), "Open file description locks".) It lies beside the database itself, as its
log does, whatever links to it. Its text says whose it is, so that a daemon can be told from other processes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.errors import AlreadyRunning, LedgerError, LedgerFull, MillraceError, SettingsError
from millrace.ledger.owner import belong

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FLOCK: Final = "hhqqi"  # struct flock: type, whence, start, length, pid
_PROC: Final = Path("/proc")
_SUFFIX: Final = ".lock"
_MOST: Final = 64  # bytes of the text


def take_lock(ledger: Path) -> int:
    """
    Take the lock of a ledger; return its descriptor.

    There is no way to give it back but the end of the process: a thread that would not stop runs its job until then,
    and a daemon that started meanwhile would run that job beside it.

    Raises: AlreadyRunning with the pid of the daemon that has it, or had it until somebody removed the file;
        SettingsError if the state folder cannot be used, LedgerFull or LedgerError if its disk is full or fails.
    """
    file = _opened(lock_path(ledger))
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except BlockingIOError:
        os.close(file)
        raise _taken(ledger, holder(ledger)) from None
    if (pid := _former_holder(ledger)) is not None:
        os.close(file)
        raise _taken(ledger, pid)
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, _text(os.getpid()), 0)
    except OSError as error:
        raise _trouble(ledger.parent, error) from error
    return file


def holder(ledger: Path) -> int | None:
    """Return the pid of the daemon that holds the ledger's lock, None if none does; 0 if it has not yet said."""
    try:
        file = os.open(lock_path(ledger), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        wanted = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        found = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, wanted))
        if found[0] == fcntl.F_UNLCK:
            return None
        pid = os.read(file, _MOST).partition(b" ")[0]
        return int(pid) if pid.isdigit() else 0
    finally:
        os.close(file)


def is_daemon(pid: int) -> bool:
    """Return whether a process is a daemon at work, of whatever ledger, as far as this user may see."""
    return any(_locks(pid))


def lock_path(ledger: Path) -> Path:
    """Return where the lock of a ledger is."""
    return Path(os.path.realpath(ledger) + _SUFFIX)


def _former_holder(ledger: Path) -> int | None:
    """Return the pid of a daemon that has had the lock since before its file was removed: it is still at work."""
    removed = f"{lock_path(ledger)} (deleted)"
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    return next((pid for pid in pids if pid != os.getpid() and removed in _locks(pid)), None)


def _locks(pid: int) -> Iterator[str]:
    """Yield the lock files that a process has open as their holder."""
    with suppress(OSError):  # it has gone, or is another user's
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                name = str(entry.readlink())
                if _SUFFIX in name and entry.is_file() and _head(entry) == _text(pid):
                    yield name


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST)


def _text(pid: int) -> bytes:
    return f"{pid} millrace\n".encode()


def _taken(ledger: Path, pid: int | None) -> AlreadyRunning:
    who = f"pid {pid}" if pid else "another process"
    return AlreadyRunning(
        f"a daemon already serves {ledger} ({who}): stop that one first, or give this one a state folder of its own"
    )


def _opened(path: Path) -> int:
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            belong(path.parent, path.parent.parent)
        # Close-on-exec is Python's default: a child that inherited the lock would keep it after our death.
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        belong(path, path.with_name(path.name.removesuffix(_SUFFIX)))
        return file
    except OSError as error:
        raise _trouble(path.parent, error) from error


def _trouble(folder: Path, error: OSError) -> MillraceError:
    """Return what to raise: a full or a broken disk is no fault of the settings, and another start may find it well."""
    msg = f"the state folder {folder} cannot be used: {error.strerror}. It is [site] state in config.toml"
    if error.errno in _FULL:
        return LedgerFull(msg)
    return LedgerError(msg) if error.errno == errno.EIO else SettingsError(msg)
