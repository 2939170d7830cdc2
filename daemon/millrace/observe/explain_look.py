"""Gathers what an explanation is made of: a few looks at the ledger, each bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.errors import NotFound
from millrace.ledger.place import place, run_ender, standing
from millrace.ledger.rows import JobFilter, QueueRow
from millrace.ledger.run_view import has
from millrace.ledger.states import Status
from millrace.observe.explain_job import JobFacts, explain_job
from millrace.observe.explain_queue import QueueFacts, explain_queue
from millrace.observe.explain_run import RunFacts, explain_run, pause_of
from millrace.observe.explain_schedule import ScheduleFacts, explain_schedule
from millrace.observe.stuck import stuck_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.ledger.net import Net
    from millrace.ledger.place import Standing
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import JobRow
    from millrace.ledger.run_rows import RunRow
    from millrace.observe.explain import Around, Explanation
    from millrace.observe.explain_waits import Pause

_FEW: Final = 20
SOME_FIRES: Final = 5
MISSED_MS: Final = (
    7 * 86_400_000
)  # what was missed is told for so long at least: until somebody is back from a week off


def job(reads: Reads, found: JobRow, around: Around) -> Explanation:
    """Explain a job."""
    queued = found.status == Status.QUEUED
    known = JobFacts(
        found,
        reads.attempts(found.id),
        reads.events(found.id),
        standing(reads, found.queue) if queued else None,
        place(reads, found) if queued else None,
        _pause(reads, found),
        reads.progress(found.id) if found.status == Status.RUNNING else None,
        _doubts(reads, found),
        _stuck_since(reads, found),
    )
    return explain_job(known, around)


def _stuck_since(reads: Reads, found: JobRow) -> int | None:
    if found.status != Status.RUNNING:
        return None
    return next((one.since for one in stuck_jobs(reads) if one.job.id == found.id), None)


def _doubts(reads: Reads, found: JobRow) -> list[str]:
    """Return the effects of a job that nobody will settle by itself."""
    if found.status != Status.DEAD and found.reason != "doubt":
        return []
    return [effect.key for effect in reads.effects_of(found.id, _FEW) if effect.status == "doubt"]


def _pause(reads: Reads, found: JobRow) -> Pause | None:
    if found.reason != "limit" or found.run_id is None or found.stage is None or found.record is not None:
        return None
    try:
        return pause_of(reads.run(found.run_id), reads.net(found.run_id), found.stage)
    except NotFound:  # the run's row is gone: the job is explained all the same
        return None


def run(reads: Reads, found: RunRow, around: Around) -> Explanation:
    """Explain a run."""

    def some(status: str) -> list[JobRow]:
        return reads.jobs(JobFilter(run=found.id, status=status, limit=_FEW)).jobs if has(found, status) else []

    net = reads.net(found.id)
    paused = _paused(reads, found, net)
    known = RunFacts(found, net, some("dead"), some("waiting"), some("running"), run_ender(reads, found.id), paused)
    return explain_run(known, around)


def _paused(reads: Reads, found: RunRow, net: Net) -> list[Standing]:
    """Return the queues that are paused and that stages of a run stand in."""
    stood = [name for name, counts in found.counts.items() if counts.get("queued") or counts.get("waiting")]
    queues = dict.fromkeys(net.nodes[name].stage.queue for name in stood if name in net.nodes)
    return [line for queue in queues if (line := standing(reads, queue)).paused_at is not None]


def queue(reads: Reads, name: str, around: Around) -> Explanation:
    """Explain a queue; one that has never had work is empty."""
    row = next((row for row in reads.queues() if row.name == name), None)
    row = row or QueueRow(name, paused=False, waiting=0, queued=0, running=0, oldest_queued_at=None)
    return explain_queue(QueueFacts(row, standing(reads, name)), around)


def schedule(reads: Reads, name: str, rows: Sequence[Mapping[str, Any]], around: Around) -> Explanation:
    """
    Explain a schedule.

    Args:
        rows: What the board says of it, one row for each of its clients.
    """
    known = [_facts(reads, row, around.now_ms) for row in rows]
    return explain_schedule(name, known, around)


def _facts(reads: Reads, row: Mapping[str, Any], now: int) -> ScheduleFacts:
    key = row["schedule"]
    fires = reads.fires(key, until=now, limit=SOME_FIRES)
    after = min([now - MISSED_MS, *(fire.due_at - 1 for fire in fires)])
    return ScheduleFacts(row, fires, reads.missed(key, after, now))
