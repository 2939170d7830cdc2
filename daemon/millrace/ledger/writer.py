"""
Group commit: one thread commits what all threads hand it, in one transaction.

Whatever arrived while the last commit was on its way to the disk goes into the next one, so that a batch never waits
for company, and a busy daemon pays for one fdatasync instead of hundreds.

There is one write connection, and who holds the turn has it: the writer's thread, or, while that is at rest, a caller
who would only wait for it. Two changes of threads cost as much as the rest of a commit without its fdatasync.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar

import apsw

from millrace.errors import LedgerError
from millrace.events import DaemonFailed, Emit, LedgerLocked, PartRestarted
from millrace.ledger.database import LOG_PAGES, cut_log, grow_log, is_fatal, log_size, translate
from millrace.ledger.ticket import Ticket
from millrace.ledger.transaction import Changes, Transaction
from millrace.ledger.unit import Outcome, Together, Work, alike, run, run_alone
from millrace.ledger.unit import failure as batch_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock

T = TypeVar("T")
# A batch holds the write lock no longer than this: other processes (the command line) want it too.
LONGEST_BATCH_S: Final = 0.05
# How long closing waits for a write lock that another process keeps.
CLOSE_S: Final = 10.0
# After so many commits there will be more, and the log gets its full length.
OFTEN: Final = 50
# The log's bound once the disk was full; until then it is the one of the pragmas.
CRAMPED_PAGES: Final = 100
# How long the log of a small disk gets, in bounds of its own, before readers are waited for so that it can begin anew;
# and for how long: they are short, and who reads for minutes must not stop the work.
LONG: Final = 2
READERS_MS: Final = 500


class Writer:
    """What writes. `on_commit` is told, by whoever has the turn, what a commit changed for others."""

    def __init__(
        self, connect: Callable[[], apsw.Connection], clock: Clock, emit: Emit, on_commit: Callable[[Changes], None]
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._emit = emit
        self._on_commit = on_commit
        self._inbox: deque[Work] = deque()
        # Wakes the thread: one for each unit in the inbox, and one for the end.
        self._news: SimpleQueue[None] = SimpleQueue()
        self._turn = threading.Lock()
        self._connection: apsw.Connection
        self._patience_ms = 0  # how long the connection waits for another process's lock before it says so
        self._commits = 0
        self._closed = False
        self._ended = False
        self.failed: Exception | None = None
        self._cramped = False  # the disk was full, or the log is long for it, and has not been moved into the database
        self._longest = sys.maxsize  # bytes of the log; unbounded but on a small disk
        self.full = False  # the disk was, for what was to be written last
        self.locked = False  # another process has the write lock, for longer than a moment
        self._ready: Ticket[None] = Ticket()
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)

    def start(self) -> None:
        """Start the thread and wait for its connection; raises what opening raised."""
        self._thread.start()
        self._ready.wait()

    def submit(
        self,
        unit: Callable[[Transaction], T],
        *,
        reads_counts: bool = False,
        together: Together | None = None,
        waits: bool = False,
    ) -> Ticket[T]:
        """
        Hand a unit to the writer.

        Args:
            unit: Called once by whoever has the turn, inside a savepoint; what it raises undoes it alone.
            reads_counts: Whether it looks at lanes or tallies, so that the batch's counts are written before.
            together: How it may be done along with others of its kind that come with it.
            waits: Whether the caller is going to wait for it: then it is committed in the caller's own thread, if the
                writer is at rest. Not for callers that come from `on_commit` or a ticket.
        Returns: The promise of its commit.
        """
        ticket: Ticket[T] = Ticket()
        if self._closed:
            ticket.settle(None, self._refusal())
            return ticket
        work = Work(unit, ticket, reads_counts, together)
        if waits and self._commit_here(work):
            return ticket
        self._inbox.append(work)
        self._news.put(None)
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
        self._news.put(None)

    def close(self) -> None:
        """Commit what was handed in, close the connection and end the thread."""
        self._closed = True
        if self._thread.is_alive():
            self._news.put(None)
            self._thread.join(CLOSE_S)

    def _work(self) -> None:
        try:
            self._connection = self._connect()
            self._patience_ms = self._connection.execute("PRAGMA busy_timeout").get
        except Exception as error:  # noqa: BLE001 - handed to whoever called start()
            self._ready.settle(None, error)
            return
        pages = self._connection.pragma("wal_autocheckpoint")
        if pages < LOG_PAGES:
            self._longest = LONG * pages * self._connection.pragma("page_size")
        self._ready.settle(None, None)
        while not (self._closed and not self._inbox):
            self._await_news()
            with self._turn:
                self._commit_inbox()
        with self._turn:
            self._ended = True
            self._refuse_rest()
            self._connection.close()

    def _await_news(self) -> None:
        self._news.get()
        for _ in range(self._news.qsize()):  # what they tell of is in the inbox by now, and is taken from there at once
            self._news.get_nowait()

    def _commit_inbox(self) -> None:
        # Only what is here now: taking what arrives meanwhile would let a busy moment starve its first caller.
        batch = [self._inbox.popleft() for _ in range(len(self._inbox))]
        place = 0
        try:
            while place < len(batch):
                place = self._commit(batch, place)
        except Exception as error:  # noqa: BLE001 - told to everybody who waits, and the daemon exits
            self._fail(error, batch)

    def _commit_here(self, work: Work) -> bool:
        """Commit a unit in the caller's thread, if the writer is at rest; return whether that could be done."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            # What the caller handed in before stands in the inbox, or is committed: the order stays.
            if self._inbox or self._closed or self._cramped or not self._begin_here():
                return False
            self._transact([work], 0)
        except Exception as error:  # noqa: BLE001 - see `_commit_inbox`
            self._fail(error, [work])
        except BaseException:  # Ctrl-C in a command: whoever comes next must not find half a transaction
            _rolled_back(self._connection)
            raise
        finally:
            self._turn.release()
        return True

    def _begin_here(self) -> bool:
        self._connection.set_busy_timeout(0)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error:  # the thread has the patience for another process's lock, and tells of anything else
            return False
        finally:
            self._connection.set_busy_timeout(self._patience_ms)
        return True

    def _commit(self, batch: list[Work], place: int) -> int:
        """Run units from `place` on in one transaction; return the place of the first that was left for the next."""
        failure = self.failed or self._begin(self._connection)
        if failure is not None:
            return self._refuse(batch[place:], failure)
        return self._transact(batch, place)

    def _transact(self, batch: list[Work], place: int) -> int:
        """Do that in the transaction that has begun."""
        tx = Transaction(self._connection, self._clock.now_ms())
        outcomes, failure = self._outcomes(tx, batch, place)
        failure = self._finish(tx, failure)
        for work, (result, error) in zip(batch[place:], outcomes, strict=False):
            if isinstance(error or failure, apsw.FullError):
                self._cramped = self.full = True
            self._tell(work.ticket.settle, result, _ours(error or failure))
        if failure is None:
            self._committed(tx.changes)
        elif is_fatal(failure):
            raise failure
        return place + len(outcomes)

    def _outcomes(self, tx: Transaction, batch: list[Work], place: int) -> tuple[list[Outcome], Exception | None]:
        """Run units for about as long as a batch may take; return what they came to, and why the whole batch failed."""
        if len(batch) == 1:
            outcome = run_alone(tx, batch[0])
            return [outcome], outcome[1]
        outcomes: list[Outcome] = []
        failure: Exception | None = None
        began = self._clock.monotonic()
        while failure is None and place < len(batch):
            found = run(tx, batch[place : place + alike(batch, place)])
            outcomes += found
            place += len(found)
            failure = batch_failure(tx, outcomes[-1][1])
            if self._clock.monotonic() - began > LONGEST_BATCH_S:
                break
        return outcomes, failure

    def _committed(self, changes: Changes) -> None:
        self.full = False
        if self._longest < sys.maxsize:
            self._cramped |= log_size(self._connection) > self._longest
        if changes:
            self._tell(self._on_commit, changes)
        self._commits += 1
        if self._commits == OFTEN:
            grow_log(self._connection)

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
        return _rolled_back(connection) or failure

    def _make_room(self, connection: apsw.Connection) -> None:
        """
        The disk was full, or is small and the log long: before anything else, move the log into the database, and keep
        it short from now on. It holds a page many times over, would take whatever room somebody makes, and leave none
        for being moved. By itself it begins anew only in a moment in which nobody reads.
        """
        connection.wal_autocheckpoint(min(CRAMPED_PAGES, connection.pragma("wal_autocheckpoint")))
        connection.set_busy_timeout(READERS_MS)
        # Still full, or somebody reads for long: the next batch tries again.
        with contextlib.suppress(apsw.Error, OSError):
            cut_log(connection)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._cramped = False
        connection.set_busy_timeout(self._patience_ms)

    def _fail(self, cause: Exception, batch: list[Work]) -> None:
        self.failed, self._closed = _ours(cause), True
        self._news.put(None)
        self._emit(DaemonFailed("ledger", str(self.failed)))
        for work in batch:
            if not work.ticket.done:
                self._tell(work.ticket.settle, None, self._refusal())

    def _refusal(self) -> Exception:
        return self.failed or LedgerError("the ledger is closed")

    def _refuse_rest(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._tell(self._inbox.popleft().ticket.settle, None, self._refusal())


class _Unusable(apsw.IOError):
    """A transaction that can neither be finished nor undone: as bad as a broken disk."""


def _rolled_back(connection: apsw.Connection) -> Exception | None:
    """Undo a transaction that still stands; return why that could not be done."""
    if not connection.get_autocommit():
        try:
            connection.execute("ROLLBACK")
        except apsw.Error as error:
            return _Unusable(f"could not roll back: {error}")
    return None


def _ours(error: Exception | None) -> Exception | None:
    return translate(error) if isinstance(error, apsw.Error) else error
