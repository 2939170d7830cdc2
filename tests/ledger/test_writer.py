"""Group commit: what one unit does to its neighbours, what a broken transaction does, and what a lock or disk does."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from millrace.clock import SYSTEM
from millrace.errors import LedgerBusy, LedgerError, LedgerFull
from millrace.events import DaemonFailed, Event, LedgerLocked, PartRestarted
from millrace.ledger.database import cut_log, grow_log
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.ledger.unit import Work
from millrace.ledger.writer import OFTEN, Writer
from tests.ledger.rig import LIMIT_S, Book, OwnClock, hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from millrace.ledger.ticket import Ticket
    from millrace.ledger.transaction import Changes, Transaction
    from tests.conftest import Until

NOTE = "INSERT INTO note (text) VALUES (?)"


class Breakable(apsw.Connection):
    """A connection whose disk can be taken away."""

    broken = False

    def execute(self, statements: str, *rest: Any, **more: Any) -> apsw.Cursor:
        if self.broken and statements.startswith("BEGIN"):
            raise apsw.IOError("the disk is gone")
        return super().execute(statements, *rest, **more)


class Rig:
    """A writer over a table of notes, at a standstill until `go`, so that the units handed in make one batch."""

    def __init__(self, path: Path, *, patience_ms: int = 50, log_pages: int = 1000) -> None:
        self.path = path
        self._log_pages = log_pages
        self._patience_ms = patience_ms
        self.clock = OwnClock()
        self.events: list[Event] = []
        self.changes: list[set[str]] = []
        self.connection: Breakable | None = None
        self.writer = Writer(self._connect, self.clock, self.events.append, self._changed)
        self.writer.start()
        self._leave = threading.Event()
        self._hold()

    def _connect(self) -> apsw.Connection:
        self.connection = Breakable(str(self.path))
        self.connection.set_busy_timeout(self._patience_ms)
        self.connection.pragma("journal_mode", "wal")
        self.connection.pragma("wal_autocheckpoint", self._log_pages)
        self.connection.execute("CREATE TABLE note (text TEXT UNIQUE)")
        return self.connection

    def _changed(self, changes: Changes) -> None:
        self.changes.append(changes.queued)

    def _hold(self) -> None:
        entered = threading.Event()

        def stand(_tx: Transaction) -> None:
            entered.set()
            assert self._leave.wait(LIMIT_S)

        self.writer.submit(stand)
        assert entered.wait(LIMIT_S)

    def go(self) -> None:
        self._leave.set()

    def note(self, text: str) -> Ticket[int]:
        return self.writer.submit(lambda tx: tx.run(NOTE, (text,)))

    def notes(self) -> list[str]:
        reader = apsw.Connection(str(self.path))
        try:
            return [str(row[0]) for row in reader.execute("SELECT text FROM note ORDER BY rowid").fetchall()]
        finally:
            reader.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A writer that stands still until `go`."""
    rig = Rig(tmp_path / "notes.db")
    yield rig
    rig.go()
    rig.writer.close()


def fail(_fact: object) -> None:
    """Do what an onlooker must not."""
    raise RuntimeError("onlooker")


def raises(error: Exception) -> Callable[[Transaction], None]:
    """Return a unit that writes and then raises."""

    def unit(tx: Transaction) -> None:
        tx.run(NOTE, ("undone",))
        raise error

    return unit


def test_a_unit_that_fails_is_undone_alone(rig: Rig) -> None:
    """One bad submission must not fail those that happened to come with it."""
    before, bad, after = rig.note("a"), rig.writer.submit(raises(ValueError("mine"))), rig.note("b")
    rig.go()
    assert before.wait(LIMIT_S) == after.wait(LIMIT_S) == 1
    with pytest.raises(ValueError, match="mine"):
        bad.wait(LIMIT_S)
    assert rig.notes() == ["a", "b"]


def test_an_error_of_the_driver_is_told_as_ours(rig: Rig) -> None:
    """No caller needs to know the driver; the neighbours do not notice."""
    good, bad = rig.note("a"), rig.note("a")
    rig.go()
    with pytest.raises(LedgerError, match="UNIQUE"):
        bad.wait(LIMIT_S)
    assert good.wait(LIMIT_S) == 1
    assert rig.notes() == ["a"]


