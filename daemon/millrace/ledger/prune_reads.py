"""What a retention would remove, looked up beside the writer: none of it holds the write lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.ledger.prune import RUN_MARK
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from millrace.ledger.reads import Reads

# For the dead and the cancelled there are small indexes; of what succeeded the oldest lie at the front of the table.
_INDEX: Final = {Status.DEAD: " INDEXED BY job_dead", Status.CANCELLED: " INDEXED BY job_cancelled"}
_OLD_RUN: Final = """finished_at < ?1 AND status <> 'running'
   AND (finished_at < ?2 OR NOT EXISTS (SELECT 1 FROM run_count WHERE run_id = run.id AND dead > 0))"""


class Pages(NamedTuple):
    """The pages of the database: how many, how many of them are free, and the bytes of one."""

    total: int
    free: int
    size: int

    @property
    def used_bytes(self) -> int:
        """Bytes that hold something."""
        return (self.total - self.free) * self.size


class PruneReads:
    """Looks for one retention."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def old_jobs(self, status: Status, before: int, after: str, limit: int) -> tuple[list[str], str | None]:
        """
        Return jobs without a run that ended before a time, with an id beyond `after`, oldest first.

        Returns: Their ids, and where to go on; None at the end.
        """
        sql = f"""SELECT id, run_id IS NULL AND finished_at < ?1, created_at >= ?1 FROM job{_INDEX.get(status, "")}
                   WHERE status = '{status}' AND id > ?2 ORDER BY id LIMIT ?3"""  # noqa: S608 - our own text
        rows = self._reads.rows(sql, (before, after, limit))
        # Jobs that were made since cannot have ended before: the look ends there instead of reading all there is.
        more = len(rows) == limit and not rows[-1][2]
        return [row[0] for row in rows if row[1]], rows[-1][0] if more else None

    def count_jobs(self, status: Status, before: int) -> int:
        """Return how many jobs without a run ended before a time. Reads them all."""
        sql = f"SELECT count(*) FROM job WHERE status = '{status}' AND run_id IS NULL AND finished_at < ?"  # noqa: S608
        return int(self._reads.rows(sql, (before,))[0][0])

    def old_runs(self, before: int, dead_before: int, after: str, limit: int) -> list[str]:
        """
        Return runs that ended before a time, oldest first, beyond an id; those with dead jobs only if before
        `dead_before`.
        """
        sql = f"SELECT id FROM run WHERE {_OLD_RUN} AND id > ?3 ORDER BY id LIMIT ?4"  # noqa: S608 - our own text
        return [row[0] for row in self._reads.rows(sql, (before, dead_before, after, limit))]

    def count_runs(self, before: int, dead_before: int) -> tuple[int, int]:
        """Return how many runs those are, and how many jobs they have."""
        sql = f"""SELECT count(*), coalesce(sum((SELECT sum(succeeded + dead + cancelled) FROM run_count
                    WHERE run_id = run.id)), 0) FROM run WHERE {_OLD_RUN}"""  # noqa: S608 - our own text
        runs, jobs = self._reads.rows(sql, (before, dead_before))[0]
        return int(runs), int(jobs)

    def half_runs(self) -> list[str]:
        """Return runs whose row is gone and whose rest is not."""
        rows = self._reads.rows("SELECT key FROM meta WHERE key >= ? AND key < ?", (RUN_MARK, RUN_MARK[:-1] + "/"))
        return [str(row[0]).removeprefix(RUN_MARK) for row in rows]

    def count_audit(self, before: int) -> int:
        """Return how many rows of the audit log are older than a time."""
        return int(self._reads.rows("SELECT count(*) FROM audit WHERE at < ?", (before,))[0][0])

    def pages(self) -> Pages:
        """Return how large the database is, and how much of it is free."""
        names = ("page_count", "freelist_count", "page_size")
        return Pages(*(int(self._reads.rows(f"PRAGMA {name}")[0][0]) for name in names))
