"""
One daemon per ledger: a lock on a file beside it, which the kernel lets go of when its holder dies.

An open-file-description lock, because it can be looked at without being taken: a `status` that took it for a moment
could turn a starting daemon away. (fcntl(2), "Open file description locks".) Others look at it through `ledger.held`.
Its text says whose it is, so that a daemon can be told from other processes.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.errors import AlreadyRunning, LedgerError, LedgerFull, MillraceError, SettingsError
from millrace.ledger.held import MOST, SUFFIX, holder, index_of, lock_path, lock_text, whole_file
from millrace.ledger.owner import belong

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_PROC: Final = Path("/proc")


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
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole_file(fcntl.F_WRLCK))
        _say(file, None)
    except BlockingIOError:
        os.close(file)
        raise _taken(ledger, holder(ledger)) from None
    except OSError as error:
        raise _trouble(ledger.parent, error) from error
    if (pid := _former_holder(ledger)) is not None:
        os.close(file)
        raise _taken(ledger, pid)
    return file


def note_index(lock: int, ledger: Path) -> None:
    """Let commands know which index the holder of a lock has mapped. It must have the ledger open."""
    with suppress(OSError):  # a full disk: they then do without that look
        _say(lock, index_of(ledger))


def forget_index(lock: int) -> None:
    """
    Take that back, before the ledger is closed.

    Whoever closes it last removes the index, and a command that comes before this process has ended makes another one.
    """
    with suppress(OSError):  # a disk that became read-only: there nobody removes or makes anything
        _say(lock, None)


def is_daemon(pid: int) -> bool:
    """Return whether a process is a daemon at work, of whatever ledger, as far as this user may see."""
    return any(_locks(pid))


def _say(lock: int, index: int | None) -> None:
    text = lock_text(os.getpid(), index)
    os.pwrite(lock, text, 0)  # before the rest is cut off: whoever looks meanwhile must find whose it is
    os.ftruncate(lock, len(text))


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
                if SUFFIX in name and entry.is_file() and _head(entry).startswith(lock_text(pid)):
                    yield name


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST)


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
        belong(path, path.with_name(path.name.removesuffix(SUFFIX)))
        return file
    except OSError as error:
        raise _trouble(path.parent, error) from error


def _trouble(folder: Path, error: OSError) -> MillraceError:
    """Return what to raise: a full or a broken disk is no fault of the settings, and another start may find it well."""
    msg = f"the state folder {folder} cannot be used: {error.strerror}. It is [site] state in config.toml"
    if error.errno in _FULL:
        return LedgerFull(msg)
    return LedgerError(msg) if error.errno == errno.EIO else SettingsError(msg)