def test_a_unit_that_breaks_the_transaction_fails_its_whole_batch(rig: Rig) -> None:
    """After some errors SQLite has rolled back everything: to confirm the neighbours would be a lie."""

    def breaks(tx: Transaction) -> None:
        tx.run("INSERT OR ROLLBACK INTO note (text) VALUES ('a')")

    before, bad, after = rig.note("a"), rig.writer.submit(breaks), rig.note("b")
    rig.go()
    for ticket in (before, bad):
        with pytest.raises(LedgerError, match="UNIQUE"):
            ticket.wait(LIMIT_S)
    assert after.wait(LIMIT_S) == 1, "what came after it goes into the next transaction"
    assert rig.notes() == ["b"]
    assert rig.writer.alive


def test_counts_that_cannot_be_written_fail_the_whole_batch(rig: Rig) -> None:
    """A commit with jobs and without their counts would break the conservation proof for ever."""
    first = rig.note("a")
    counted = rig.writer.submit(lambda tx: tx.count(("q", "c", "t"), "accepted"))
    claim = rig.writer.submit(lambda _tx: None, reads_counts=True)  # there is no such table in this file
    rig.go()
    for ticket in (first, counted, claim):
        with pytest.raises(LedgerError):
            ticket.wait(LIMIT_S)
    assert rig.notes() == []
    assert rig.note("later").wait(LIMIT_S) == 1


def test_counts_that_cannot_be_written_at_the_commit_fail_it(rig: Rig) -> None:
    """The same, met at the end of the batch."""
    counted = rig.writer.submit(lambda tx: tx.count(("q", "c", "t"), "accepted"))
    rig.go()
    with pytest.raises(LedgerError):
        counted.wait(LIMIT_S)


def test_a_savepoint_that_cannot_be_undone_fails_the_whole_batch(rig: Rig) -> None:
    """What a unit wrote before it failed must not be committed with its neighbours."""

    def releases(tx: Transaction) -> None:
        tx.run(NOTE, ("half",))
        tx.run("RELEASE unit")
        raise ValueError("half done")

    before, bad = rig.note("a"), rig.writer.submit(releases)
    rig.go()
    with pytest.raises(ValueError, match="half done"):
        bad.wait(LIMIT_S)
    with pytest.raises(LedgerError, match="savepoint"):
        before.wait(LIMIT_S)
    assert rig.notes() == []


def test_a_batch_is_cut_when_it_has_held_the_lock_for_long(rig: Rig) -> None:
    """Others want the lock too; what is left goes into the next transaction, in order."""
    seen: list[Transaction] = []

    def slow(tx: Transaction) -> None:
        seen.append(tx)
        rig.clock.advance(0.03)

    tickets = [rig.writer.submit(slow) for _ in range(6)]
    rig.go()
    for ticket in tickets:
        ticket.wait(LIMIT_S)
    batches = [len([tx for tx in seen if tx is one]) for one in dict.fromkeys(seen)]
    assert batches == [2, 2, 2]


def test_units_run_in_the_order_of_their_coming(rig: Rig) -> None:
    """A finish must not overtake the claim it belongs to."""
    tickets = [rig.note(str(number)) for number in range(200)]
    rig.go()
    for ticket in tickets:
        ticket.wait(LIMIT_S)
    assert rig.notes() == [str(number) for number in range(200)]


def test_a_close_commits_what_was_handed_in_and_refuses_what_comes_later(rig: Rig) -> None:
    """A daemon that stops must not drop a result on its last metres, nor leave anybody waiting."""
    tickets = [rig.note(str(number)) for number in range(20)]
    closing = threading.Thread(target=rig.writer.close)
    closing.start()
    rig.go()
    closing.join(LIMIT_S)
    assert [ticket.wait(LIMIT_S) for ticket in tickets] == [1] * 20
    with pytest.raises(LedgerError, match="closed"):
        rig.note("late").wait(LIMIT_S)
    assert len(rig.notes()) == 20
    assert not rig.writer.alive
    rig.writer.close()  # a second time does nothing


