"""
Removes what is old, in small pieces: what a piece removes is counted as pruned in the same transaction, so that the
balance holds at every moment, and the write lock is never held for long.

A job goes with its attempts, events and checkpoints. A run goes as a whole: its row first, under a mark that lets the
rest be removed after a kill too, and so that nobody goes on with half a run. Its key, as a job's, is free again. What
jobs did to the outside world stays in the journal of effects: it must be known for longer than who did it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from millrace.ledger import audit, blob_rows
from millrace.ledger.fires import LIVE
from millrace.ledger.history import dump
from millrace.ledger.states import FINAL, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.transaction import Transaction

RUN_MARK: Final = "prune."  # in meta, with the id of a run of which the row is gone and the rest is not

_FINALS: Final = ", ".join(f"'{status}'" for status in sorted(FINAL))
_JOBS: Final = """  -- old jobs that are still what they were when they were looked up, and did nothing that is in doubt
DELETE FROM job WHERE id IN (SELECT value FROM json_each(?1)) AND run_id IS NULL AND status = ?2 AND finished_at < ?3
   AND NOT EXISTS (SELECT 1 FROM effect WHERE effect.job_id = job.id AND effect.status IN ('begun', 'doubt'))
RETURNING id, queue, client, task, status"""
_OF_JOBS: Final = tuple(
    f"DELETE FROM {table} WHERE job_id IN (SELECT value FROM json_each(?))"  # noqa: S608 - names of our own
    for table in ("attempt", "event", "step", "progress", "effect_wait")
)

_RUN: Final = """  -- an old run that has ended, and has not been put back since it was looked up
DELETE FROM run WHERE id = ?1 AND finished_at < ?2 RETURNING id"""
_IN_DOUBT: Final = """  -- whether a job of a run did something that is in doubt: few are; served by effect_open
SELECT 1 FROM effect INDEXED BY effect_open CROSS JOIN job ON job.id = effect.job_id
 WHERE effect.status IN ('begun', 'doubt') AND job.run_id = ? LIMIT 1"""
_MARK: Final = "INSERT INTO meta (key, value) VALUES (?, '') ON CONFLICT DO NOTHING"
_UNMARK: Final = "DELETE FROM meta WHERE key = ?"
_RUN_JOBS: Final = f"""  -- some jobs of a run that is removed; served by job_run
DELETE FROM job WHERE id IN (SELECT id FROM job WHERE run_id = ?1 LIMIT ?2) AND status IN ({_FINALS})
RETURNING id, queue, client, task, status"""  # noqa: S608 - statuses of our own
_RECORDS: Final = """  -- some items of its fan-outs
DELETE FROM record WHERE (fanout, number) IN
  (SELECT fanout, number FROM record WHERE fanout IN (SELECT id FROM fanout WHERE run_id = ?1) LIMIT ?2)"""
_SKIPS: Final = """  -- some of what it passed by
DELETE FROM skip WHERE (run_id, stage, record) IN
  (SELECT run_id, stage, record FROM skip WHERE run_id = ?1 LIMIT ?2)"""

_FIRES: Final = f"""  -- due times that were decided long ago, and of which nothing is open; served by fire_due
DELETE FROM fire WHERE (key, due_at, how) IN
  (SELECT key, due_at, how FROM fire WHERE due_at < ?1 AND decided_at < ?1
      AND (state IN ('none', 'over') OR state = 'open' AND NOT {LIVE}) LIMIT ?2)"""  # noqa: S608 - text of our own

_AUDIT_TO: Final = """  -- the last of the oldest rows that are all older; the newest always stays
SELECT id, hash FROM audit WHERE id < (SELECT coalesce(
    (SELECT min(id) FROM audit WHERE at >= ?1), (SELECT max(id) FROM audit)))
 AND id < (SELECT min(id) FROM audit) + ?2 ORDER BY id DESC LIMIT 1"""
_AUDIT: Final = "DELETE FROM audit WHERE id <= ?"
_ANCHOR: Final = """  -- where the chain begins from now on
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"""


def prune_jobs(tx: Transaction, ids: Sequence[str], status: Status, before: int) -> int:
    """
    Remove jobs that belong to no run, have `status`, and ended before a time (UTC epoch milliseconds).

    Returns: How many there were.
    """
    return _removed(tx, tx.rows(_JOBS, (dump(list(ids)), status.value, before)))


def begin_run(tx: Transaction, run_id: str, before: int) -> bool:
    """Remove the row of a run that ended before a time; return whether it was there, and `prune_run` has work."""
    if tx.rows(_IN_DOUBT, (run_id,)) or not tx.rows(_RUN, (run_id, before)):
        return False
    tx.run("DELETE FROM run_count WHERE run_id = ?", (run_id,))
    tx.run(_MARK, (RUN_MARK + run_id,))
    return True


def prune_run(tx: Transaction, run_id: str, limit: int) -> tuple[int, bool]:
    """Remove some of what belongs to a run whose row is gone; return how many jobs, and whether there is more."""
    jobs = _removed(tx, tx.rows(_RUN_JOBS, (run_id, limit)))
    if jobs or any(tx.run(some, (run_id, limit)) for some in (_RECORDS, _SKIPS)):
        return jobs, True
    if blob_rows.drop_some(tx, run_id, limit):
        return 0, True
    tx.run("DELETE FROM fanout WHERE run_id = ?", (run_id,))
    tx.run(_UNMARK, (RUN_MARK + run_id,))
    return 0, False


def _removed(tx: Transaction, rows: Sequence[tuple[str, str, str, str, str]]) -> int:
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for _, queue, client, task, status in rows:
        counts[queue, client, task, status] += 1
    for (queue, client, task, status), number in counts.items():
        tx.count((queue, client, task), status, -number)
        tx.count((queue, client, task), "pruned", number)
    if rows:
        ids = dump([row[0] for row in rows])
        for statement in _OF_JOBS:
            tx.run(statement, (ids,))
        blob_rows.drop(tx, [row[0] for row in rows])
    return len(rows)


def prune_fires(tx: Transaction, before: int, limit: int) -> int:
    """Remove due times of schedules that were decided before a time; return how many."""
    return tx.run(_FIRES, (before, limit))


def prune_audit(tx: Transaction, before: int, limit: int) -> int:
    """
    Remove the oldest rows of the audit log, and keep the hash of the last of them: the chain goes on from there.

    The newest row stays. Rows are removed from the beginning alone, up to the first that is not older.
    """
    found = tx.rows(_AUDIT_TO, (before, limit))
    if not found:
        return 0
    last, digest = found[0]
    tx.run(_ANCHOR, (audit.ANCHOR, f"{last}:{digest}"))
    return tx.run(_AUDIT, (last,))


def vacuum(tx: Transaction, pages: int) -> int:
    """Give up to `pages` free pages at the end of the file back; return how many are left."""
    tx.rows(f"PRAGMA incremental_vacuum({int(pages)})")
    return int(tx.rows("PRAGMA freelist_count")[0][0])
