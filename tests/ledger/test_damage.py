"""Every look at a ledger that is damaged says so in one way: the daemon stops by it, and a command names the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from millrace.errors import LedgerError
from millrace.ledger import orphans, place, snapshot, usage
from millrace.ledger.reads import Reads
from millrace.ledger.recount import Recount
from millrace.ledger.states import Status
from tests.ledger.rig import LIMIT_S, START_MS, Book
from tests.ledger.runs_rig import LINE, Works

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOKS: dict[str, Callable[[Reads], Any]] = {
    "running": lambda reads: list(orphans.running(reads)),
    "waiting": lambda reads: list(orphans.waiting(reads)),
    "of_runs": lambda reads: list(orphans.of_runs(reads)),
    "standing": lambda reads: place.standing(reads, "q"),
    "run_ender": lambda reads: place.run_ender(reads, "r"),
    "recount": lambda reads: list(Recount(reads, START_MS).pieces()),
    "table_bytes": usage.table_bytes,
    "client_bytes": lambda reads: usage.client_bytes(reads, {}),
    "balance": lambda reads: reads.balance(count_rows=True),
    "data_version": lambda reads: reads.status_counts(),
}


@pytest.fixture
def damaged(book: Book, tmp_path: Path) -> Path:
    """A copy of a ledger with work in it, all of whose pages but the first were overwritten."""
    works = Works(book)
    works.start(LINE)
    works.fan_out(20)
    book.accept()
    copy = tmp_path / "damaged.db"
    snapshot.snapshot(book.path, copy)
    pages = bytearray(copy.read_bytes())
    pages[4096:] = b"\xa5" * (len(pages) - 4096)
    copy.write_bytes(pages)
    return copy


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_at_a_damaged_ledger_is_an_error_of_the_ledger(damaged: Path, look: str) -> None:
    """Not one of the driver: nobody above the ledger knows those, and would take it for a mistake of the program."""
    reads = Reads(damaged)
    try:
        with pytest.raises(LedgerError):
            LOOKS[look](reads)
    finally:
        reads.close()


def test_a_damaged_copy_is_not_taken_for_a_backup(damaged: Path) -> None:
    """Its flaws are told, or that it cannot be read; never that it is well."""
    with pytest.raises(LedgerError):
        snapshot.examine(damaged)


def test_the_room_is_told_by_table_and_by_client(book: Book) -> None:
    """Each byte of the file is some table's, and the clients share those of the jobs by their rows."""
    assert usage.client_bytes(book.ledger.reads, usage.table_bytes(book.ledger.reads)) == {}
    for client, count in (("acme", 3), ("default", 1)):
        for _ in range(count):
            book.accept(client=client)
    tables = usage.table_bytes(book.ledger.reads)
    clients = usage.client_bytes(book.ledger.reads, tables)

    assert {"job", "event", "tally"} <= tables.keys()
    assert clients["acme"] == pytest.approx(3 * clients["default"], abs=2)


def test_rows_that_are_pruned_while_they_are_counted_raise_no_alarm(book: Book) -> None:
    """The count and the counters are of different moments then; the next count tells."""
    job_id = book.accept()
    (held,) = book.claim()
    book.ledger.moves.succeed(held, "1", duration_s=0.0).wait(LIMIT_S)
    book.accept()
    book.clock.advance(3600)
    count = Recount(book.ledger.reads, book.clock.now_ms(), piece=1)
    assert sum(count.pieces()) == 2
    assert book.ledger.moves.prune_jobs([job_id], Status.SUCCEEDED, book.clock.now_ms()).wait(LIMIT_S) == 1

    assert not count.suspicious()
    assert book.balanced()
