"""
A copy of a ledger that is in use, as it stood at one moment, and a close look at such a copy.

The copy is made by SQLite's own backup under one read transaction: writers go on meanwhile, and none of what they
write gets into it. A plain copy of the file would miss what is still in the log, or tear a page.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw

from millrace.errors import LedgerBusy, LedgerError, NotFound
from millrace.ledger import blob_rows
from millrace.ledger.audit import Verified
from millrace.ledger.blobs import Blobs
from millrace.ledger.database import BUSY_MS, open_reader, translate
from millrace.ledger.ledger import Ledger
from millrace.ledger.reads import Reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from millrace.clock import Clock
    from millrace.ledger.blobs import Reference

STEP_PAGES: Final = 2_000  # 8 MB, between two looks whether to stop
MOST_FLAWS: Final = 20


class Examined(NamedTuple):
    """
    What a copy holds, and whether it is whole.

    Args:
        ledger: The id that the ledger got when it was made.
        version: Of its schema.
        accepted: Jobs that it ever took.
        counts: Its jobs by status, from the counters.
        difference: Jobs that are not accounted for.
        audit_rows: Rows of the audit log whose chain holds.
        audit_head: What the ledger says of the newest of them; None if it never had one.
        audit_flaw: Why the chain does not hold; None if it does. The jobs are none the worse for it.
        flaws: What is wrong with the file; empty if it is whole.
    """

    ledger: str
    version: int
    accepted: int
    counts: dict[str, int]
    difference: int
    audit_rows: int
    audit_head: str | None
    audit_flaw: str | None
    flaws: tuple[str, ...]


def snapshot(source: Path, target: Path, *, stop: Callable[[], bool] = lambda: False) -> None:
    """
    Copy a ledger, which may be in use, into a new file of its own, without a log beside it.

    Args:
        target: Must not be there yet. It is left behind when something goes wrong, and is not synced to the disk.
        stop: Asked every few megabytes; True ends the copy.
    Raises: NotFound, LedgerForeign; LedgerFull; LedgerError, also after a stop.
    """
    try:
        with closing(open_reader(source)) as reader, closing(apsw.Connection(str(target))) as copy:
            reader.execute("BEGIN")
            reader.execute("SELECT 1 FROM meta").fetchall()  # the moment that is copied; else each step has its own
            # The file counts for nothing until it is renamed: nothing is gained by syncing it on the way.
            copy.execute("PRAGMA synchronous = off")
            with copy.backup("main", reader, "main") as backup:
                while not backup.done:
                    if stop():
                        raise LedgerError("the copy of the ledger was stopped")
                    backup.step(STEP_PAGES)
            copy.execute("PRAGMA journal_mode = delete")  # one file: it is packed, and its log would stay behind
    except apsw.Error as error:
        raise translate(error) from error


def size_of(source: Path) -> int:
    """
    Return how many bytes a copy of a ledger would have.

    Raises: NotFound, LedgerForeign, LedgerError.
    """
    try:
        with closing(open_reader(source)) as reader:
            sizes = [int(reader.pragma(name)) for name in ("page_count", "page_size")]
    except apsw.Error as error:
        raise translate(error) from error
    return sizes[0] * sizes[1]


def files_of(copy: Path) -> list[Reference]:
    """
    Return the files that a copy refers to.

    Raises: LedgerError if it cannot be read.
    """
    with closing(Reads(copy)) as reads:
        return [one.reference for one in blob_rows.of_ledger(reads)]


def lost_files(copy: Path, blobs: Blobs | None = None) -> list[str]:
    """
    Return why large values of a copy cannot be had from their files, and whose they are. Reads them all.

    Args:
        blobs: Where the files are; beside the copy when None. They are named from the folder above theirs.
    Raises: LedgerError if the copy cannot be read.
    """
    blobs = blobs or Blobs(copy)
    with closing(Reads(copy)) as reads:
        return [text.replace(f"{blobs.folder.parent}/", "") for text in blob_rows.damaged(reads, blobs)]


def identity(ledger: Path) -> str | None:
    """Return the id of a ledger; None if it cannot be read."""
    try:
        with closing(Reads.open(ledger)) as reads:
            return reads.ledger_id()
    except (NotFound, LedgerError):
        return None


def forget_children(copy: Path, clock: Clock) -> None:
    """
    Bring a copy up to this version, without the children that its ledger had.

    A daemon ends the children on record before anything else, and those of a copy may be at work for the ledger that
    was copied.

    Raises: LedgerError.
    """
    with Ledger(copy, clock=clock) as opened:
        for child in opened.reads.children():
            opened.moves.child_gone(child.pid, child.start_ticks).wait()
    fold(copy)


def fold(ledger: Path) -> None:
    """
    Move the log of a ledger that nobody has open into its file, so that the file is all there is of it.

    Raises: LedgerError if it is damaged, or somebody has it open.
    """
    with folded(ledger):
        pass


@contextmanager
def folded(ledger: Path) -> Iterator[bool]:
    """
    Do that and let nobody write until the end; give whether it holds anything.

    Meanwhile its name may be given to another file: who has this one open then cannot write into it afterwards either.
    Where there is no log, SQLite looks whether a file still has its name once it has the lock, unless it is empty
    (SQLITE_READONLY_DBMOVED).
    """
    try:
        with closing(apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.set_busy_timeout(BUSY_MS)
            connection.pragma("journal_mode", "delete")
            if not connection.pragma("page_count"):
                connection.pragma("user_version", 0)  # gives it its first page
            connection.execute("BEGIN IMMEDIATE")
            if connection.pragma("journal_mode") != "delete":  # by somebody who came between the two
                raise LedgerBusy("the ledger is in use by another process")
            yield bool(connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall())
    except apsw.Error as error:
        raise translate(error) from error


def examine(copy: Path) -> Examined:
    """
    Look at all of a copy: its pages, its identity, its balance and its audit log.

    Raises: LedgerForeign if it is no ledger, or one of a newer Millrace; LedgerError if it cannot be read.
    """
    reads = Reads(copy)
    try:
        connection = reads.connection()
        version = int(connection.pragma("user_version"))
        found = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({MOST_FLAWS})")]
        if found != ["ok"]:
            return Examined("", version, 0, {}, 0, 0, None, None, tuple(found))
        return _contents(reads, connection, version)
    except apsw.Error as error:
        raise translate(error) from error
    finally:
        reads.close()


def _contents(reads: Reads, connection: apsw.Connection, version: int) -> Examined:
    balance = reads.balance(count_rows=True)
    head, chain = None, Verified(0)
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'audit'").fetchall():  # version 1 had none
        head, chain = reads.audit_head(), reads.audit_chain()
    return Examined(
        reads.ledger_id(),
        version,
        balance.accepted,
        reads.status_counts(),
        balance.difference,
        chain.rows,
        head,
        chain.flaw,
        (),
    )
