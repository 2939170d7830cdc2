"""Where a job stands in its line, and the look for orphans: each along an index, whatever the backlog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.ledger import orphans
from millrace.ledger.place import Place, place, standing
from tests.ledger.runs_rig import LINE, Works
from tests.ledger.test_plans import plans

if TYPE_CHECKING:
    from tests.ledger.rig import Book


def test_those_before_a_job_are_counted_within_its_lane(book: Book) -> None:
    """Other clients have lanes of their own: their jobs are not before it, but beside it."""
    book.accept(priority=1)
    book.accept(client="acme")
    book.accept()
    job_id = book.accept()
    book.accept()

    assert place(book.ledger.reads, book.row(job_id)) == Place(higher=1, earlier=1)
    line = standing(book.ledger.reads, "q")
    assert (line.queued, line.running, line.waiting, line.paused_at) == (5, 0, 0, None)
    assert [lane.client for lane in line.lanes] == ["acme", "default"]


def test_the_looks_at_a_line_walk_no_table(book: Book) -> None:
    """A backlog of a million must cost an answer nothing."""
    job = book.row(book.accept())
    book.claim()
    book.accept()

    found = plans(book, lambda: (place(book.ledger.reads, job), standing(book.ledger.reads, "q")))

    assert sum("job_queued" in plan for plan in found) == 2
    assert not any("SCAN job" in plan and "INDEX" not in plan for plan in found)


def test_the_look_for_orphans_walks_no_table(book: Book) -> None:
    """Each piece is a few hundred rows along an index, so that no read is long."""
    works = Works(book)
    works.start(LINE)
    works.fan_out(3)
    reads = book.ledger.reads

    def look() -> None:
        for generator in (orphans.running, orphans.waiting, orphans.of_missing_runs, orphans.of_runs):
            for piece in generator(reads):
                assert len(piece) <= orphans.PIECE

    found = plans(book, look)

    assert len(found) > 5
    assert not any("SCAN job" in plan and "INDEX" not in plan for plan in found), found
    assert not any("TEMP B-TREE" in plan for plan in found), found
