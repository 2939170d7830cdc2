"""
Where a queued job stands in its line, and who holds the line up: bounded looks along the index that claims use, so that
the answer costs the same before ten jobs and before a million.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import JobRow

MOST: Final = 10_000  # jobs ahead that are counted; beyond that, "more than" is all that anybody wants to know

_PAUSE: Final = """  -- since when a queue is paused, and by whom
SELECT at, actor FROM pause WHERE queue = ?"""
_LANES: Final = """  -- who has work in a queue, those furthest behind first
SELECT client, waiting, queued, running, vtime FROM lane
 WHERE queue = ? AND waiting + queued + running > 0 ORDER BY vtime, client"""
_HIGHER: Final = f"""  -- those of its lane with a higher priority; served by job_queued
SELECT count(*) FROM (SELECT 1 FROM job WHERE status = 'queued' AND queue = ? AND client = ? AND priority > ?
  LIMIT {MOST})"""  # noqa: S608 - our own number
_EARLIER: Final = f"""  -- those of its lane and priority that were there before; served by job_queued
SELECT count(*) FROM (SELECT 1 FROM job WHERE status = 'queued' AND queue = ? AND client = ? AND priority = ?
  AND (queued_at, id) < (?, ?) LIMIT {MOST})"""  # noqa: S608 - our own number
_RUNNING: Final = """  -- what has run longest in a queue; served by job_running
SELECT id, task, started_at FROM job INDEXED BY job_running
 WHERE status = 'running' AND queue = ? ORDER BY started_at LIMIT 1"""
_RUN_ENDER: Final = """  -- who asked for the end of a run
SELECT cancel_by FROM run WHERE id = ?"""


class Lane(NamedTuple):
    """The open work of one client in a queue. `vtime` is how much it was served: the lowest is the next."""

    client: str
    waiting: int
    queued: int
    running: int
    vtime: float


class Standing(NamedTuple):
    """
    A queue as somebody finds it who waits in it.

    Args:
        paused_at, paused_by: Since when it is paused (UTC epoch ms), and by whom; None if it is not.
        lanes: Who has work in it, in the order in which they are served next.
        longest: The job that has run longest: id, task and start.
    """

    queue: str
    paused_at: int | None
    paused_by: str | None
    lanes: tuple[Lane, ...]
    longest: tuple[str, str, int] | None

    @property
    def running(self) -> int:
        """How many of its jobs run."""
        return sum(lane.running for lane in self.lanes)

    @property
    def queued(self) -> int:
        """How many of its jobs could be claimed."""
        return sum(lane.queued for lane in self.lanes)

    @property
    def waiting(self) -> int:
        """How many of its jobs wait for a time or a cause."""
        return sum(lane.waiting for lane in self.lanes)


class Place(NamedTuple):
    """
    How many jobs stand before one, each number up to MOST.

    Args:
        higher: Of its own client, with a higher priority.
        earlier: Of its own client and priority, that were there before.
    """

    higher: int
    earlier: int


def standing(reads: Reads, queue: str) -> Standing:
    """Return a queue as somebody finds it who waits in it."""
    paused = reads.rows(_PAUSE, (queue,))
    at, actor = paused[0] if paused else (None, None)
    lanes = tuple(Lane(*row) for row in reads.rows(_LANES, (queue,)))
    longest = reads.rows(_RUNNING, (queue,)) if any(lane.running for lane in lanes) else []
    return Standing(queue, at, actor, lanes, longest[0] if longest else None)


def place(reads: Reads, job: JobRow) -> Place:
    """Return how many jobs of its own client stand before a queued one."""
    higher = reads.rows(_HIGHER, (job.queue, job.client, job.priority))[0][0]
    earlier = reads.rows(_EARLIER, (job.queue, job.client, job.priority, job.queued_at, job.id))[0][0]
    return Place(higher, earlier)


def run_ender(reads: Reads, run_id: str) -> str | None:
    """Return who asked for the end of a run; None if nobody did."""
    found = reads.rows(_RUN_ENDER, (run_id,))
    return found[0][0] if found else None
