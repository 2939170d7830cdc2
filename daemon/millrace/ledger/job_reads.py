"""All looks at jobs, by name: one of them with its history, and pages of those that are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.ledger.ids import first_id
from millrace.ledger.parse import as_attempt, as_event, as_job, in_brief
from millrace.ledger.reader import Reader
from millrace.ledger.rows import JobFilter, JobRow, Page
from millrace.ledger.seals import sealed
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from millrace.ledger.rows import AttemptRow, EventRow

_JOB_WITH: Final = """SELECT id, task, queue, client, status, reason, priority, attempt, max_attempts, failures,
  crashes, daemon_deaths, {payload}, {result}, CAST(error AS BLOB), key, run_id, stage, record, source_kind,
  source_name, correlation_id, created_at, queued_at, due_at, started_at, finished_at, duration_ms, cancel_by
  FROM job"""
_JOB: Final = _JOB_WITH.format(payload=f"CAST({sealed('payload')} AS BLOB)", result=f"CAST({sealed('result')} AS BLOB)")
_JOB_IN_BRIEF: Final = _JOB_WITH.format(
    payload=f"CAST({in_brief('payload')} AS BLOB)", result=f"CAST({in_brief('result')} AS BLOB)"
)
# Below this many rows the small partial index is sorted; above it the newest rows are soon found by walking the ids.
_FEW: Final = 20_000
_PARTIAL: Final = {"queued": "job_queued", "waiting": "job_waiting", "running": "job_running"}
_IN_STAGES: Final = """  -- how many jobs there are in those stages of a run that have some of a status
SELECT coalesce(sum(waiting + queued + running + succeeded + dead + cancelled), 0) FROM run_count
 WHERE run_id = ? AND {status} > 0"""
_NAMES: Final = ("task", "queue", "client")
_UNDONE: Final = frozenset({Status.DEAD, Status.CANCELLED})


class JobReads(Reader):
    """Looks at the jobs of one ledger; part of `Reads`."""

    def job(self, job_id: str) -> JobRow:
        """
        Return the job of an id or of a unique prefix of one.

        Raises: NotFound, which names the candidates if the prefix is not unique.
        """
        return as_job(self.of_prefix(_JOB, job_id, "job"), self._checked)

    def attempts(self, job_id: str) -> list[AttemptRow]:
        """Return the attempts of a job that are over, oldest first."""
        sql = """SELECT attempt, outcome, daemon, started_at, ended_at, duration_ms, CAST(error AS BLOB),
                   CAST(facts AS BLOB) FROM attempt WHERE job_id = ? ORDER BY attempt"""
        return [as_attempt(row) for row in self.rows(sql, (job_id,))]

    def events(self, job_id: str) -> list[EventRow]:
        """Return the decisions about a job, oldest first."""
        sql = "SELECT at, event, reason, actor, CAST(facts AS BLOB) FROM event WHERE job_id = ? ORDER BY id"
        return [as_event(row) for row in self.rows(sql, (job_id,))]

    def jobs(self, wanted: JobFilter, *, whole: bool = False) -> Page:
        """
        Return a page of jobs, newest first.

        Args:
            whole: Whether large values are wanted too: a page of them may have gigabytes. Else each is `{"$large": n}`.
        """
        conditions = {
            "task = ?": wanted.task, "queue = ?": wanted.queue, "client = ?": wanted.client,
            "run_id = ?": wanted.run, "created_at >= ?": wanted.since, "id < ?": wanted.after,
        }  # fmt: skip
        given = {sql: value for sql, value in conditions.items() if value is not None}
        if wanted.since is not None:  # ids sort by time: lets the walk end instead of filtering all history
            given["id >= ?"] = first_id(wanted.since)
        names = {name: value for name in _NAMES if (value := getattr(wanted, name)) is not None}
        of_status, index, values = self._of_status(wanted, names)
        where = " AND ".join([*given, *of_status]) or "TRUE"
        # The counters know how many there are at most: with the last of them the walk ends, and without any it is none.
        bound = f"min(?, ({_kept(wanted.status, names)}))" if names else "?"
        look, value = (_JOB, self._checked) if whole else (_JOB_IN_BRIEF, self._outline)
        sql = (
            f"{look}{index} WHERE {where} ORDER BY id DESC LIMIT {bound}"  # conditions of our own making, values bound
        )
        rows = self.rows(sql, (*given.values(), *values, wanted.limit + 1, *names.values()))
        jobs = [as_job(row, value) for row in rows[: wanted.limit]]
        return Page(jobs, jobs[-1].id if len(rows) > wanted.limit else None)

    def _of_status(self, wanted: JobFilter, names: dict[str, str]) -> tuple[list[str], str, Sequence[str]]:
        """Return the conditions for a status, a literal as a partial index needs it; the index to use; their values."""
        if wanted.status is None:
            return [], "", ()
        status = Status(wanted.status)
        if wanted.run is not None and status in _UNDONE:  # of 300,000 jobs of a run, only those that may be put back
            undone = "run_id IS NOT NULL AND status IN ('dead', 'cancelled')"
            return [f"{undone} AND +status = '{status}'"], " INDEXED BY job_undone", ()
        if wanted.run is not None and status in _PARTIAL:
            jobs = self.rows(_IN_STAGES.format(status=status), (wanted.run,))[0][0]
            if jobs <= self.status_counts()[status]:  # of a small run its own jobs, of a large one those that are open
                stages = f"stage IN (SELECT stage FROM run_count WHERE run_id = ? AND {status} > 0)"  # noqa: S608 - ours
                return [f"+status = '{status}'", stages], " INDEXED BY job_run", (wanted.run,)
        if status == Status.QUEUED and names:  # of a backlog of half a million, only the lanes that have such jobs
            lanes = f"(queue, client) IN (SELECT queue, client FROM tally WHERE queued > 0 AND {_all(names)})"  # noqa: S608
            queued = self.rows(f"SELECT coalesce(sum(queued), 0) FROM lane WHERE {lanes}", [*names.values()])[0][0]  # noqa: S608
            if queued <= _FEW:
                return [f"status = '{status}'", lanes], " INDEXED BY job_queued", [*names.values()]
        index = _PARTIAL.get(status, "")
        few = index and self.status_counts()[status] <= _FEW
        return [f"status = '{status}'"], f" INDEXED BY {index}" if few else "", ()

    def status_counts(self) -> dict[str, int]:
        """Return how many jobs there are in each status, from the counters."""
        columns = ", ".join(f"coalesce(sum({status}), 0)" for status in Status)
        counts = self.rows(f"SELECT {columns} FROM tally")[0]  # noqa: S608 - columns of our own making
        return {status.value: count for status, count in zip(Status, counts, strict=True)}


def _all(names: Collection[str]) -> str:
    return " AND ".join(f"{name} = ?" for name in names)


def _kept(status: str | None, names: Collection[str]) -> str:
    """Return a SELECT of how many jobs the ledger has of a task, queue or client, by the counters."""
    counted = " + ".join(Status if status is None else [Status(status)])
    return f"SELECT coalesce(sum({counted}), 0) FROM tally WHERE {_all(names)}"  # noqa: S608 - columns of our own making
