"""The connections through which all looks at a ledger go: read-only, one per thread, with short transactions."""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import apsw

from millrace.errors import LedgerDamaged, LedgerError, LedgerNewer, NotFound, ValueDamaged
from millrace.ledger.blobs import Blobs
from millrace.ledger.database import VERSION, newer, open_reader, translate
from millrace.ledger.parse import outline, prefix_range, shown
from millrace.ledger.seals import unsealed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self

_PREFIX_LOOK: Final = 3  # a unique one, and the first candidates of one that is not


class Reader:
    """Reads one ledger. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.blobs = Blobs(path)
        self._local = threading.local()
        # Weak: the connection of a thread that ended closes with it.
        self._open: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        self.damage: str | None = None  # what a look has met: no more is to be written to such a file

    @classmethod
    def open(cls, path: Path) -> Self:
        """
        Open a ledger for reading.

        Raises: NotFound if there is none yet, LedgerForeign if the file is something else.
        """
        reads = cls(path)
        reads.rows("SELECT 1 FROM meta")
        return reads

    def close(self) -> None:
        """Close the connections of all threads."""
        self._closed = True
        with self._lock:
            for connection in list(self._open):
                try:
                    connection.close()
                except apsw.ThreadingViolationError:  # its thread looks at this moment; it closes when that thread ends
                    connection.interrupt()

    def connection(self) -> apsw.Connection:
        """Return this thread's connection."""
        if self._closed:
            raise LedgerError("the ledger is closed")
        found: apsw.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            try:
                found = self._local.connection = open_reader(self._path)
            except (LedgerDamaged, LedgerNewer) as error:
                self.damage = self.damage or str(error)
                raise
            with self._lock:
                self._open.add(found)
        return found

    def blame(self, error: apsw.Error) -> LedgerError:
        """Return our own error for one of the driver; a file that is damaged is noted for whoever must stop."""
        found = translate(error)
        if isinstance(found, LedgerDamaged) and self.damage is None:
            self.damage = str(found)
        return found

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """
        Return what a SELECT of this room finds.

        Raises: LedgerError; LedgerDamaged where the file is; ValueDamaged where one text in it is.
        """
        try:
            return self.connection().execute(sql, values).fetchall()
        except apsw.Error as error:
            raise self.blame(error) from error
        except UnicodeDecodeError as error:
            raise _no_text("the ledger") from error

    def of_prefix(self, look: str, text: str, what: str) -> tuple[Any, ...]:
        """
        Return the row of an id or of a unique prefix of one.

        Args:
            look: A SELECT whose first column is the id, without conditions.
            what: A job or a run, for messages.
        Raises: NotFound, which names the candidates if the prefix is not unique.
        """
        low, high = prefix_range(text, f"a {what}")
        found = self.rows(f"{look} WHERE id >= ? AND id < ? ORDER BY id LIMIT {_PREFIX_LOOK}", (low, high))
        if not found:
            msg = f'no {what} "{text}"'
            raise NotFound(msg)
        if len(found) > 1 and found[0][0] != low:
            candidates = ", ".join(row[0] for row in found)
            msg = f'"{text}" could be any of {candidates} …: give more of the id'
            raise NotFound(msg)
        row: tuple[Any, ...] = found[0]
        return row

    @contextmanager
    def _one_moment(self, what: str = "the ledger") -> Iterator[apsw.Connection]:
        """Let all looks of a `with` see the ledger as it stands at one moment. Raises as `rows` does, naming `what`."""
        connection = self.connection()
        try:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise self.blame(error) from error
        except UnicodeDecodeError as error:
            raise _no_text(what) from error

    def whole(self, text: str) -> str:
        """
        Return the value that a text of the ledger stands for; see `blobs.Blobs.whole`.

        Raises: ValueDamaged.
        """
        return self.blobs.whole(text)

    def data_version(self) -> int:
        """Return a number that changes when another connection has committed."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def check_version(self) -> None:
        """Note it as damage if a newer Millrace has brought the ledger up to its own version meanwhile."""
        version = int(self.rows("PRAGMA user_version")[0][0])
        if version > VERSION:
            self.damage = self.damage or newer(version)

    def _shown(self, text: str) -> str:
        """Return a value for people to see; of one that is lost, that it is."""
        return shown(self.whole, text)

    def _checked(self, text: str) -> str:
        """Return it from its text with its checksum; of one that is damaged, that it is."""
        return shown(lambda both: self.whole(unsealed(both, "what is on disk")), text)

    def _outline(self, text: str) -> str:
        """Return a value as a list has it."""
        return outline(self.whole, text)


def _no_text(what: str) -> ValueDamaged:
    return ValueDamaged(f"a text in {what} is damaged on disk: bytes that no program wrote")
