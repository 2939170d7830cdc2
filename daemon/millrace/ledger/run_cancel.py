"""
The cancellation of a run: at once for what follows, in chunks for the jobs that are there. How far it has come is in
the ledger, so that any daemon can go on with it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from millrace.errors import NotFound, WrongStatus
from millrace.ledger import flow
from millrace.ledger.history import record
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from millrace.ledger.run_counts import Book
    from millrace.ledger.transaction import Transaction

_WANTED: Final = """  -- the run's end is asked for
UPDATE run SET cancel_by = ?1, cancel_at = '["",""]', resume_by = NULL, resume_at = NULL
 WHERE id = ?2 AND status = 'running' AND cancel_by IS NULL"""
_PLACE: Final = """  -- how far a cancellation has come, and who asked for it
SELECT cancel_at, cancel_by FROM run WHERE id = ? AND cancel_at IS NOT NULL"""
_MOVE_ON: Final = """  -- how far the cancellation has come now
UPDATE run SET cancel_at = ? WHERE id = ?"""
_NEXT: Final = """  -- the next jobs of a stage, over or not; served by job_run
SELECT id, coalesce(record, ''), status, queue, client, task FROM job
 WHERE run_id = ?1 AND stage = ?2 AND coalesce(record, '') >= ?3 ORDER BY coalesce(record, '') LIMIT ?4"""
_CANCEL: Final = """  -- a job that has not started
UPDATE job SET status = 'cancelled', reason = NULL, finished_at = ? WHERE id = ? AND status = ?"""
_ASK: Final = """  -- ask a running job to end; the daemon that runs it stops it
UPDATE job SET cancel_by = ? WHERE id = ? AND status = 'running'"""
_AFTER: Final = "\x01"  # sorts after the end of a text, and before any text that goes on


def cancel(tx: Transaction, run_id: str, actor: str, limit: int) -> str:
    """
    Ask for the end of a run, and cancel the first of its jobs; `cancel_some` cancels the others.

    Returns: The run's status: cancelled, or running while jobs of it are open.
    Raises: NotFound; WrongStatus if it is over.
    """
    book = tx.runs.book(run_id)
    if book is None:
        msg = f"no run {run_id}"
        raise NotFound(msg)
    if book.status != "running":
        raise WrongStatus(f"run {run_id} is {book.status}; cancel needs one that is running")
    if tx.run(_WANTED, (actor, run_id)):
        book.cancelled, book.resuming = True, False
        cancel_some(tx, run_id, limit)
    return str(book.status)


def cancel_some(tx: Transaction, run_id: str, limit: int) -> int:
    """
    Cancel more jobs of a run whose end was asked for.

    Args:
        limit: How many to look at, ≥ 1.
    Returns: How many were looked at; 0 once there are no more.
    """
    book, found = tx.runs.book(run_id), tx.rows(_PLACE, (run_id,))
    if book is None or not found:
        return 0
    (stage, after), actor = json.loads(found[0][0]), found[0][1]
    seen = 0
    for name in sorted(book.counts):
        if name < stage:
            continue
        after = after if name == stage else ""
        while seen < limit and book.open([name]) and (rows := tx.rows(_NEXT, (run_id, name, after, limit - seen))):
            for row in rows:
                _end(tx, book, name, actor, row)
            seen += len(rows)
            after = rows[-1][1] + _AFTER
        if seen >= limit:
            tx.run(_MOVE_ON, (json.dumps([name, after]), run_id))
            break
    else:
        tx.run(_MOVE_ON, (None, run_id))
    flow.proceed(tx, book)
    return seen


def _end(tx: Transaction, book: Book, stage: str, actor: str, row: tuple[str, str, str, str, str, str]) -> None:
    job_id, _, status, queue, client, task = row
    if status == Status.RUNNING:
        tx.run(_ASK, (actor, job_id))
        tx.changes.cancels = True
    elif status in (Status.WAITING, Status.QUEUED):
        tx.run(_CANCEL, (tx.now_ms, job_id, status))
        tx.moved((queue, client, task), status, Status.CANCELLED)
        tx.runs.moved(book.run_id, stage, status, Status.CANCELLED)
    else:
        return
    record(tx, job_id, "cancel", actor, reason="its run was cancelled")
