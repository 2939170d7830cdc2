"""How the database file is opened: one place for its identity, its pragmas and the translation of its errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import apsw

from millrace.errors import LedgerBusy, LedgerDamaged, LedgerError, LedgerForeign, LedgerFull, LedgerNewer, NotFound
from millrace.ledger.made import refuse_if_gone, refuse_if_hollow

APPLICATION_ID: Final = 0x4D494C4C  # "MILL"
VERSION: Final = 3  # of the schema; what leads to it stands in `migrations`
# Older versions have a rare race that corrupts a WAL database when a checkpoint meets a write (fixed in 3.51.3).
OLDEST_SQLITE: Final = (3, 51, 3)
BUSY_MS: Final = 5_000
LOG_PAGES: Final = 2_000  # of the write-ahead log, until its pages are moved into the database
_LOG_LIMIT: Final = 64_000_000  # bytes that the log is cut back to, once it was longer
_SHARE: Final = 32  # of a small disk: neither bound may be more of it than one part in so many
_PAGE: Final = 4096
_LOG_HEAD: Final = 32  # bytes of the log before its first page, and of each page before its content
_FRAME_HEAD: Final = 24
CACHE: Final = -16_000  # KiB, as the pragma has it
_MB: Final = 1_000_000
_FEW_PAGES: Final = 50
_ROOMY: Final = 1_000 * _MB  # a smaller disk has better use for the log's bytes
_FATAL: Final = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, apsw.ReadOnlyError)
_SYNCHRONOUS: Final = frozenset({"full", "normal", "extra"})


def check_sqlite() -> None:
    """Raise LedgerError if the SQLite that the driver brings is older than it must be."""
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < OLDEST_SQLITE:
        msg = f"SQLite {apsw.sqlite_lib_version()} is too old: its WAL can be corrupted. Install a newer apsw"
        raise LedgerError(msg)


def pragmas(synchronous: str) -> tuple[tuple[str, str | int], ...]:
    """
    Return the pragmas of the write connection, in order; those of its log are `log_pragmas`.

    Args:
        synchronous: full (durable at each commit), normal (durable at each checkpoint) or extra.
    """
    if synchronous not in _SYNCHRONOUS:
        msg = f"synchronous is one of {', '.join(sorted(_SYNCHRONOUS))}, not {synchronous}"
        raise ValueError(msg)
    return (
        ("auto_vacuum", "incremental"),  # works only before the first table: lets pruning give space back
        ("journal_mode", "wal"),
        ("synchronous", synchronous),
        ("cache_size", CACHE),
        ("temp_store", "memory"),
    )


def log_bytes(disk_bytes: int) -> int:
    """Return how long the write-ahead log gets on a disk of that size, before its pages are moved into the database."""
    most = LOG_PAGES * _PAGE
    return min(most, disk_bytes // _SHARE) if disk_bytes else most  # 0: a file system that does not tell


def log_pragmas(disk_bytes: int) -> tuple[tuple[str, int], ...]:
    """Return the pragmas of the log: on a small disk it must leave the room that its own pages need in the database."""
    limit = min(_LOG_LIMIT, disk_bytes // _SHARE) if disk_bytes else _LOG_LIMIT
    return ("wal_autocheckpoint", max(1, log_bytes(disk_bytes) // _PAGE)), ("journal_size_limit", limit)


def disk_bytes(path: Path) -> int:
    """Return the size of the disk that a file or folder is on; 0 if it does not tell."""
    disk = os.statvfs(path)
    return disk.f_blocks * disk.f_frsize


def open_reader(path: Path) -> apsw.Connection:
    """
    Return a read-only connection.

    Raises: NotFound if there is no ledger yet, LedgerGone if there was one; LedgerForeign if it is something else.
    """
    was_made = refuse_if_gone(path)
    if not path.exists():
        msg = f"no ledger at {path}: it is made by the first `millrace serve` or `millrace submit`"
        raise NotFound(msg)
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(BUSY_MS)
        keep_plans(connection)
        application, version = (connection.pragma(name) for name in ("application_id", "user_version"))
        if not application and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall():
            refuse_if_hollow(path, was_made=was_made)
    except apsw.Error as error:
        raise translate(error) from error
    if application != APPLICATION_ID:
        msg = f"{path} is not a ledger of Millrace"
        raise LedgerForeign(msg)
    if version > VERSION:
        raise LedgerNewer(newer(version))
    return connection


def newer(version: int) -> str:
    """Return why a ledger of a newer version is refused."""
    return (
        f"this ledger has version {version}, written by a newer Millrace; this one knows {VERSION}: "
        "install the newer version again"
    )


def keep_plans(connection: apsw.Connection) -> None:
    """
    Let a statement keep the plan it was prepared with.

    This SQLite gathers statistics on values (STAT4), and would plan a statement anew each time its values change: a
    third of the writer's time, for plans that are always the same. (SQLite: "query planner stability guarantee".)
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def grow_log(connection: apsw.Connection) -> None:
    """
    Give the write-ahead log the length that it would have after the first two thousand pages, if the disk has room.

    A commit that makes the file longer has its size written too, which takes half as long again as the commit. The
    log is SQLite's, so SQLite grows it: what does not fit its cache it writes there, and a roll-back leaves the length.
    """
    log = Path(connection.filename_wal)
    try:
        long_enough = log.stat().st_size > LOG_PAGES * connection.pragma("page_size")
        disk = os.statvfs(log.parent)
    except OSError:
        return
    if long_enough or disk.f_bavail * disk.f_frsize < _ROOMY:
        return
    try:
        connection.pragma("cache_size", _FEW_PAGES)
        connection.execute("BEGIN IMMEDIATE; CREATE TABLE grown (filling)")
        for _ in range(LOG_PAGES * connection.pragma("page_size") // _MB + 1):
            connection.execute("INSERT INTO grown VALUES (zeroblob(?))", (_MB,))
    except apsw.Error:  # a lock, a disk that filled meanwhile: commits then find out by themselves
        pass
    finally:
        if not connection.get_autocommit():
            connection.execute("ROLLBACK")
        connection.pragma("cache_size", CACHE)


def log_size(connection: apsw.Connection) -> int:
    """Return the length of the write-ahead log in bytes."""
    try:
        return Path(connection.filename_wal).stat().st_size
    except OSError:
        return 0


def cut_log(connection: apsw.Connection) -> None:
    """
    Cut off what a transaction that found no room has left in the write-ahead log, behind the last commit.

    It may be all the room that there was, and the log's pages need some of it to be moved into the database. Nobody
    reads what lies there, and under the write lock nobody writes either. Raises: apsw.Error, OSError.
    """
    before = connection.pragma("data_version")
    frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)  # not to be asked within a transaction
    connection.execute("BEGIN IMMEDIATE")
    try:
        used = _LOG_HEAD + frames * (connection.pragma("page_size") + _FRAME_HEAD)
        log = Path(connection.filename_wal)
        if frames > 0 and connection.pragma("data_version") == before and log.stat().st_size > used:
            os.truncate(log, used)
    finally:
        connection.execute("ROLLBACK")


def translate(error: apsw.Error) -> LedgerError:
    """Return our own error for one of the driver, so that no caller needs to know the driver."""
    text = f"{type(error).__name__}: {error}"
    match error:
        case apsw.FullError():
            return LedgerFull("the disk is full: nothing of this was written. Free some space; no restart is needed")
        case apsw.BusyError() | apsw.LockedError():
            return LedgerBusy(f"the ledger is locked by another process: {text}")
        case apsw.CorruptError():
            return LedgerDamaged(
                f"the ledger's file is damaged ({error}): keep a copy of it with its -wal, and put a backup back "
                "(millrace restore). millrace doctor tells where"
            )
        case apsw.ReadOnlyError():
            return LedgerError("the ledger cannot be written: its file or its file system is read-only for this user")
        case apsw.NotADBError():
            return LedgerForeign(
                "the ledger's file is not a database: if something has overwritten it, keep a copy of it, and put a "
                "backup back (millrace restore)"
            )
        case _:
            return LedgerError(f"the ledger could not be used: {text}")


def is_fatal(error: Exception) -> bool:
    """Return whether the connection cannot be trusted any more: the daemon exits rather than guess."""
    return isinstance(error, _FATAL)
