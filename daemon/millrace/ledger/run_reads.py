"""
All looks at runs, by name. A look at a run costs the same for ten records and for a million: what is shown comes from
counters, and what is read in order is read along the index that has that order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import NotFound
from millrace.ledger import arguments
from millrace.ledger.net import net_of
from millrace.ledger.parse import as_run, in_brief
from millrace.ledger.reader import Reader
from millrace.ledger.rows import ProgressRow
from millrace.ledger.run_rows import RunFilter, RunPage, RunRow
from millrace.ledger.seals import sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from millrace.ledger.net import Net
    from millrace.ledger.parse import Whole
    from millrace.ledger.plan import Plan

_RUN_WITH: Final = """SELECT id, pipeline, client, status, {inputs}, edition, source_kind, source_name, correlation_id,
  key, created_at, finished_at, cancel_by FROM run"""
_RUN: Final = _RUN_WITH.format(inputs=f"CAST({sealed('inputs', 'run')} AS BLOB)")
_RUN_IN_BRIEF: Final = _RUN_WITH.format(inputs=f"CAST({in_brief('inputs')} AS BLOB)")
_INPUTS: Final = f"SELECT {sealed('inputs', 'run')} FROM run WHERE id = ?"  # noqa: S608 - our own text
_COUNTED: Final = ("waiting", "queued", "running", "succeeded", "dead", "cancelled", "skipped")
_COUNTS: Final = f"SELECT stage, {', '.join(_COUNTED)} FROM run_count WHERE run_id = ? ORDER BY stage"  # noqa: S608
_FANOUT: Final = "(SELECT id FROM fanout WHERE run_id = ?1 AND stage = ?2)"
_OUTCOME: Final = """  -- the newest value of the run's own stage, unless a later edition skipped it; served by job_run
SELECT result FROM job WHERE run_id = ?1 AND stage = ?2 AND +status = 'succeeded'
   AND coalesce(CAST(substr(record, 2) AS INTEGER), 1) >
     coalesce((SELECT -min(record) FROM skip WHERE run_id = ?1 AND stage = ?2 AND record < 0), 0)
 ORDER BY length(coalesce(record, '')) DESC, coalesce(record, '') DESC LIMIT 1"""
_ITEMS: Final = f"""  -- a fan-out's items, in their order
SELECT number, item FROM record WHERE fanout = {_FANOUT} AND number > ?3 ORDER BY number LIMIT ?4"""  # noqa: S608
# A job's number is text, and so is its index: the order comes from the records, and nothing is sorted. (Not a CAST: its
# affinity would have to be applied to what is in the index, which then could not serve.)
_RESULTS: Final = f"""  -- a stage's values in the order of the records
SELECT record.number, {arguments.SEALED} FROM record CROSS JOIN job
    ON job.run_id = ?1 AND job.stage = ?5 AND coalesce(job.record, '') = record.number || ''
 WHERE record.fanout = {_FANOUT} AND record.number > ?3 AND +job.status = 'succeeded'
 ORDER BY record.number LIMIT ?4"""  # noqa: S608 - our own text
_MOST_RUNS: Final = 1000


class RunReads(Reader):
    """Looks at the runs of one ledger; part of `Reads`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._plans: dict[str, str] = {}  # the id of each run's plan, which never changes

    def run(self, run_id: str) -> RunRow:
        """
        Return the run of an id or of a unique prefix of one.

        Raises: NotFound, which names the candidates if the prefix is not unique.
        """
        return self._with_counts(self.of_prefix(_RUN, run_id, "run"), self._checked)

    def runs(self, wanted: RunFilter, *, whole: bool = False) -> RunPage:
        """
        Return a page of runs, newest first.

        Args:
            whole: Whether large inputs are wanted too. Else each is `{"$large": n}`.
        """
        conditions = {
            "pipeline = ?": wanted.pipeline, "client = ?": wanted.client, "status = ?": wanted.status,
            "created_at >= ?": wanted.since, "id < ?": wanted.after,
        }  # fmt: skip
        given = {sql: value for sql, value in conditions.items() if value is not None}
        where = " AND ".join(given) or "TRUE"
        look, value = (_RUN, self._checked) if whole else (_RUN_IN_BRIEF, self._outline)
        sql = f"{look} WHERE {where} ORDER BY id DESC LIMIT ?"  # conditions of our own making, values bound
        rows = self.rows(sql, (*given.values(), wanted.limit + 1))
        runs = [self._with_counts(row, value) for row in rows[: wanted.limit]]
        return RunPage(runs, runs[-1].id if len(rows) > wanted.limit else None)

    def open_runs(self) -> int:
        """Return how many runs are not over. Served by run_open."""
        return int(self.rows("SELECT count(*) FROM run WHERE status = 'running'")[0][0])

    def _with_counts(self, row: tuple[Any, ...], value: Whole) -> RunRow:
        counts = {
            stage: {name: number for name, number in zip(_COUNTED, numbers, strict=True) if number}
            for stage, *numbers in self.rows(_COUNTS, (row[0],))
        }
        records = dict(self.rows("SELECT stage, records FROM fanout WHERE run_id = ? ORDER BY stage", (row[0],)))
        return as_run(row, counts, records, value)

    def plan(self, run_id: str) -> Plan:
        """
        Return the graph that a run follows.

        Raises: NotFound if there is no such run.
        """
        return self.net(run_id).plan

    def net(self, run_id: str) -> Net:
        """
        Return the graph that a run follows, made ready for looking up.

        Raises: NotFound if there is no such run.
        """
        plan_id = self._plans.get(run_id)
        if plan_id is None:
            plan_id = self._of_run("SELECT plan FROM run WHERE id = ?", run_id, run_id)
            if len(self._plans) >= _MOST_RUNS:
                self._plans.clear()
            self._plans[run_id] = plan_id
        return net_of(plan_id, lambda: self._of_run("SELECT text FROM plan WHERE id = ?", plan_id, run_id))

    def _of_run(self, sql: str, value: str, run_id: str) -> str:
        found = self.rows(sql, (value,))
        if not found:
            msg = f"no run {run_id}"
            raise NotFound(msg)
        return str(found[0][0])

    def run_inputs(self, run_id: str) -> str:
        """
        Return the inputs of a run, JSON text of an object.

        Raises: NotFound if there is no such run; ValueDamaged.
        """
        text = self._of_run(_INPUTS, run_id, run_id)
        return self.whole(unsealed(text, "what a run was started with"))

    def arguments(self, run_id: str, stage: str, record: str | None) -> dict[str, str]:
        """
        Return the values that a stage's job gets from other stages.

        Args:
            record: As the job has it: a number, `@` and an edition, or None.
        Returns: JSON text by the name of the need; without those that were skipped, and those that come as results.
        Raises: ValueDamaged if one of them is lost.
        """
        found = arguments.of_job(self.rows, self.net(run_id), run_id, stage, record)
        return {name: self.whole(text) for name, text in found.items()}

    def outcome(self, run_id: str, stage: str) -> str | None:
        """
        Return the newest value of a stage of the run's own, as JSON text for people to see.

        None if there is none, or a later edition skipped the stage.

        Args:
            stage: One that does not run for each record.
        """
        found = self.rows(_OUTCOME, (run_id, stage))
        return self._shown(found[0][0]) if found else None

    def results(self, run_id: str, stage: str, after: int, limit: int) -> list[tuple[int, str]]:
        """
        Return the values that a stage has for its records, in their order; those of a fan-out are its items.

        Args:
            after: The number of the record after which to begin, ≥ 0.
            limit: How many at most, ≥ 1.
        Returns: The number of each record, and JSON text.
        Raises: ValueDamaged if one of them is lost.
        """
        fanout = self.net(run_id).fanout_of(stage)
        if fanout == stage:
            rows = self.rows(_ITEMS, (run_id, fanout, after, limit))
        else:
            found = self.rows(_RESULTS, (run_id, fanout, after, limit, stage))
            rows = [(number, unsealed(text, f"a value of {stage}")) for number, text in found]
        return [(number, self.whole(text)) for number, text in rows]

    def results_head(self, run_id: str, stage: str) -> tuple[int, int, int]:
        """
        Return how many records have a value of a stage, how many are missing, and how many passed it by.

        What is missing died or was cancelled, there or on the way there, or was bad to begin with.
        """
        fanout = self.net(run_id).fanout_of(stage)
        sql = "SELECT position, records FROM fanout WHERE run_id = ? AND stage = ?"
        found = self.rows(sql, (run_id, fanout))
        position, records = found[0] if found else (0, 0)
        if fanout == stage:
            return records, position - records, 0
        sql = "SELECT succeeded, skipped FROM run_count WHERE run_id = ? AND stage = ?"
        succeeded, skipped = next(iter(self.rows(sql, (run_id, stage))), (0, 0))
        return succeeded, max(0, position - succeeded - skipped), skipped

    def passed_by(self, run_id: str, stage: str) -> bool:
        """Return whether the run passed a stage by as a whole, and not for single records."""
        sql = "SELECT 1 FROM skip WHERE run_id = ? AND stage = ? AND record < 0 LIMIT 1"
        return bool(self.rows(sql, (run_id, stage)))

    def runs_of(self, job_ids: Sequence[str]) -> list[str]:
        """Return the runs that jobs belong to. Served by the jobs' ids."""
        sql = """SELECT DISTINCT run_id FROM job
          WHERE id IN (SELECT value FROM json_each(?)) AND run_id IS NOT NULL"""
        return [row[0] for row in self.rows(sql, (json.dumps(job_ids),))]

    def runs_to_cancel(self, limit: int = 100) -> list[str]:
        """Return runs whose cancellation has jobs left to look at. Served by run_cancel."""
        sql = "SELECT id FROM run WHERE cancel_at IS NOT NULL LIMIT ?"
        return [row[0] for row in self.rows(sql, (limit,))]

    def runs_to_resume(self, limit: int = 100) -> dict[str, int]:
        """Return runs of which somebody has put back only a part, and how many are undone. Served by run_resume."""
        sql = """SELECT id, (SELECT sum(dead + cancelled) FROM run_count WHERE run_id = run.id)
          FROM run WHERE resume_at IS NOT NULL LIMIT ?"""
        return dict(self.rows(sql, (limit,)))

    def progress(self, job_id: str) -> ProgressRow | None:
        """Return how far a job says it is; None if it has not said."""
        found = self.rows("SELECT done, total, started_at, at FROM progress WHERE job_id = ?", (job_id,))
        return ProgressRow(*found[0]) if found else None