def test_every_ticket_is_settled_when_submits_race_with_the_close(tmp_path: Path) -> None:
    """A unit that slips in behind the end marker must be committed or refused, never forgotten."""
    for turn in range(20):
        rig = Rig(tmp_path / f"{turn}.db")
        tickets: list[Ticket[int]] = []
        ready = threading.Barrier(4)

        def flood(name: str, ready: threading.Barrier = ready, rig: Rig = rig, into: list[Any] = tickets) -> None:
            ready.wait(LIMIT_S)
            into.extend(rig.note(f"{name}{number}") for number in range(50))

        threads = [threading.Thread(target=flood, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        rig.go()
        ready.wait(LIMIT_S)
        rig.writer.close()
        for thread in threads:
            thread.join(LIMIT_S)
        kept = 0
        for ticket in tickets:
            try:
                kept += ticket.wait(LIMIT_S)
            except LedgerError as error:
                assert "closed" in str(error)  # noqa: PT017 - either verdict is right, but no third
        assert len(tickets) == 150
        assert kept == len(rig.notes())


def test_a_listener_that_fails_is_told_and_harms_nobody(tmp_path: Path) -> None:
    """The commit is on disk: those who wait for it must hear of it, whatever an onlooker does."""
    events: list[Event] = []
    with Ledger(tmp_path / "l.db", emit=events.append) as ledger:
        ledger.on_change.append(fail)
        assert ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
        assert ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
        assert ledger.writer.alive
    assert [type(event) for event in events] == [PartRestarted, PartRestarted]


def test_a_callback_that_fails_is_told_and_harms_nobody(rig: Rig) -> None:
    """The same for who asked to be called back."""
    first, second = rig.note("a"), rig.note("b")
    first.then(fail)
    rig.go()
    assert first.wait(LIMIT_S) == second.wait(LIMIT_S) == 1
    assert rig.note("c").wait(LIMIT_S) == 1
    assert [type(event) for event in rig.events] == [PartRestarted]


def test_on_commit_is_told_once_per_batch_and_not_of_what_failed(rig: Rig) -> None:
    """A wake-up is for what is on disk."""

    def queued(name: str) -> Callable[[Transaction], None]:
        return lambda tx: tx.changes.queued.add(name)

    tickets = [rig.writer.submit(queued("q")), rig.writer.submit(queued("r"))]
    rig.go()
    for ticket in tickets:
        ticket.wait(LIMIT_S)
    rig.note("nothing to tell").wait(LIMIT_S)

    def broken(tx: Transaction) -> None:
        tx.changes.queued.add("never")
        tx.run("ROLLBACK")

    with pytest.raises(LedgerError):
        rig.writer.submit(broken).wait(LIMIT_S)
    assert rig.changes == [{"q", "r"}]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (apsw.IOError("disk"), "IOError"),
        (apsw.CorruptError("page"), "damaged"),
        (apsw.NotADBError("header"), "not a database"),
        (apsw.ReadOnlyError("mount"), "read-only"),
    ],
)
def test_after_a_broken_disk_nothing_is_believed_any_more(rig: Rig, error: apsw.Error, told: str) -> None:
    """The daemon exits rather than guess: all that wait are told, and the writer says why it failed."""
    before, bad, after = rig.note("a"), rig.writer.submit(raises(error)), rig.note("b")
    rig.go()
    for ticket in (before, bad, after):
        with pytest.raises(LedgerError, match=told):
            ticket.wait(LIMIT_S)
    rig.writer.close()
    assert not rig.writer.alive
    assert isinstance(rig.writer.failed, LedgerError)
    assert [type(event) for event in rig.events] == [DaemonFailed]
    with pytest.raises(LedgerError, match=told):
        rig.note("late").wait(LIMIT_S)
    assert rig.notes() == []


def test_a_transaction_that_can_be_neither_finished_nor_undone_is_fatal(rig: Rig) -> None:
    """Nothing can be done with such a connection; those who wait are told, and the daemon exits."""

    def meddle(tx: Transaction) -> None:
        tx.connection.set_authorizer(
            lambda action, *_: apsw.SQLITE_DENY if action == apsw.SQLITE_TRANSACTION else apsw.SQLITE_OK
        )

    ticket = rig.writer.submit(meddle)
    rig.go()
    with pytest.raises(LedgerError, match="roll back"):
        ticket.wait(LIMIT_S)
    rig.writer.close()
    assert rig.writer.failed is not None
    assert [type(event) for event in rig.events] == [DaemonFailed]


def test_a_begin_that_is_refused_is_told_to_those_who_wait(rig: Rig) -> None:
    """Whatever BEGIN answers besides a lock, each unit hears of it, and the next ones find the writer at work."""
    denied = threading.Event()
    denied.set()

    def authorizer(action: int, what: str | None, *_rest: object) -> int:
        begins = action == apsw.SQLITE_TRANSACTION and what == "BEGIN"
        return apsw.SQLITE_DENY if begins and denied.is_set() else apsw.SQLITE_OK

    meddled = rig.writer.submit(lambda tx: tx.connection.set_authorizer(authorizer))
    rig.go()
    meddled.wait(LIMIT_S)
    first = rig.note("a")
    with pytest.raises(LedgerError, match="not authorized"):
        first.wait(LIMIT_S)
    denied.clear()
    assert rig.note("b").wait(LIMIT_S) == 1
    assert rig.notes() == ["b"]


