"""
Jobs that nothing would ever move again: looked for in pieces, each a short read along an index, and put right by
guarded moves. No move of the ledger makes one; a bug, a restored file or a hand with a SQLite shell does, and a job
that stands for ever is lost as surely as one that was deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.errors import LostClaim, NotFound, WrongStatus
from millrace.ledger import control
from millrace.ledger.finish import End, finish
from millrace.ledger.history import record
from millrace.ledger.rows import Claim

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.ledger.net import Net
    from millrace.ledger.reads import Reads
    from millrace.ledger.transaction import Transaction

PIECE: Final = 500
RUNS: Final = 200
FEW: Final = 20

_RUNNING: Final = """  -- running jobs, in the order of their daemons; served by job_running
SELECT daemon, id, attempt FROM job INDEXED BY job_running
 WHERE status = 'running' AND (daemon, id) > (?, ?) ORDER BY daemon, id LIMIT ?"""
_WAITING: Final = """  -- waiting jobs, in the order of their reasons; served by job_waiting
SELECT reason, task, id, due_at, attempt, queue, run_id, stage, coalesce(record, '') FROM job INDEXED BY job_waiting
 WHERE status = 'waiting' AND (reason, task, id) > (?, ?, ?) ORDER BY reason, task, id LIMIT ?"""
_RUN_IDS: Final = """  -- the runs that jobs belong to, and whether they are there; each a jump along job_run
WITH RECURSIVE seen (run_id) AS (
  SELECT min(run_id) FROM job WHERE run_id IS NOT NULL AND run_id > ?1
   UNION ALL
  SELECT (SELECT min(run_id) FROM job WHERE run_id IS NOT NULL AND run_id > seen.run_id) FROM seen
   WHERE seen.run_id IS NOT NULL LIMIT ?2)
SELECT run_id, EXISTS (SELECT 1 FROM run WHERE id = run_id) FROM seen WHERE run_id IS NOT NULL"""
_OF_NO_RUN: Final = """  -- queued jobs of a run that is not there; served by job_run
SELECT id, attempt FROM job WHERE run_id = ? AND +status = 'queued' LIMIT ?"""
_OPEN_RUNS: Final = """  -- open runs and how many of their jobs are open; served by run_open
SELECT run.id, (SELECT coalesce(sum(waiting + queued + running), 0) FROM run_count WHERE run_id = run.id)
  FROM run WHERE status = 'running' AND run.id > ?1 AND cancel_at IS NULL AND resume_at IS NULL
 ORDER BY run.id LIMIT ?2"""
_STAGES: Final = """  -- the stages of a run that have queued jobs
SELECT stage FROM run_count WHERE run_id = ? AND queued > 0"""
_OF_STAGE: Final = """  -- the next jobs of a stage, in the order of their records; served by job_run
SELECT coalesce(record, ''), id, attempt, status FROM job
 WHERE run_id = ?1 AND stage = ?2 AND coalesce(record, '') > ?3 ORDER BY coalesce(record, '') LIMIT ?4"""
_OWN_JOB: Final = """  -- the run's own first job of a stage, which has no record; served by job_run
SELECT coalesce(record, ''), id, attempt, status FROM job
 WHERE run_id = ?1 AND stage = ?2 AND coalesce(record, '') = ''"""
_HAS_RECORD: Final = """  -- whether a fan-out has an item of this number
SELECT 1 FROM record WHERE fanout = (SELECT id FROM fanout WHERE run_id = ?1 AND stage = ?2) AND number = ?3"""
_HAS_VALUE: Final = """  -- whether a stage has succeeded, for a record or for the run
SELECT 1 FROM job WHERE run_id = ?1 AND stage = ?2 AND (?3 IS NULL OR coalesce(record, '') = ?3)
   AND +status = 'succeeded' LIMIT 1"""
_OF_TASK: Final = """  -- the first queued jobs of a lane that are of a task
SELECT id, attempt FROM (SELECT id, task, attempt FROM job WHERE status = 'queued' AND queue = ?1 AND client = ?2
   ORDER BY priority DESC, queued_at, id LIMIT 2000) WHERE task = ?3 LIMIT ?4"""
_PAUSED: Final = "SELECT queue FROM pause"
_CLAIM: Final = """  -- the attempt of a running job
SELECT task, queue, client, failures, crashes, daemon_deaths, max_attempts, correlation_id, coalesce(queued_at, 0),
  started_at, run_id, stage, record FROM job WHERE id = ? AND attempt = ? AND status = 'running'"""

# Reasons that only a person, or the next start of the daemon, can end: to wait without a time is as it should be.
_PATIENT: Final = frozenset({"answer", "doubt", "unknown_task", "payload"})


class Orphan(NamedTuple):
    """
    Something that will not go on by itself.

    Args:
        kind: not_running, no_run, no_upstream, never_ready, stalled_run, unknown_task or no_workers.
        id: The job's; the run's for `stalled_run`.
        attempt: Of the job, so that only what was seen is put right.
        detail: What is missing.
        place: Of `not_running`, the daemon in whose name it runs.
    """

    kind: str
    id: str
    attempt: int
    detail: str
    place: str = ""


Piece = list[Orphan]


def running(reads: Reads) -> Iterator[Piece]:
    """Yield all running jobs, piece by piece, as `not_running`: the caller knows which of them somebody runs."""
    daemon = job_id = ""
    while rows := reads.rows(_RUNNING, (daemon, job_id, PIECE)):
        daemon, job_id = rows[-1][0], rows[-1][1]
        yield [Orphan("not_running", row[1], row[2], f"attempt {row[2]} of daemon {row[0]}", row[0]) for row in rows]


def waiting(reads: Reads) -> Iterator[Piece]:
    """Yield waiting jobs that have no time, and a reason that nothing ends, or that has ended."""
    paused = {row[0] for row in reads.rows(_PAUSED, ())}
    last = ("", "", "")
    while rows := reads.rows(_WAITING, (*last, PIECE)):
        last = rows[-1][:3]
        found = []
        for reason, _, job_id, due_at, attempt, queue, *where in rows:
            if due_at is None and not (reason == "paused" and queue in paused) and _endless(reads, reason, *where):
                found.append(Orphan("never_ready", job_id, attempt, f"it waits as {reason}, which nothing ends"))
        yield found


def _endless(reads: Reads, reason: str, run_id: str | None, stage: str | None, place: str) -> bool:
    """Return whether nothing ends a wait without a time. A fan-out's `limit` is ended by the jobs after it."""
    if reason in _PATIENT:
        return False
    if run_id is None or stage is None or reason not in {"upstream", "limit"}:
        return True
    if reason == "limit":
        return bool(place)
    try:
        net = reads.net(run_id)
    except NotFound:
        return False  # parked as its run is missing, and so it still is
    return stage not in net.nodes or not _missing(reads, net, run_id, stage, place)


