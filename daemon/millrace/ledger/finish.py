"""
The moves that end an attempt: one guarded UPDATE each, fenced by status and attempt, so that a late result never
overwrites its successor's. Each writes the attempt into the history in the same transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.errors import LostClaim
from millrace.ledger import effects, flow
from millrace.ledger.blob_rows import keep
from millrace.ledger.history import dump
from millrace.ledger.seals import checksum
from millrace.ledger.states import FINAL, MOVES, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.ledger.rows import Claim, JobError
    from millrace.ledger.transaction import Transaction

_FINISH: Final = """  -- the guarded end of an attempt
UPDATE job SET status = ?1, reason = ?2, due_at = CASE ?1 WHEN 'waiting' THEN ?3 ELSE due_at END,
  finished_at = ?4, duration_ms = ?5, result = ?6, result_hash = ?7, error = coalesce(?8, error),
  failures = failures + ?9, crashes = crashes + ?10, daemon = NULL, cancel_by = NULL
 WHERE id = ?11 AND attempt = ?12 AND status = 'running'
   AND (cancel_by IS NULL OR ?1 NOT IN ('waiting', 'queued'))"""

_TO_END: Final = """  -- whether the attempt still owns the job, and somebody asked for its end
SELECT 1 FROM job WHERE id = ? AND attempt = ? AND status = 'running' AND cancel_by IS NOT NULL"""

_HISTORY: Final = """  -- the attempt that is over
INSERT INTO attempt (job_id, attempt, outcome, daemon, started_at, ended_at, duration_ms, error, facts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_OUTCOMES: Final = {
    "succeed": "succeeded",
    "retry": "retried",
    "give_up": "gave_up",
    "park": "parked",
    "release": "released",
    "stop": "stopped",
}


class End(NamedTuple):
    """
    How an attempt ended.

    Args:
        move: succeed, retry, give_up, park, release or stop.
        duration_s: Seconds that the attempt took, ≥ 0.
        result: JSON text, of a success.
        error: Of a failure.
        reason: Of a wait: backoff, unknown_task …
        due_at: When a waiting job is looked at again; None means when somebody promotes it.
        crashed: Whether its child was taken down.
        facts: What `explain` will want to know.
    """

    move: str
    duration_s: float
    result: str | None = None
    error: JobError | None = None
    reason: str | None = None
    due_at: int | None = None
    crashed: bool = False
    facts: Mapping[str, Any] | None = None


def finish(tx: Transaction, held: Claim, end: End, daemon: str) -> Status:
    """
    End an attempt, and move the run of a stage's job on; return the job's new status. A released job keeps its place in
    the line (`queued_at`). One that was cancelled meanwhile is cancelled, however its attempt would have gone on.

    Raises: LostClaim if the attempt no longer owns the job.
    """
    to = MOVES[end.move][1]
    duration_ms = round(end.duration_s * 1000)
    error = dump(end.error.as_json()) if end.error else None
    changed = tx.run(
        _FINISH,
        (
            to.value,
            end.reason,
            end.due_at,
            tx.now_ms if to in FINAL else None,
            duration_ms,
            end.result,
            checksum(end.result) if end.result is not None else None,
            error,
            int(end.move in _FAILURES),
            int(end.crashed),
            held.job_id,
            held.attempt,
        ),
    )
    if changed != 1:
        if to not in FINAL and tx.rows(_TO_END, (held.job_id, held.attempt)):
            # The wish came while the attempt was ending otherwise: a job that was cancelled is not run again.
            return finish(tx, held, end._replace(move="stop", reason=None, due_at=None), daemon)
        msg = f"attempt {held.attempt} of job {held.job_id} no longer owns it; what it brought is dropped"
        raise LostClaim(msg)
    keep(tx, end.result, held.job_id, held.client)
    known = _facts(end, to)
    facts = dump(known) if known else None
    history = (
        held.job_id,
        held.attempt,
        _OUTCOMES[end.move],
        daemon,
        held.started_at,
        tx.now_ms,
        duration_ms,
        error,
        facts,
    )
    tx.run(_HISTORY, history)
    _count(tx, held, to)
    _follow(tx, held, end, to)
    return to


_FAILURES: Final = frozenset({"retry", "give_up"})


def _facts(end: End, to: Status) -> Mapping[str, Any] | None:
    """Return the evidence of an attempt; what it waits for then is in it, as the job's row forgets that at its next."""
    if to is not Status.WAITING:
        return end.facts
    return {**(end.facts or {}), "waits": end.reason, "until": end.due_at}


def _count(tx: Transaction, held: Claim, to: Status) -> None:
    tx.moved((held.queue, held.client, held.task), Status.RUNNING, to)
    tx.runs.moved(held.run_id, held.stage, Status.RUNNING, to)
    if to is Status.QUEUED:
        tx.changes.queued.add(held.queue)
    elif to is Status.WAITING:
        tx.changes.due = True


def _follow(tx: Transaction, held: Claim, end: End, to: Status) -> None:
    """Do what the end of a stage's job makes possible, and what a job that waits has missed meanwhile."""
    if end.reason == "doubt":
        effects.parked(tx, held.job_id)
    if held.run_id is None or held.stage is None:
        return
    if to in FINAL:
        flow.ended(tx, [flow.Ended(held.run_id, held.stage, held.record, to, end.result)])
    elif end.reason == "limit":  # what it waits for may have happened while its attempt was ending
        flow.paused(tx, held.run_id, held.stage)
