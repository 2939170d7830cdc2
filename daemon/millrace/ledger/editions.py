"""
A run that goes on after it had ended, or although a collect was made: its next edition. What was collected stays as
it was; the collect and all that hangs on it run anew once the records that were put back are settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.errors import WrongStatus
from millrace.ledger import siblings
from millrace.ledger.history import record
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from millrace.ledger.net import Node
    from millrace.ledger.run_counts import Book
    from millrace.ledger.transaction import Transaction

_REOPEN: Final = """  -- the run goes on
UPDATE run SET status = 'running', finished_at = NULL, cancel_by = NULL, cancel_at = NULL WHERE id = ?"""
_EDITION: Final = """  -- the run's next edition
UPDATE run SET edition = ? WHERE id = ?"""
_STAGE_EDITION: Final = """  -- the stages that belong to it
UPDATE run_count SET edition = ? WHERE run_id = ? AND stage = ?"""
_SUPERSEDE: Final = """  -- a job of the edition before that has not started has no use any more; served by job_run
UPDATE job SET status = 'cancelled', reason = NULL, finished_at = ?1
 WHERE run_id = ?2 AND stage = ?3 AND coalesce(record, '') = coalesce(?4, '') AND +status = ?5
RETURNING id, queue, client, task"""
_ASK: Final = """  -- a job of the edition before that runs is asked to end: two would write over each other; by job_run
UPDATE job SET cancel_by = 'ledger'
 WHERE run_id = ?1 AND stage = ?2 AND coalesce(record, '') = coalesce(?3, '') AND +status = 'running'
   AND cancel_by IS NULL
RETURNING id"""
_DROP: Final = """  -- what died in an edition before cannot be put back any more; served by job_run
UPDATE job SET status = 'cancelled', finished_at = ?1
 WHERE run_id = ?2 AND stage = ?3 AND coalesce(record, '') <> coalesce(?4, '') AND +status = 'dead'
RETURNING id, queue, client, task"""


def reopen_for(tx: Transaction, job_id: str, run_id: str, stage: str, number: str | None) -> None:
    """
    Make a run ready for one of its jobs to be put back.

    Raises: WrongStatus if the run is being cancelled, or a later edition took the job's place.
    """
    book = tx.runs.book(run_id)
    if book is None or stage not in book.net.nodes:
        return
    node = book.net.nodes[stage]
    if book.cancelled and book.status == "running":
        raise WrongStatus(f"job {job_id} belongs to run {run_id}, which is being cancelled: resume the run afterwards")
    if node.edited and number != book.place(node):
        edition = book.editions[stage]
        raise WrongStatus(f"job {job_id} was superseded: edition {edition} of its run collects anew")
    reopen(tx, book, [stage] if of_record(number) else [])


def of_record(number: str | None) -> bool:
    """Return whether a job's `record` says that it belongs to a record, rather than to the run or an edition of it."""
    return number is not None and not number.startswith("@")


def reopen(tx: Transaction, book: Book, stages: Iterable[str]) -> None:
    """
    Let a run go on, in its next edition if what was collected lacks the records that are put back.

    Args:
        stages: Those of which jobs of records are put back.
    """
    if book.status != "running":
        tx.run(_REOPEN, (book.run_id,))
        book.status, book.cancelled = "running", False
    after = {name: None for stage in stages for name in book.net.editions_after[stage]}
    if any(siblings.of_run(tx, book, book.net.nodes[name]) for name in after):
        _next_edition(tx, book, list(after))


def _next_edition(tx: Transaction, book: Book, names: list[str]) -> None:
    """Move stages to the next edition: the present one as long as nothing of it was made, so that it serves both."""
    present = [node for node in book.net.of_run if node.edited and book.editions[node.name] == book.edition]
    if any(node.name in book.skipped or siblings.of_run(tx, book, node) for node in present):
        book.edition += 1
        tx.run(_EDITION, (book.edition, book.run_id))
    for name in names:
        if book.editions[name] == book.edition:
            continue
        for status in (Status.WAITING, Status.QUEUED):
            _supersede(tx, book, name, status)
        _ask(tx, book, name)
        tx.run(_STAGE_EDITION, (book.edition, book.run_id, name))
        book.editions[name] = book.edition
        book.skipped.discard(name)
        drop_dead(tx, book, book.net.nodes[name])


def _supersede(tx: Transaction, book: Book, name: str, status: Status) -> None:
    place = book.place(book.net.nodes[name])
    for job_id, queue, client, task in tx.rows(_SUPERSEDE, (tx.now_ms, book.run_id, name, place, status.value)):
        tx.moved((queue, client, task), status, Status.CANCELLED)
        tx.runs.moved(book.run_id, name, status, Status.CANCELLED)
        record(tx, job_id, "cancel", "ledger", reason=_why(book))


def _ask(tx: Transaction, book: Book, name: str) -> None:
    """Ask the running job of a stage to end; the next edition's begins when it has (see `run_flow.advance`)."""
    if not book.count(name, Status.RUNNING):
        return
    for (job_id,) in tx.rows(_ASK, (book.run_id, name, book.place(book.net.nodes[name]))):
        record(tx, job_id, "cancel", "ledger", reason=_why(book), facts={"while": "running"})
        tx.changes.cancels = True


def drop_dead(tx: Transaction, book: Book, node: Node) -> None:
    """Discard what died of a stage in the editions before its present one: nobody may put it back."""
    if not node.edited or not book.count(node.name, Status.DEAD):
        return
    for job_id, queue, client, task in tx.rows(_DROP, (tx.now_ms, book.run_id, node.name, book.place(node))):
        tx.moved((queue, client, task), Status.DEAD, Status.CANCELLED)
        tx.runs.moved(book.run_id, node.name, Status.DEAD, Status.CANCELLED)
        record(tx, job_id, "discard", "ledger", reason=_why(book))


def _why(book: Book) -> str:
    return f"edition {book.edition} collects anew"
