"""The ledger of a site: one SQLite file, its one writer, its readers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Self

import apsw
import peewee
from playhouse.apsw_ext import APSWDatabase

from millrace.clock import MS, SYSTEM, Clock
from millrace.errors import LedgerBusy, LedgerError, SettingsError
from millrace.events import Emit, ignore
from millrace.ledger.blobs import Blobs
from millrace.ledger.database import BUSY_MS, check_sqlite, disk_bytes, keep_plans, log_pragmas, pragmas, translate
from millrace.ledger.held import refuse_if_split
from millrace.ledger.made import note_made, refuse_if_gone, refuse_if_hollow
from millrace.ledger.migrations import identify, migrate
from millrace.ledger.moves import Moves
from millrace.ledger.owner import belong
from millrace.ledger.reads import Reads
from millrace.ledger.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from millrace.ledger.transaction import Changes


_AGAIN_S: Final = 0.01
INCREMENTAL: Final = 2  # what PRAGMA auto_vacuum answers


class Ledger:
    """
    An open ledger. `moves` changes it, `reads` looks at it, `on_change` is called after a commit that concerns others.

    Args:
        path: The database file; made with its folder if it is not there.
        synchronous: full, normal or extra; see `database.pragmas`.
        emit: Where events go.
    Raises: LedgerForeign if the file is not a ledger of this version; LedgerGone if there was one here and now is none;
        LedgerError if it cannot be opened.
    """

    def __init__(self, path: Path, *, clock: Clock = SYSTEM, synchronous: str = "full", emit: Emit = ignore) -> None:
        check_sqlite()
        self.path = path
        self.blobs = Blobs(path, clock)
        self.on_change: list[Callable[[Changes], None]] = []
        self._pragmas = pragmas(synchronous)
        self._database = APSWDatabase(str(path), timeout=BUSY_MS / 1000, thread_safe=False)
        self._clock = clock
        self._emit = emit
        self.writer = Writer(self._connect, clock, emit, self._changed)
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                belong(path.parent, path.parent.parent)
            self.writer.start()
        except OSError as error:
            msg = f"the state folder {path.parent} cannot be used: {error.strerror}. It is [site] state in config.toml"
            raise SettingsError(msg) from error
        self.moves = Moves(self.writer, blobs=self.blobs)
        self.reads = Reads(path)

    def close(self) -> None:
        """Commit what was handed in and close all connections."""
        self.reads.close()
        self.writer.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    def _connect(self) -> apsw.Connection:
        """Open the write connection and bring the schema up to date; in the writer's thread."""
        give_up_at = self._clock.monotonic() + BUSY_MS / MS
        while True:
            try:
                return self._open()
            except (apsw.Error, peewee.PeeweeException) as error:
                self._database.close()
                cause = error if isinstance(error, apsw.Error) else error.__cause__ or error.__context__
                # Of several that turn a fresh file into a WAL database at once, SQLite tells some at once that it is
                # busy: each holds a lock that the other waits for. And a restore may have put another file there.
                again = isinstance(cause, apsw.BusyError) or _has_moved(cause)
                if not again or self._clock.monotonic() >= give_up_at:
                    raise (translate(cause) if isinstance(cause, apsw.Error) else LedgerError(str(error))) from error
            except LedgerError as error:
                self._database.close()
                if not isinstance(error, LedgerBusy) or self._clock.monotonic() >= give_up_at:
                    raise
            self._clock.wait(threading.Event(), _AGAIN_S)

    def _open(self) -> apsw.Connection:
        was_made = refuse_if_gone(self.path)
        refuse_if_split(self.path)
        fresh = not self.path.exists()
        self._database.connect()
        if fresh:  # its log gets the owner that the file has, from SQLite
            belong(self.path, self.path.parent)
        # Before the pragmas: journal_mode would write into another program's file.
        if identify(self._database) == 0:
            refuse_if_hollow(self.path, was_made=was_made)
        refuse_if_split(self.path)  # again: now that it is open, the index stays
        incremental = self._database.execute_sql("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL
        for name, value in (*self._pragmas, *log_pragmas(disk_bytes(self.path))):
            if name == "auto_vacuum" and incremental:
                continue  # saying it again would be a write: a commit for nothing, and a wait for the write lock
            self._database.execute_sql(f"PRAGMA {name} = {value}")
        migrate(self._database, now_ms=self._clock.now_ms())
        note_made(self.path)
        connection: apsw.Connection = self._database.connection()
        keep_plans(connection)
        return connection

    def _changed(self, changes: Changes) -> None:
        if changes.gone:
            self.blobs.remove(changes.gone)
        for event in changes.ended:
            self._emit(event)
        for listener in self.on_change:
            listener(changes)


def _has_moved(error: BaseException | None) -> bool:
    code = getattr(error, "extendedresult", None)  # of all that apsw raises; its stubs do not know it
    return code == apsw.SQLITE_READONLY_DBMOVED
