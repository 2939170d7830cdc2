"""
What a batch knows of the runs that its jobs belong to: read once per batch, changed as the units change it, written
once per stage. So "is anything open?" is exact at every moment of a transaction, and costs no statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.ledger.net import net_of
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from millrace.ledger.net import Net, Node

_COLUMNS: Final = (*(status.value for status in Status), "skipped")
_PLACE: Final = {name: place for place, name in enumerate(_COLUMNS)}
_OPEN: Final = tuple(_PLACE[status] for status in (Status.WAITING, Status.QUEUED, Status.RUNNING))

_RUN: Final = """  -- a run, for what its jobs make possible
SELECT pipeline, plan, client, status, priority, correlation_id, edition, created_at, cancel_by,
  resume_at FROM run WHERE id = ?"""
_COUNTS: Final = f"""  -- the counters of a run's stages
SELECT stage, edition, {", ".join(_COLUMNS)} FROM run_count WHERE run_id = ?"""  # noqa: S608 - our own columns
_SKIPPED: Final = """  -- whether a stage was passed by for the run as a whole
SELECT 1 FROM skip WHERE run_id = ? AND stage = ? AND record = ?"""
_PLAN: Final = """  -- the graph that a run follows
SELECT text FROM plan WHERE id = ?"""
_ADD: Final = f"""  -- add the batch's changes to the counters of a stage
UPDATE run_count SET {", ".join(f"{name} = {name} + ?" for name in _COLUMNS)}
 WHERE run_id = ? AND stage = ?"""  # noqa: S608 - our own columns


class Book:
    """
    A run as this transaction sees it. Whoever changes the run's row changes this too.

    Args:
        row: The run's row, in the order of the statement above.
        editions: The edition in which each stage is, by its name.
    """

    __slots__ = (
        "cancelled", "client", "correlation_id", "counts", "created_at", "edition", "editions", "fanouts", "net",
        "pipeline", "priority", "resuming", "run_id", "skipped", "status",
    )  # fmt: skip

    def __init__(self, run_id: str, row: tuple[Any, ...], net: Net, editions: dict[str, int]) -> None:
        self.run_id = run_id
        self.net = net
        (self.pipeline, _, self.client, self.status, self.priority, self.correlation_id, self.edition,
         self.created_at, cancel_by, resume_at) = row  # fmt: skip
        self.cancelled = cancel_by is not None
        self.resuming = resume_at is not None  # more of its jobs are to be put back
        self.editions = editions
        self.counts: dict[str, list[int]] = {}
        self.skipped: set[str] = set()  # for the run as a whole, in their edition
        self.fanouts: dict[str, int] = {}  # the ids of their rows, once looked up

    def count(self, stage: str, column: str) -> int:
        """Return a counter: a status, or `skipped`."""
        return self.counts[stage][_PLACE[column]]

    def open(self, stages: Iterable[str] | None = None) -> int:
        """Return how many jobs of these stages, or of all, are waiting, queued or running."""
        names = self.counts if stages is None else stages
        return sum(self.counts[name][place] for name in names for place in _OPEN)

    def place(self, node: Node) -> str | None:
        """Return under which `record` the run's own job of a stage stands in its present edition."""
        edition = self.editions[node.name]
        return f"@{edition}" if node.edited and edition > 1 else None


class RunCounts:
    """The runs of one transaction."""

    __slots__ = ("_books", "_changes", "_connection")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._changes: list[tuple[str, str, int, int]] = []  # run, stage, place, number
        self._books: dict[str, Book | None] = {}

    def add(self, run_id: str, stage: str, column: str, number: int = 1) -> None:
        """Add to a counter of a stage."""
        self._note((run_id, stage, _PLACE[column], number))

    def moved(self, run_id: str | None, stage: str | None, source: str, to: str, number: int = 1) -> None:
        """Count jobs that went from one status to another; those that belong to no run are nobody's here."""
        if run_id is not None and stage is not None:
            self._note((run_id, stage, _PLACE[source], -number))
            self._note((run_id, stage, _PLACE[to], number))

    def _note(self, change: tuple[str, str, int, int]) -> None:
        self._changes.append(change)
        book = self._books.get(change[0])
        if book is not None:
            _apply(book, change)

    def book(self, run_id: str) -> Book | None:
        """Return a run as it stands in this transaction; None if there is none of this id."""
        if run_id not in self._books:
            self._books[run_id] = self._read(run_id)
        return self._books[run_id]

    def _read(self, run_id: str) -> Book | None:
        found = self._rows(_RUN, (run_id,))
        if not found:
            return None
        counts = self._rows(_COUNTS, (run_id,))
        net = net_of(found[0][1], lambda: self._rows(_PLAN, (found[0][1],))[0][0])
        book = Book(run_id, found[0], net, {row[0]: row[1] for row in counts})
        book.counts = {row[0]: list(row[2:]) for row in counts}
        for change in self._changes:
            if change[0] == run_id:
                _apply(book, change)
        for stage, edition in book.editions.items():
            if book.count(stage, "skipped") and self._rows(_SKIPPED, (run_id, stage, -edition)):
                book.skipped.add(stage)
        return book

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        return self._connection.execute(sql, values).fetchall()

    def mark(self) -> int:
        """Return the point to which `forget` can go back."""
        return len(self._changes)

    def forget(self, mark: int) -> None:
        """Forget what a unit that was undone has changed. What it wrote in rows is read again when it is needed."""
        del self._changes[mark:]
        self._books.clear()

    def flush(self) -> None:
        """Write the counters."""
        if not self._changes:
            return
        sums: dict[tuple[str, str], list[int]] = {}
        for run_id, stage, place, number in self._changes:
            sums.setdefault((run_id, stage), [0] * len(_COLUMNS))[place] += number
        self._connection.executemany(_ADD, [(*change, *key) for key, change in sums.items() if any(change)])
        self._changes.clear()


def _apply(book: Book, change: tuple[str, str, int, int]) -> None:
    counts = book.counts.get(change[1])
    if counts is not None:
        counts[change[2]] += change[3]