def test_a_disk_that_is_gone_at_the_begin_is_fatal(rig: Rig) -> None:
    """No transaction was open, and yet the connection is not to be trusted."""
    assert rig.connection is not None
    first = rig.note("a")
    rig.go()
    assert first.wait(LIMIT_S) == 1
    rig.connection.broken = True
    with pytest.raises(LedgerError, match="the disk is gone"):
        rig.note("b").wait(LIMIT_S)
    rig.writer.close()
    assert not rig.writer.alive
    assert [type(event) for event in rig.events] == [DaemonFailed]


class Late(deque[Work]):
    """An inbox in which a unit arrives after the writer has ended: the race between a look and a put, staged."""

    rig: Rig

    def append(self, work: Work) -> None:
        self.rig.writer.close()
        super().append(work)


def test_a_unit_that_arrives_after_the_end_is_refused(rig: Rig) -> None:
    """Nobody else would ever settle its ticket."""
    rig.go()
    rig.writer._inbox = late = Late()
    late.rig = rig
    with pytest.raises(LedgerError, match="closed"):
        rig.note("late").wait(LIMIT_S)


def at_rest(rig: Rig) -> None:
    """Let the writer come to rest."""
    rig.go()
    rig.note("first").wait(LIMIT_S)
    with rig.writer._turn:  # the thread has let go of it
        pass


def who(rig: Rig, *, waits: bool = False) -> Ticket[str]:
    """Return in which thread a unit that writes a note is run."""

    def unit(tx: Transaction) -> str:
        tx.run(NOTE, ("mine",))
        return threading.current_thread().name

    return rig.writer.submit(unit, waits=waits)


def test_who_waits_for_a_unit_commits_it_while_the_writer_is_at_rest(rig: Rig) -> None:
    """Two changes of threads cost a caller as much as all the rest but the disk."""
    at_rest(rig)
    ticket = who(rig, waits=True)
    assert ticket.done
    assert ticket.wait() == threading.current_thread().name
    assert rig.notes() == ["first", "mine"]


def test_who_does_not_say_that_he_waits_is_not_held_up(rig: Rig) -> None:
    """An event loop has no time for a disk."""
    at_rest(rig)
    assert who(rig).wait(LIMIT_S) == "ledger-writer"


def test_who_waits_joins_the_batch_when_the_writer_is_at_work(rig: Rig) -> None:
    """Also what the caller itself handed in before comes before it."""
    before = rig.note("before")
    mine = who(rig, waits=True)
    assert not mine.done
    rig.go()
    assert mine.wait(LIMIT_S) == "ledger-writer"
    assert before.wait(LIMIT_S) == 1
    assert rig.notes() == ["before", "mine"]


def test_a_lone_unit_that_fails_leaves_nothing_behind(rig: Rig) -> None:
    """It has no savepoint of its own: the transaction is the savepoint."""
    at_rest(rig)
    with pytest.raises(ValueError, match="mine"):
        rig.writer.submit(raises(ValueError("mine")), waits=True).wait(LIMIT_S)
    assert who(rig, waits=True).done
    assert rig.notes() == ["first", "mine"]
    assert rig.writer.alive


def test_an_interrupt_in_the_middle_of_a_unit_undoes_it(rig: Rig) -> None:
    """Ctrl-C in a command: its clean-up still writes, and must not find half a transaction."""
    at_rest(rig)

    def interrupted(tx: Transaction) -> None:
        tx.run(NOTE, ("half",))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rig.writer.submit(interrupted, waits=True)
    assert rig.note("after").wait(LIMIT_S) == 1
    assert rig.notes() == ["first", "after"]


def test_a_disk_that_is_gone_under_a_caller_ends_the_writer_too(rig: Rig) -> None:
    """The connection is the same, whoever has it: nothing more may be written through it."""
    at_rest(rig)

    def broken(_tx: Transaction) -> None:
        raise apsw.IOError("the disk is gone")

    with pytest.raises(LedgerError, match="the disk is gone"):
        rig.writer.submit(broken, waits=True).wait(LIMIT_S)
    rig.writer._thread.join(LIMIT_S)
    assert not rig.writer.alive
    assert [type(event) for event in rig.events] == [DaemonFailed]
    with pytest.raises(LedgerError, match="the disk is gone"):
        who(rig, waits=True).wait(LIMIT_S)


