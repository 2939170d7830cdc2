"""The moves that bring jobs in: accepting them, and putting those whose time has come on their queue."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.errors import KeyConflict
from millrace.ledger.blob_rows import keep
from millrace.ledger.blobs import reference
from millrace.ledger.history import record
from millrace.ledger.ids import new_ids
from millrace.ledger.seals import checksum
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.ledger.rows import NewJob
    from millrace.ledger.transaction import Transaction

_ROW: Final = "(?,?,?,?,?,?,?,0,?,0,0,0,?,?,?,?,?,?,?,?,?,?,?,?)"
_INSERT: Final = f"""  -- one accepted job
INSERT INTO job (id, task, queue, client, status, reason, priority, attempt, max_attempts, failures, crashes,
  daemon_deaths, payload, payload_hash, key, run_id, stage, record, source_kind, source_name, correlation_id,
  created_at, queued_at, due_at)
VALUES {_ROW}"""  # noqa: S608 - made of our own text
# Many rows in one statement: the driver takes the interpreter's lock anew for each, which other threads fight over.
# The most that the driver still keeps prepared (16 KB of text), and fewer for what is left.
_MANY: Final = {size: _INSERT + f",{_ROW}" * (size - 1) for size in (250, 50)}

_KNOWN: Final = """  -- the job that an idempotency key belongs to; served by job_key
SELECT id, task, payload_hash FROM job WHERE client = ? AND key = ?"""

_DUE: Final = """  -- waiting jobs whose time has come, in the order of their times; served by job_due
UPDATE job SET status = 'queued', reason = NULL, queued_at = ?1
 WHERE status = 'waiting' AND id IN (
   SELECT id FROM job WHERE status = 'waiting' AND due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?2)
RETURNING queue, client, task, run_id, stage"""

_FITS_AGAIN: Final = """  -- jobs that waited for a task or a payload that fits again; served by job_waiting
UPDATE job SET status = 'queued', reason = NULL, queued_at = ?1
 WHERE status = 'waiting' AND id IN (
   SELECT id FROM job WHERE status = 'waiting' AND reason = ?2 AND task = ?3 LIMIT ?4)
RETURNING queue, client, task, run_id, stage, id"""


class Accepted(NamedTuple):
    """The answer to a submission; `existed` says that its idempotency key was known and nothing was added."""

    id: str
    existed: bool


def accept(tx: Transaction, jobs: Sequence[NewJob]) -> list[Accepted]:
    """
    Write new jobs. All or none.

    Raises: KeyConflict if a key belongs to another task or payload.
    """
    accepted, rows = [], []
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for job, new_id in zip(jobs, new_ids(tx.now_ms, len(jobs)), strict=True):
        digest = checksum(job.payload)
        known = _known(tx, job, digest) if job.key is not None else None
        if known is not None:
            accepted.append(Accepted(known, existed=True))
            if (again := reference(job.payload)) is not None:
                tx.changes.gone.append(again.name)
            continue
        row = _row(job, job.id or new_id, digest, tx.now_ms)
        accepted.append(Accepted(row[0], existed=False))
        counts[job.queue, job.client, job.task, row[4]] += 1
        keep(tx, job.payload, row[0], job.client)
        if job.key is None:
            rows.append(row)
        else:  # at once: the next job of this very call may carry the same key
            tx.run(_INSERT, row)
    _insert(tx, rows)
    _count(tx, counts)
    return accepted


def _insert(tx: Transaction, rows: list[tuple[Any, ...]]) -> None:
    if len(rows) == 1:
        tx.connection.execute(_INSERT, rows[0])
        return
    done = 0
    for size, sql in _MANY.items():
        while len(rows) - done >= size:
            tx.connection.execute(sql, tuple(chain.from_iterable(rows[done : done + size])))
            done += size
    tx.connection.executemany(_INSERT, rows[done:])


def _known(tx: Transaction, job: NewJob, digest: str) -> str | None:
    found = tx.rows(_KNOWN, (job.client, job.key))
    if not found:
        return None
    job_id, task, known_digest = found[0]
    if (task, known_digest) != (job.task, digest):
        what = "another payload" if task == job.task else f"task {task}"
        msg = f'key "{job.key}" was used before with {what}, by job {job_id}: use a new key, or send the same again'
        raise KeyConflict(msg, job_id=job_id)
    return str(job_id)


def _row(job: NewJob, job_id: str, digest: str, now_ms: int) -> tuple[Any, ...]:
    later = job.due_at is not None and job.due_at > now_ms
    status, reason, queued_at = (Status.WAITING, "due", None) if later else (Status.QUEUED, None, now_ms)
    return (
        job_id, job.task, job.queue, job.client, status.value, reason, job.priority, job.max_attempts, job.payload,
        digest, job.key, job.run_id, job.stage, job.record, job.source.kind, job.source.name,
        job.correlation_id or job_id, now_ms, queued_at, job.due_at,
    )  # fmt: skip


def _count(tx: Transaction, counts: Mapping[tuple[str, str, str, str], int]) -> None:
    for (queue, client, task, status), number in counts.items():
        tx.count((queue, client, task), "accepted", number)
        tx.count((queue, client, task), status, number)
        if status == Status.QUEUED:
            tx.changes.queued.add(queue)
        else:
            tx.changes.due = True


def promote_due(tx: Transaction, limit: int) -> int:
    """Queue waiting jobs whose time has come, at most `limit`; return how many."""
    return _promoted(tx, tx.rows(_DUE, (tx.now_ms, limit)))


def promote_fitting(tx: Transaction, reason: str, task: str, limit: int) -> int:
    """Queue jobs of a task that waited for the reason `unknown_task` or `payload`, at most `limit`; return how many."""
    rows = tx.rows(_FITS_AGAIN, (tx.now_ms, reason, task, limit))
    for row in rows:
        record(tx, row[5], "promote", "daemon", reason=reason, facts={"task": task})
    return _promoted(tx, [row[:5] for row in rows])


def _promoted(tx: Transaction, rows: list[tuple[str, str, str, str | None, str | None]]) -> int:
    for queue, client, task, run_id, stage in rows:
        tx.moved((queue, client, task), Status.WAITING, Status.QUEUED)
        tx.runs.moved(run_id, stage, Status.WAITING, Status.QUEUED)
        tx.changes.queued.add(queue)
    return len(rows)
