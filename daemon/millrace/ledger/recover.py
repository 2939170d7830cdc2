"""
What a starting daemon does with what a dead one left: it signs in, kills the children that still live, and only then
takes back the attempts. A daemon's death costs a job nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.ledger import flow
from millrace.ledger.history import dump, record
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Collection

    from millrace.ledger.rows import ChildRow, DaemonRow
    from millrace.ledger.transaction import Transaction

_SIGN_IN: Final = """  -- a daemon takes over
INSERT INTO daemon (id, pid, host, version, started_at, beat_at) VALUES (?, ?, ?, ?, ?, ?)"""

_LOST: Final = """  -- attempts that nobody runs any more; served by job_running
SELECT job.id, queue, client, task, attempt, daemon, job.started_at, cancel_by, run_id, stage, record, owner.pid,
    owner.beat_at FROM job LEFT JOIN daemon AS owner ON owner.id = job.daemon
 WHERE status = 'running' AND daemon <> ? LIMIT ?"""

_TAKE_BACK: Final = """  -- the guarded end of an attempt whose daemon died
UPDATE job SET status = ?1, daemon = NULL, cancel_by = NULL, finished_at = ?2, daemon_deaths = daemon_deaths + ?3
 WHERE id = ?4 AND attempt = ?5 AND status = 'running'"""

_HISTORY: Final = """  -- the attempt that its daemon's death ended
INSERT INTO attempt (job_id, attempt, outcome, daemon, started_at, ended_at, facts) VALUES (?, ?, ?, ?, ?, ?, ?)"""


def sign_in(tx: Transaction, row: DaemonRow) -> None:
    """Put a daemon on record."""
    tx.run(_SIGN_IN, (row.id, row.pid, row.host, row.version, row.started_at, row.beat_at))


def beat(tx: Transaction, daemon: str, *, stopped: bool = False) -> None:
    """Note that a daemon makes progress, or that it has stopped in order."""
    ended = tx.now_ms if stopped else None
    tx.run("UPDATE daemon SET beat_at = ?, stopped_at = ? WHERE id = ?", (tx.now_ms, ended, daemon))


def take_back(tx: Transaction, daemon: str, thread_queues: Collection[str], limit: int) -> tuple[int, int]:
    """
    End attempts of daemons other than this one: queued again, or cancelled if somebody had asked for that.

    Args:
        thread_queues: Queues whose jobs ran inside the daemon and may be what killed it.
        limit: How many at most, ≥ 1.
    Returns: How many were released, and how many cancelled.
    """
    released = stopped = 0
    ended = []
    for row in tx.rows(_LOST, (daemon, limit)):
        job_id, queue, client, task, attempt, owner, started_at, cancel_by, run_id, stage, number, pid, beat_at = row
        to, in_thread = (Status.CANCELLED if cancel_by else Status.QUEUED), queue in thread_queues
        finished_at = tx.now_ms if cancel_by else None
        tx.run(_TAKE_BACK, (to.value, finished_at, int(in_thread), job_id, attempt))
        facts = {"why": "daemon died", "taken_back_by": daemon, "daemon_pid": pid, "daemon_heard_at": beat_at}
        facts |= {"in_thread": True} if in_thread else {}
        tx.run(
            _HISTORY, (job_id, attempt, "stopped" if cancel_by else "lost", owner, started_at, tx.now_ms, dump(facts))
        )
        record(
            tx,
            job_id,
            "stop" if cancel_by else "release",
            "daemon",
            reason="daemon died",
            facts={"attempt": attempt, **facts},
        )
        tx.moved((queue, client, task), Status.RUNNING, to)
        tx.runs.moved(run_id, stage, Status.RUNNING, to)
        if cancel_by and run_id is not None and stage is not None:
            ended.append(flow.Ended(run_id, stage, number, to, None))
        released, stopped = released + (not cancel_by), stopped + bool(cancel_by)
        if not cancel_by:
            tx.changes.queued.add(queue)
    flow.ended(tx, ended)
    return released, stopped


def child_started(tx: Transaction, row: ChildRow) -> None:
    """Put a child process on record, before it gets work."""
    values = (row.pid, row.start_ticks, row.pgid, row.daemon, row.queue)
    tx.run("INSERT OR REPLACE INTO child (pid, start_ticks, pgid, daemon, queue) VALUES (?, ?, ?, ?, ?)", values)


def child_gone(tx: Transaction, pid: int, start_ticks: int) -> None:
    """Strike a child process off the record, once it is gone for certain."""
    tx.run("DELETE FROM child WHERE pid = ? AND start_ticks = ?", (pid, start_ticks))
