"""
The moves that people make: cancel, put back, discard, answer, pause. Each leaves an event that names who did it, and
a move that the table does not allow is refused with the job's status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.errors import NotFound, WrongStatus
from millrace.ledger import editions, flow
from millrace.ledger.blob_rows import keep
from millrace.ledger.history import record
from millrace.ledger.seals import checksum
from millrace.ledger.states import FINAL, MOVES, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.ledger.transaction import Transaction

_MOVE: Final = """  -- a guarded move of one job that does not run
UPDATE job SET status = ?1, reason = ?2, due_at = CASE ?1 WHEN 'waiting' THEN ?3 ELSE due_at END,
  queued_at = CASE ?1 WHEN 'queued' THEN ?4 ELSE queued_at END, finished_at = ?5,
  result = coalesce(?6, result), result_hash = coalesce(?7, result_hash)
 WHERE id = ?8 AND status = ?9 RETURNING queue, client, task, run_id, stage, record"""

_CANCEL_RUNNING: Final = """  -- ask a running job to end; the daemon that runs it stops it
UPDATE job SET cancel_by = ?1 WHERE id = ?2 AND status = 'running'"""

_FRESH: Final = """  -- a job that is put back starts with a clean account of failures
UPDATE job SET failures = 0, crashes = 0, daemon_deaths = 0, duration_ms = NULL, due_at = NULL
 WHERE id = ? AND status = 'queued'"""

_STAGE: Final = """  -- where a job that may be put back stands in its run
SELECT run_id, stage, record FROM job
 WHERE id = ? AND status IN ('dead', 'cancelled') AND run_id IS NOT NULL AND stage IS NOT NULL"""

_BACKS_OFF: Final = """  -- whether a job waits before its next attempt
SELECT 1 FROM job WHERE id = ? AND status = 'waiting' AND reason = 'backoff'"""

_STATUS: Final = """  -- for the message of a refusal
SELECT status FROM job WHERE id = ?"""


def move(
    tx: Transaction,
    name: str,
    job_id: str,
    actor: str,
    *,
    reason: str | None = None,
    due_at: int | None = None,
    result: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Status:
    """
    Make one move of the table with a job that does not run; return its new status.

    Args:
        name: promote, hold, cancel, abandon, answer, requeue or discard.
        actor: Who decided, for the event.
        reason: The waiting reason for `hold`; for the other moves, why (kept in the event).
    Raises: NotFound; WrongStatus if the table does not allow it.
    """
    froms, to = MOVES[name]
    waits = reason if to is Status.WAITING else None
    for source in sorted(froms):
        rows = tx.rows(
            _MOVE,
            (
                to.value, waits, due_at, tx.now_ms, tx.now_ms if to in FINAL else None,
                result, checksum(result) if result is not None else None, job_id, source.value,
            ),
        )  # fmt: skip
        if rows:
            queue, client, task, run_id, stage, number = rows[0]
            keep(tx, result, job_id, client)
            tx.moved((queue, client, task), source, to)
            tx.runs.moved(run_id, stage, source, to)
            until = {"until": due_at} if to is Status.WAITING and due_at is not None else {}
            record(tx, job_id, name, actor, reason=reason, facts={**until, **(facts or {})})
            if to is Status.QUEUED:
                tx.changes.queued.add(queue)
            elif to in FINAL and run_id is not None and stage is not None:
                flow.ended(tx, [flow.Ended(run_id, stage, number, to, result)])
            return to
    raise refusal(tx, name, job_id)


def cancel(tx: Transaction, job_id: str, actor: str) -> Status:
    """
    Cancel a job that has not started; ask one that runs to end.

    Returns: cancelled, or running if the daemon has yet to stop it.
    Raises: NotFound; WrongStatus if it is over.
    """
    if tx.run(_CANCEL_RUNNING, (actor, job_id)):
        record(tx, job_id, "cancel", actor, facts={"while": "running"})
        tx.changes.cancels = True
        return Status.RUNNING
    return move(tx, "cancel", job_id, actor)


def requeue(tx: Transaction, job_id: str, actor: str) -> Status:
    """
    Put a dead or cancelled job back on its queue, with a clean account of failures; its history stays. The run of a
    stage's job is open again. One that waits before its next attempt need not wait any longer.

    Raises: NotFound; WrongStatus if it is none of these, or its run has no use for it.
    """
    if tx.rows(_BACKS_OFF, (job_id,)):
        return move(tx, "promote", job_id, actor, reason="asked for")
    found = tx.rows(_STAGE, (job_id,))
    if found:
        editions.reopen_for(tx, job_id, *found[0])
    to = put_back(tx, job_id, actor)
    book = tx.runs.book(found[0][0]) if found else None
    if book is not None:  # a run that was cancelled goes on with more than this job
        flow.proceed(tx, book)
    return to


def put_back(tx: Transaction, job_id: str, actor: str) -> Status:
    """Make the move of `requeue`, for a job whose run is ready for it."""
    to = move(tx, "requeue", job_id, actor)
    tx.run(_FRESH, (job_id,))
    return to


_SAID: Final = {"requeue": "retry"}  # as the command that asks for it is called


def refusal(tx: Transaction, name: str, job_id: str) -> NotFound | WrongStatus:
    """Return why a move was refused."""
    found = tx.rows(_STATUS, (job_id,))
    if not found:
        return NotFound(f"no job {job_id}")
    sources = MOVES[name][0]
    if name == "cancel":  # asked to end, it is moved by its daemon
        sources = sources | {Status.RUNNING}
    wanted = " or ".join(sorted(sources))
    if name == "requeue":
        wanted += ", or waits before its next attempt"
    return WrongStatus(
        f"job {job_id} is {found[0][0]}; {_SAID.get(name, name.replace('_', ' '))} needs one that is {wanted}"
    )


def pause(tx: Transaction, queue: str, actor: str) -> bool:
    """Let a queue give out no more work; return whether that is news."""
    return bool(
        tx.run(
            "INSERT INTO pause (queue, at, actor) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (queue, tx.now_ms, actor)
        )
    )


def resume(tx: Transaction, queue: str) -> bool:
    """Let a paused queue give out work again; return whether it was paused."""
    tx.changes.queued.add(queue)
    return bool(tx.run("DELETE FROM pause WHERE queue = ?", (queue,)))
