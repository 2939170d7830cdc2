"""
What somebody wants to see at once who looks at a run (its stages, what it works on, what died in it), or at a job of
one (the arguments that it is given).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.errors import NotFound, ValueDamaged
from millrace.ledger.rows import JobFilter, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.plan import PlanStage
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import JobRow, ProgressRow
    from millrace.ledger.run_rows import RunRow

_DEAD: Final = 20
_WORKING: Final = 5
_FEW: Final = 1000
_EMPTY: Final = "{}"  # the payload of a stage's job that was not made for a bad item


class RunView(NamedTuple):
    """
    A run as it stands.

    Args:
        stages: Those of its plan.
        dead, working, waiting: The newest few.
        results: What it has come to, JSON text by stage: the run's own last stages, those that no other one needs.
    """

    run: RunRow
    stages: Sequence[PlanStage]
    dead: Sequence[JobRow]
    working: Sequence[tuple[JobRow, ProgressRow | None]]
    waiting: Sequence[JobRow]
    results: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the contract's run, with its stages, what it came to, the newest that died, and what it works on."""
        return {
            **self.run.as_json(),
            "stages": [{"name": stage.name, "kind": stage.kind, "scope": stage.fanout} for stage in self.stages],
            "results": {name: value_of(text) for name, text in self.results.items()},
            "dead": [_dead(job) for job in self.dead],
            "working": [
                {"id": job.id, "stage": job.stage, "record": job.record, "progress": p.as_json() if p else None}
                for job, p in self.working
            ],
            "waiting": [{**_dead(job), "reason": job.reason} for job in self.waiting],
        }


def view_run(reads: Reads, run_id: str) -> RunView:
    """
    Return a run as it stands.

    Args:
        run_id: Its id, or a unique start of it.
    Raises: NotFound.
    """
    run = reads.run(run_id)
    dead = reads.jobs(JobFilter(run=run.id, status="dead", limit=_DEAD)).jobs if has(run, "dead") else []
    running = reads.jobs(JobFilter(run=run.id, status="running", limit=_WORKING)).jobs if has(run, "running") else []
    working = [(job, reads.progress(job.id)) for job in running]
    waits = sum(of_stage.get("waiting", 0) for of_stage in run.counts.values())
    # A few that wait have a cause of their own, such as a failure; many wait for their turn, and cost a walk.
    few = 0 < waits <= _FEW
    waiting = reads.jobs(JobFilter(run=run.id, status="waiting", limit=_WORKING)).jobs if few else []
    stages = reads.plan(run.id).stages
    return RunView(run, stages, dead, working, waiting, _results(reads, run.id, stages))


def _results(reads: Reads, run_id: str, stages: Sequence[PlanStage]) -> dict[str, str]:
    followed = {name for stage in stages for name in stage.waits}
    own = [stage.name for stage in stages if stage.fanout is None and stage.kind != "fanout"]
    last = [name for name in own if name not in followed]
    return {name: text for name in last if (text := reads.outcome(run_id, name)) is not None}


def has(run: RunRow, status: str) -> bool:
    """Whether any stage of a run has jobs of a status, by its counters."""
    return any(of_stage.get(status) for of_stage in run.counts.values())


def _dead(job: JobRow) -> dict[str, Any]:
    return {
        "id": job.id,
        "stage": job.stage,
        "record": job.record,
        "error": job.error.as_json() if job.error else None,
    }


def with_arguments(reads: Reads, job: JobRow) -> JobRow:
    """
    Return a job as somebody wants to see it: that of a stage with the arguments that it is given, not the empty payload
    that it has. What comes to it as results is not among them; a bad item is its own payload. A job whose run is gone
    is shown all the same, with that in the place of the arguments.
    """
    if job.run_id is None or job.stage is None:
        return job
    try:
        stage = next((one for one in reads.plan(job.run_id).stages if one.name == job.stage), None)
        if stage is None or (stage.kind == "fanout" and job.record is not None):
            return job
        inputs = json.loads(reads.run_inputs(job.run_id))
        given = {name: inputs[name] for name in stage.inputs if name in inputs}
        given |= {name: json.loads(text) for name, text in reads.arguments(job.run_id, job.stage, job.record).items()}
    except ValueDamaged as error:
        given = {"$damaged": str(error)}
    except NotFound:
        if job.payload != _EMPTY:
            return job
        given = {"$damaged": f"its run {job.run_id} is missing in the ledger, and so is what it was to be called with"}
    return replace(job, payload=json.dumps(given, ensure_ascii=False, separators=(",", ":")))
