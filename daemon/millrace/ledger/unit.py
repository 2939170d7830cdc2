"""
Units of work: what callers hand to the writer, and how one runs inside a batch, under a savepoint of its own, so that
a unit that fails does not fail its neighbours. Units of one kind may run together, in few statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apsw

from millrace.ledger.database import is_fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from millrace.ledger.ticket import Ticket
    from millrace.ledger.transaction import Mark, Transaction

MOST_TOGETHER: Final = 256  # about 5 ms of the write lock


class Together(NamedTuple):
    """
    How a unit joins others of its kind.

    Args:
        run: Does many at once, and returns their results in order; raises if one of them cannot be done.
        item: What this unit adds to the many.
    """

    run: Callable[[Transaction, Sequence[Any]], list[Any]]
    item: Any


class Work(NamedTuple):
    """A unit that was handed in: what to do, whether it reads the counts, how it joins others, and whom to tell."""

    unit: Callable[[Transaction], Any]
    ticket: Ticket[Any]
    reads_counts: bool = False
    together: Together | None = None


Outcome = tuple[Any, Exception | None]


def alike(batch: Sequence[Work], place: int) -> int:
    """Return how many units from `place` on can run together, at least 1."""
    first = batch[place].together
    end = place + 1
    if first is not None:
        most = min(len(batch), place + MOST_TOGETHER)
        while end < most and (other := batch[end].together) is not None and other.run is first.run:
            end += 1
    return end - place


def run_alone(tx: Transaction, work: Work) -> Outcome:
    """Run a unit that has the transaction for itself, which is undone if it fails: it needs no savepoint."""
    try:
        return work.unit(tx), None
    except Exception as error:  # noqa: BLE001 - belongs to the unit's caller
        return None, error


def run(tx: Transaction, works: Sequence[Work]) -> list[Outcome]:
    """
    Run units that are alike: together, or one by one if one of them stands in the way of the others.

    Returns: What each came to, in order; fewer than there are units if the whole batch failed on the way.
    """
    kind = works[0].together
    if kind is not None and len(works) > 1:
        items = [work.together.item for work in works if work.together is not None]
        results, error = _saved(tx, lambda tx: kind.run(tx, items))
        if error is None:
            return [(result, None) for result in results]
        if failure(tx, error) is not None:
            return [(None, error)] * len(works)
    outcomes: list[Outcome] = []
    for work in works:
        outcomes.append(_run_one(tx, work))
        if failure(tx, outcomes[-1][1]) is not None:
            break
    return outcomes


def failure(tx: Transaction, error: Exception | None) -> Exception | None:
    """Return why the whole batch has failed, after a unit that ended with `error`; None if it has not."""
    if error is not None and (tx.connection.get_autocommit() or is_fatal(error)):
        # After some errors (a full disk, out of memory) SQLite has rolled back the whole transaction itself.
        return error
    return tx.broken


def _run_one(tx: Transaction, work: Work) -> Outcome:
    try:
        if work.reads_counts:
            tx.flush()
    except Exception as error:  # noqa: BLE001 - belongs to the unit's caller; `tx.broken` tells the writer
        return None, error
    return _saved(tx, work.unit)


def _saved(tx: Transaction, unit: Callable[[Transaction], Any]) -> Outcome:
    connection, mark = tx.connection, tx.mark()
    try:
        connection.execute("SAVEPOINT unit")
        result = unit(tx)
        connection.execute("RELEASE unit")
    except Exception as error:  # noqa: BLE001 - belongs to the unit's caller
        if not connection.get_autocommit():
            _undo(tx, mark)
        return None, error
    return result, None


def _undo(tx: Transaction, mark: Mark) -> None:
    """Undo a unit; if that fails, the batch must not be committed."""
    try:
        tx.connection.execute("ROLLBACK TO unit")
        tx.connection.execute("RELEASE unit")
    except apsw.Error as error:
        tx.broken = error
    tx.forget(mark)