def test_who_waits_leaves_a_lock_of_another_process_to_the_writer(tmp_path: Path) -> None:
    """The caller has a limit for waiting, and the writer has none: not even SQLite's own patience is the caller's."""
    rig = Rig(tmp_path / "notes.db", patience_ms=60_000)
    rig.go()
    at_rest(rig)
    other = apsw.Connection(str(rig.path))
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor() as threads:
        handed_in = threads.submit(who, rig, waits=True)
        try:
            ticket = handed_in.result(LIMIT_S)
        except TimeoutError:
            other.execute("ROLLBACK")
            raise
    assert not ticket.done
    with pytest.raises(LedgerBusy):
        ticket.wait(0.05)
    other.execute("ROLLBACK")
    other.close()
    assert ticket.wait(LIMIT_S) == "ledger-writer"
    assert rig.connection is not None
    assert rig.connection.execute("PRAGMA busy_timeout").fetchall() == [(60_000,)]
    rig.writer.close()


def test_many_who_wait_lose_nothing_and_share_commits(rig: Rig) -> None:
    """Whoever comes while another has the turn is taken along by the thread."""
    at_rest(rig)

    def many(name: int) -> list[str]:
        return [who_wrote(rig, f"{name}:{number}") for number in range(50)]

    with ThreadPoolExecutor(8) as pool:
        threads = {thread for found in pool.map(many, range(8), timeout=LIMIT_S) for thread in found}
    assert len(rig.notes()) == 1 + 8 * 50
    assert "ledger-writer" in threads


def who_wrote(rig: Rig, text: str) -> str:
    """Write a note and wait for it; return which thread committed it."""

    def unit(tx: Transaction) -> str:
        tx.run(NOTE, (text,))
        return threading.current_thread().name

    return rig.writer.submit(unit, waits=True).wait(LIMIT_S)


def test_a_ledger_that_is_written_often_gets_its_whole_log_at_once(book: Book) -> None:
    """Each commit that makes the log longer takes half as long again; the rows are as they were."""
    log = book.path.with_name(book.path.name + "-wal")
    for _ in range(OFTEN // 2):
        book.accept()
    short = log.stat().st_size
    for _ in range(OFTEN):
        book.accept()
    grown = log.stat().st_size
    assert short < 1_000_000
    assert 8_000_000 < grown < 12_000_000
    assert book.balanced()
    assert book.ledger.reads.status_counts()["queued"] == OFTEN + OFTEN // 2
    assert book.ledger.writer.submit(lambda tx: tx.rows("PRAGMA integrity_check")).wait(LIMIT_S) == [("ok",)]
    assert book.path.stat().st_size < 1_000_000
    for _ in range(OFTEN):
        book.accept()
    assert log.stat().st_size == grown


def test_a_log_is_not_grown_where_there_is_no_room(tmp_path: Path) -> None:
    """A page limit stands in for a disk that fills: the work goes on as if nothing had been tried."""
    connection = apsw.Connection(str(tmp_path / "a.db"))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE a (x); INSERT INTO a VALUES (1)")
    connection.pragma("max_page_count", 100)
    grow_log(connection)
    assert connection.get_autocommit()
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
    connection.execute("INSERT INTO a VALUES (2)")
    connection.close()


def test_what_a_failed_transaction_left_in_the_log_is_cut_off(tmp_path: Path) -> None:
    """It may be all the room of the disk; what was committed before and after it stays, and whoever reads goes on."""
    path = tmp_path / "a.db"
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.wal_autocheckpoint(0)
    connection.execute("CREATE TABLE a (x); INSERT INTO a VALUES (1)")
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN; SELECT * FROM a")
    log = Path(connection.filename_wal)
    used = log.stat().st_size
    connection.pragma("cache_size", 5)
    connection.execute("BEGIN; INSERT INTO a VALUES (zeroblob(1000000)); ROLLBACK")
    assert log.stat().st_size > used + 900_000, "nothing was left: the test proves nothing"
    cut_log(connection)
    assert log.stat().st_size == used
    cut_log(connection)
    connection.execute("INSERT INTO a VALUES (2)")
    assert reader.execute("SELECT x FROM a").fetchall() == [(1,)]
    reader.close()
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,), (2,)]
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


