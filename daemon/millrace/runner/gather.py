"""
The arguments of a stage's job, gathered from what the stages before it came to: a value is stored once, with the job
that returned it, and handed on as text. In the daemon, before the job begins: a child never reads the ledger. Small
values come with the claim, those of all claims in one look; others are looked up here.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from millrace.define.payload import result_json
from millrace.define.stage import Stage
from millrace.ledger.blobs import is_reference

if TYPE_CHECKING:
    from millrace.define.task import Task
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import Claim


def gathered(held: Claim, task: Task[..., Any], reads: Reads) -> Claim:
    """
    Return the claim with the payload that its function is called with; that of a plain task as it is.

    Raises: ValueDamaged if a large value is lost; LedgerError.
    """
    if not isinstance(task, Stage) or held.run_id is None or (task.kind == "fanout" and held.record is not None):
        # A bad item that is tried once more is its own payload.
        return held._replace(payload=reads.whole(held.payload)) if is_reference(held.payload) else held
    if held.given is None:
        values = reads.arguments(held.run_id, task.stage, held.record)
    else:
        values = {name: reads.whole(text) for name, text in held.given.items()}
    inputs = _inputs(reads, held.run_id)
    given = {need.name: text for need in task.needs if (text := inputs.get(need.name)) is not None}
    return held._replace(payload=_object({**given, **values}))


def _object(members: dict[str, str]) -> str:
    """Return the JSON object of members that are JSON text already: they may be large, and are not read here."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"  # names are Python's


@lru_cache(maxsize=32)
def _inputs(reads: Reads, run_id: str) -> dict[str, str]:
    """Return the JSON text of each input of a run. They never change, and every job of a run may want them."""
    return {name: result_json(value) for name, value in json.loads(reads.run_inputs(run_id)).items()}
