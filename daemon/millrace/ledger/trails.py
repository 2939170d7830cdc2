"""
Which jobs a difference of the balance is about. A row that has vanished has no id any more; what it left behind has:
its attempts, events, checkpoints, the place in its run. Read only once a difference is certain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.ledger.reads import Reads

FEW: Final = 20

# Only what is removed together with its job, or must not be removed while this stands: what stays behind by itself
# (a fire, a settled effect) says nothing.
_LEFT: Final = {
    "attempt": ("an attempt", ""),
    "event": ("an event", ""),
    "step": ("a step", ""),
    "progress": ("its progress", ""),
    "effect_wait": ("a wait for an effect", ""),
    "effect": ("an effect in doubt", "status IN ('begun', 'doubt') AND "),
}
_WITHOUT_ROW: Final = """  -- jobs of which a table still knows
SELECT DISTINCT job_id FROM {table} WHERE {which}NOT EXISTS (SELECT 1 FROM job WHERE id = job_id) LIMIT ?"""
_OF_STAGES: Final = """  -- stages of runs whose counters know of more jobs than there are rows; the rows by job_run
SELECT run_id, stage, counted, there FROM (
  SELECT run_id, stage, waiting + queued + running + succeeded + dead + cancelled AS counted,
    (SELECT count(*) FROM job WHERE job.run_id = run_count.run_id AND job.stage = run_count.stage) AS there
    FROM run_count)
 WHERE counted > there LIMIT ?"""
_UNCOUNTED: Final = """  -- jobs of a queue, client and task that no counter knows
SELECT id, 'no counter knows it' FROM job
 WHERE (queue, client, task) NOT IN (SELECT queue, client, task FROM tally) LIMIT ?"""


class Trail(NamedTuple):
    """
    What is known of a job that is not accounted for.

    Args:
        id: The job's; the run's where only its place in that is known.
        what: What tells of it.
    """

    id: str
    what: str

    def __str__(self) -> str:
        return f"{self.id} ({self.what})"


def trails(reads: Reads, limit: int = FEW) -> list[Trail]:
    """
    Return what is left of jobs whose rows are gone, and jobs that no counter knows; at most `limit`, each id once.

    It looks each attempt and event up: seconds where there are millions.
    """
    found: dict[str, Trail] = {}
    for trail in _all(reads, limit):
        found.setdefault(trail.id, trail)
        if len(found) == limit:
            break
    return list(found.values())


def _all(reads: Reads, limit: int) -> Iterator[Trail]:
    there = {name for (name,) in reads.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table, (left, which) in _LEFT.items():
        if table in there:  # a ledger that an older Millrace made lacks some until it is served
            for (job_id,) in reads.rows(_WITHOUT_ROW.format(table=table, which=which), (limit,)):
                yield Trail(job_id, f"no row, but {left}")
    for run_id, stage, counted, rows in reads.rows(_OF_STAGES, (limit,)) if "run_count" in there else ():
        yield Trail(run_id, f"run: {rows} of {counted} jobs of its stage {stage} have a row")
    for job_id, what in reads.rows(_UNCOUNTED, (limit,)):
        yield Trail(job_id, what)