def of_missing_runs(reads: Reads) -> Iterator[Piece]:
    """Yield queued jobs whose run is not there."""
    last = ""
    while rows := reads.rows(_RUN_IDS, (last, RUNS)):
        last = rows[-1][0]
        yield [
            Orphan("no_run", job_id, attempt, f"its run {run_id} is missing")
            for run_id, there in rows
            if not there
            for job_id, attempt in reads.rows(_OF_NO_RUN, (run_id, PIECE))
        ]


def of_runs(reads: Reads) -> Iterator[Piece]:
    """Yield open runs of which nothing is open, and queued jobs of runs whose upstream has no value."""
    last = ""
    while rows := reads.rows(_OPEN_RUNS, (last, RUNS)):
        last = rows[-1][0]
        yield [Orphan("stalled_run", run_id, 0, "nothing of it is open") for run_id, count in rows if not count]
        for run_id, count in rows:
            if count:
                yield from _of_run(reads, run_id)


def _of_run(reads: Reads, run_id: str) -> Iterator[Piece]:
    net = reads.net(run_id)
    for (stage,) in reads.rows(_STAGES, (run_id,)):
        node = net.nodes.get(stage)
        if node is None or not node.required:
            continue
        yield _queued_without(reads, net, run_id, stage, reads.rows(_OWN_JOB, (run_id, stage)))
        place = ""
        while rows := reads.rows(_OF_STAGE, (run_id, stage, place, PIECE)):
            place = rows[-1][0]
            yield _queued_without(reads, net, run_id, stage, rows)


def _queued_without(reads: Reads, net: Net, run_id: str, stage: str, rows: Sequence[Any]) -> Piece:
    return [
        Orphan("no_upstream", job_id, attempt, f"{', '.join(missing)} of its run has no value")
        for place, job_id, attempt, status in rows
        if status == "queued" and (missing := _missing(reads, net, run_id, stage, place))
    ]


def _missing(reads: Reads, net: Net, run_id: str, stage: str, place: str) -> list[str]:
    """Return the required needs of a job that have no value; those of a barrier come as results, however few."""
    scope = net.nodes[stage].stage.fanout
    missing = []
    for name in sorted(net.nodes[stage].required):
        fanout = net.fanout_of(name)
        if fanout is not None and scope is None:
            continue
        if fanout is not None and fanout == name:
            found = reads.rows(_HAS_RECORD, (run_id, name, int(place)))
        else:
            found = reads.rows(_HAS_VALUE, (run_id, name, place if fanout is not None else None))
        if not found:
            missing.append(name)
    return missing


def of_task(reads: Reads, lane: tuple[str, str, str], kind: str, detail: str) -> Piece:
    """Return the first queued jobs of a queue, client and task, as orphans of a kind."""
    return [Orphan(kind, job_id, attempt, detail) for job_id, attempt in reads.rows(_OF_TASK, (*lane, FEW))]


# ---- putting right


def put_right(tx: Transaction, found: Orphan, daemon: str) -> bool:
    """
    Let a job go on, or park it with the reason that holds; return whether it was still as it was seen.

    `no_workers` and `stalled_run` are not for this: the one needs a setting, the other `settle_run`.
    """
    try:
        match found.kind:
            case "not_running":
                _release(tx, found, daemon)
            case "no_run" | "no_upstream":
                control.move(tx, "hold", found.id, "daemon", reason="upstream")
            case "unknown_task":
                control.move(tx, "hold", found.id, "daemon", reason="unknown_task")
            case "never_ready":
                control.move(tx, "promote", found.id, "daemon", reason=found.detail)
            case _:
                return False
    except (LostClaim, NotFound, WrongStatus):
        return False  # it has moved meanwhile: then it was none
    record(tx, found.id, "orphan", "daemon", reason=found.detail, facts={"kind": found.kind})
    return True


def _release(tx: Transaction, found: Orphan, daemon: str) -> None:
    rows = tx.rows(_CLAIM, (found.id, found.attempt))
    if not rows:
        raise LostClaim(f"attempt {found.attempt} of job {found.id} is over")
    (task, queue, client, failures, crashes, deaths, most, correlation, queued_at, started_at, *where) = rows[0]
    held = Claim(
        found.id, task, queue, client, found.attempt, failures, crashes, deaths, most, "", correlation, queued_at,
        started_at or tx.now_ms, *where,
    )  # fmt: skip
    finish(tx, held, End("release", 0.0, facts={"why": "orphan"}), daemon)
