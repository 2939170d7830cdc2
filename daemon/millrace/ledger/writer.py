"""
Group commit: one thread owns the write connection and commits what all threads hand it in one transaction.

Whatever arrived while the last commit was on its way to the disk goes into the next one, so that a batch never waits
for company, and a busy daemon pays for one fdatasync instead of hundreds.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

import apsw

from millrace.errors import LedgerError
from millrace.events import DaemonFailed, Emit, LedgerLocked, PartRestarted
from millrace.ledger.database import is_fatal, translate
from millrace.ledger.ticket import Ticket
from millrace.ledger.transaction import Changes, Transaction
from millrace.ledger.unit import Together, Work, alike, run
from millrace.ledger.unit import failure as batch_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock

T = TypeVar("T")
# A batch holds the write lock no longer than this: other processes (the command line) want it too.
LONGEST_BATCH_S: Final = 0.05
# How long closing waits for a write lock that another process keeps.
CLOSE_S: Final = 10.0
# The log's bound once the disk was full; until then it is the one of the pragmas.
CRAMPED_PAGES: Final = 100


class Writer:
    """The thread that writes. `on_commit` is told, in that thread, what a commit changed for others."""

    def __init__(
        self, connect: Callable[[], apsw.Connection], clock: Clock, emit: Emit, on_commit: Callable[[Changes], None]
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._emit = emit
        self._on_commit = on_commit
        self._inbox: SimpleQueue[Work | None] = SimpleQueue()
        self._closed = False
        self._ended = False
        self.failed: Exception | None = None
        self._cramped = False  # the disk was full, and the log has not been moved into the database since
        self.locked = False  # another process has the write lock, for longer than a moment
        self._ready: Ticket[None] = Ticket()
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)

    def start(self) -> None:
        """Start the thread and wait for its connection; raises what opening raised."""
        self._thread.start()
        self._ready.wait()

    def submit(
        self, unit: Callable[[Transaction], T], *, reads_counts: bool = False, together: Together | None = None
    ) -> Ticket[T]:
        """
        Hand a unit to the writer.

        Args:
            unit: Called once in the writer's thread inside a savepoint; what it raises undoes it alone.
            reads_counts: Whether it looks at lanes or tallies, so that the batch's counts are written before.
            together: How it may be done along with others of its kind that come with it.
        Returns: The promise of its commit.
        """
        ticket: Ticket[T] = Ticket()
        if self._closed:
            ticket.settle(None, self._refusal())
            return ticket
        self._inbox.put(Work(unit, ticket, reads_counts, together))
        if self._ended:  # it ended between the look and the put: nobody else would ever settle the ticket
            self._refuse_rest()
        return ticket

    @property
    def alive(self) -> bool:
        """Whether the thread is there and the connection is trusted."""
        return self._thread.is_alive() and self.failed is None

    def condemn(self, reason: str) -> None:
        """Write nothing any more, not even what was handed in: the file is not the ledger's any longer."""
        self.failed, self._closed = LedgerError(reason), True
        self._inbox.put(None)

    def close(self) -> None:
        """Commit what was handed in, close the connection and end the thread."""
        self._closed = True
        if self._thread.is_alive():
            self._inbox.put(None)
            self._thread.join(CLOSE_S)

    def _work(self) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - handed to whoever called start()
            self._ready.settle(None, error)
            return
        self._ready.settle(None, None)
        batch: list[Work] = []
        try:
            while batch := self._next_batch():
                place = 0
                while place < len(batch):
                    place = self._commit(connection, batch, place)
        except Exception as error:  # noqa: BLE001 - told to everybody who waits, and the daemon exits
            self._fail(error, batch)
        finally:
            self._ended = True
            self._refuse_rest()
            connection.close()

    def _next_batch(self) -> list[Work]:
        """Return what is there, at least one unit; an empty list means the end."""
        batch = [self._inbox.get()]
        # Only what is here now: taking what arrives meanwhile would let a busy moment starve its first caller.
        batch += [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
        if None in batch and len(batch) > 1:
            self._inbox.put(None)  # met again, alone, once what came with it is committed
        return [work for work in batch if work is not None]

    def _commit(self, connection: apsw.Connection, batch: list[Work], place: int) -> int:
        """Run units from `place` on in one transaction; return the place of the first that was left for the next."""
        failure = self.failed or self._begin(connection)
        if failure is not None:
            return self._refuse(batch[place:], failure)
        tx = Transaction(connection, self._clock.now_ms())
        settled: list[tuple[Ticket[Any], Any, Exception | None]] = []
        began = self._clock.monotonic()
        while failure is None and place < len(batch):
            works = batch[place : place + alike(batch, place)]
            outcomes = run(tx, works)
            settled += [(work.ticket, *outcome) for work, outcome in zip(works, outcomes, strict=False)]
            place += len(outcomes)
            failure = batch_failure(tx, outcomes[-1][1])
            if self._clock.monotonic() - began > LONGEST_BATCH_S:
                break
        failure = self._finish(tx, failure)
        self._cramped |= any(isinstance(error, apsw.FullError) for error in (failure, *(end[2] for end in settled)))
        for ticket, result, error in settled:
            self._tell(ticket.settle, result, _ours(error or failure))
        if failure is None and tx.changes:
            self._tell(self._on_commit, tx.changes)
        if failure is not None and is_fatal(failure):
            raise failure
        return place

    def _refuse(self, works: list[Work], failure: Exception) -> int:
        """Fail units for which no transaction could be opened; return the place after any batch's end."""
        if is_fatal(failure):
            raise failure
        for work in works:
            self._tell(work.ticket.settle, None, _ours(failure))
        return sys.maxsize

    def _tell(self, call: Callable[..., None], *facts: object) -> None:
        """Call out of the writer: what goes wrong there must neither end it nor keep a commit from other callers."""
        try:
            call(*facts)
        except Exception as error:  # noqa: BLE001 - see above
            self._emit(PartRestarted("ledger listener", f"{type(error).__name__}: {error}"))

    def _begin(self, connection: apsw.Connection) -> Exception | None:
        """Open a transaction, however long another process keeps the lock; return why it could not be opened."""
        if self._cramped:
            self._make_room(connection)
        began = self._clock.monotonic()
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except apsw.BusyError:
                # The busy handler has waited for seconds already. Nothing is lost by waiting on: callers that cannot
                # wait so long have limits of their own.
                self.locked = True
                self._emit(LedgerLocked(round(self._clock.monotonic() - began, 1)))
            except apsw.Error as error:
                return error
            else:
                self.locked = False
                return None

    @staticmethod
    def _finish(tx: Transaction, failure: Exception | None) -> Exception | None:
        """Commit, or undo what still stands; return why the batch failed, None if it is on disk."""
        connection = tx.connection
        try:
            if failure is None:
                tx.flush()
                connection.execute("COMMIT")
        except apsw.Error as error:
            failure = error
        if not connection.get_autocommit():
            try:
                connection.execute("ROLLBACK")
            except apsw.Error as error:
                failure = _Unusable(f"could not roll back: {error}", failure or error)
        return failure

    def _make_room(self, connection: apsw.Connection) -> None:
        """
        The disk was full: before anything else, move the log into the database, and keep it short from now on. It
        holds a page many times over, would take whatever room somebody makes, and leave none for being moved.
        """
        connection.wal_autocheckpoint(CRAMPED_PAGES)
        with contextlib.suppress(apsw.Error):  # still full, or somebody reads for long: the next batch tries again
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._cramped = False

    def _fail(self, cause: Exception, batch: list[Work]) -> None:
        self.failed, self._closed = _ours(cause), True
        self._emit(DaemonFailed("ledger", str(self.failed)))
        for work in batch:
            if not work.ticket.done:
                self._tell(work.ticket.settle, None, self._refusal())

    def _refusal(self) -> Exception:
        return self.failed or LedgerError("the ledger is closed")

    def _refuse_rest(self) -> None:
        while True:
            try:
                work = self._inbox.get_nowait()
            except Empty:
                return
            if work is not None:
                self._tell(work.ticket.settle, None, self._refusal())


class _Unusable(apsw.IOError):
    """A transaction that can neither be finished nor undone: as bad as a broken disk."""


def _ours(error: Exception | None) -> Exception | None:
    return translate(error) if isinstance(error, apsw.Error) else error
