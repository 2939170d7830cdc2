"""
The arguments of a stage's job, gathered from what the stages before it came to: a value is stored once, with the job
that returned it, and handed on as text. In the daemon, before the job begins: a child never reads the ledger. Small
values come with the claim, those of all claims in one look; others are looked up here.

The code may be another one than that with which the run began. What it does not ask for any more is left out, and an
input that came later has its default. Other names that it asks for may come back, so that such a job is parked.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from millrace.define.payload import result_json
from millrace.define.stage import Stage
from millrace.errors import PayloadError, Problem
from millrace.ledger.blobs import is_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.define.pipeline import Pipeline
    from millrace.define.stage import Need
    from millrace.define.task import Task
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import Claim


def gathered(held: Claim, task: Task[..., Any], reads: Reads) -> Claim:
    """
    Return the claim with the payload that its function is called with; that of a plain task as it is.

    Raises: PayloadError that names each parameter which the run has nothing for; ValueDamaged if a large value is lost;
        LedgerError.
    """
    if not isinstance(task, Stage) or held.run_id is None or (task.kind == "fanout" and held.record is not None):
        # A bad item that is tried once more is its own payload.
        return held._replace(payload=reads.whole(held.payload)) if is_reference(held.payload) else held
    planned, inputs = reads.net(held.run_id).given[task.stage], _inputs(reads, held.run_id, task.pipeline)
    strange = [need for need in task.needs if planned.get(need.name) is not need.results and need.name not in inputs]
    if strange:
        raise PayloadError([_problem(need, task, planned) for need in strange])
    if held.given is None:
        values = reads.arguments(held.run_id, task.stage, held.record)
    else:
        values = {name: reads.whole(text) for name, text in held.given.items()}
    known = {**inputs, **values}
    return held._replace(payload=_object({need.name: known[need.name] for need in task.needs if need.name in known}))


def _problem(need: Need, stage: Stage[..., Any], planned: Mapping[str, bool]) -> Problem:
    """Say of a parameter why the run has nothing for it."""
    where = f"payload.{need.name}"
    if need.name in stage.pipeline.inputs:
        return Problem(where, "is an input that its run was not given", "give it a default")
    if need.name in planned:
        asked, has = ("all records' values", "one") if need.results else ("one value", "all records'")
        return Problem(where, f"is {asked}, and {has} in the plan that its run began with")
    asked_for = {one.name for one in stage.needs}
    gone = [f'"{name}"' for name in planned if name not in asked_for]
    hint = f"the plan has {' and '.join(gone)}, which is not asked for any more" if gone else None
    return Problem(where, "is not in the plan that its run began with", hint)


def _object(members: dict[str, str]) -> str:
    """Return the JSON object of members that are JSON text already: they may be large, and are not read here."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"  # names are Python's


@lru_cache(maxsize=32)
def _inputs(reads: Reads, run_id: str, pipeline: Pipeline) -> dict[str, str]:
    """
    Return the JSON text of each input of a run, those that came later among them by their defaults. They never change,
    and every job of a run may want them.
    """
    given = {**pipeline.given.defaults, **json.loads(reads.run_inputs(run_id))}
    return {name: result_json(value) for name, value in given.items()}