def test_the_log_of_a_small_disk_stays_short_beside_readers_who_take_turns(tmp_path: Path) -> None:
    """There is no moment in which nobody reads: by itself SQLite would let the log grow until the disk is full."""
    rig = Rig(tmp_path / "notes.db", log_pages=10)
    rig.go()
    log = Path(f"{rig.path}-wal")
    readers = [apsw.Connection(str(rig.path), flags=apsw.SQLITE_OPEN_READONLY) for _ in range(2)]
    readers[0].execute("BEGIN; SELECT count(*) FROM note")
    longest = 0
    done = threading.Event()

    def read() -> None:
        ours, theirs = readers
        while not done.is_set():
            theirs.execute("BEGIN; SELECT count(*) FROM note")
            ours.execute("COMMIT")
            ours, theirs = theirs, ours
        ours.execute("COMMIT")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(OFTEN - 5):  # then the log would get its whole length, which a small disk has no room for
            rig.note(f"{number}{'x' * 60_000}").wait(LIMIT_S)
            longest = max(longest, log.stat().st_size)
    finally:
        done.set()
        thread.join(LIMIT_S)
    for reader in readers:
        reader.close()
    assert longest < 500_000, "of six million bytes"
    rig.writer.close()


def test_a_full_disk_refuses_what_does_not_fit_and_recovers(book: Book) -> None:
    """Nothing of the batch is kept, the counters agree with the rows, and no restart is needed."""
    book.accept()
    limit = book.ledger.writer.submit(lambda tx: tx.connection.pragma("max_page_count", 1)).wait(LIMIT_S)
    standing = hold(book.ledger)
    small = book.ledger.moves.accept([NewJob("small", "q")])
    huge = book.ledger.moves.accept([NewJob("huge", "q", '"' + "x" * 250_000 + '"')])
    standing.go()
    with pytest.raises(LedgerFull, match="disk is full"):
        huge.wait(LIMIT_S)
    refused = 0
    try:
        small.wait(LIMIT_S)
    except LedgerFull:
        refused = 1  # SQLite may have undone the whole transaction: then nothing of it may be claimed to be kept
    assert book.ledger.writer.alive
    book.ledger.writer.submit(lambda tx: tx.connection.pragma("max_page_count", 2**30)).wait(LIMIT_S)
    book.accept("after")
    assert book.ledger.reads.status_counts()["queued"] == 3 - refused
    assert book.balanced()
    assert limit < 2**30


def test_a_lock_of_another_process_is_waited_for_and_told(tmp_path: Path, until: Until) -> None:
    """Nothing is lost: the work that was handed in is committed once the lock is gone."""
    rig = Rig(tmp_path / "locked.db")
    rig.note("warm")
    rig.go()
    until(lambda: rig.notes() == ["warm"])
    script = (
        "import sys, sqlite3; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('locked', flush=True); sys.stdin.readline(); c.execute('ROLLBACK')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(rig.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        ticket = rig.note("waits")
        until(lambda: any(isinstance(event, LedgerLocked) for event in rig.events))
        assert rig.writer.locked
        assert rig.writer.alive
        with pytest.raises(LedgerBusy, match="within 0 s"):
            ticket.wait(0)
        other.communicate("go\n", timeout=LIMIT_S)
    assert ticket.wait(LIMIT_S) == 1
    assert not rig.writer.locked
    rig.writer.close()
    assert rig.notes() == ["warm", "waits"]


def test_another_process_gets_the_lock_in_the_middle_of_a_flood(book: Book) -> None:
    """A busy daemon must not shut the command line out: the lock is free between two batches."""
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            book.ledger.moves.accept([NewJob("add", "q")] * 20).wait(LIMIT_S)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with Ledger(book.path) as other:
            other.moves.accept([NewJob("from outside", "q")]).wait(LIMIT_S)
    finally:
        stop.set()
        for thread in threads:
            thread.join(LIMIT_S)
    assert book.balanced()


def test_opening_raises_what_went_wrong_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    """`start` hands on what the connection raised."""

    def connect() -> apsw.Connection:
        raise LedgerError("no way in")

    writer = Writer(connect, SYSTEM, lambda _event: None, lambda _changes: None)
    with pytest.raises(LedgerError, match="no way in"):
        writer.start()
    writer.close()
    assert not writer.alive
    with pytest.raises(LedgerError, match="closed"):
        writer.submit(lambda _tx: None).wait(LIMIT_S)
