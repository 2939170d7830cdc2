"""Idempotency keys of runs: which run has one. Asked where a run is started, and where somebody only looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.errors import KeyConflict
from millrace.ledger.seals import checksum

if TYPE_CHECKING:
    from millrace.ledger.arguments import Look
    from millrace.ledger.run_rows import NewRun

_KNOWN: Final = """  -- the run that an idempotency key belongs to; served by run_key
SELECT id, pipeline, inputs_hash FROM run WHERE client = ? AND key = ?"""


def known_run(look: Look, new: NewRun) -> str | None:
    """
    Return the run that was started before under the key of a new one; None if there is none.

    Raises: KeyConflict if it is one of another pipeline or with other inputs.
    """
    found = look(_KNOWN, (new.client, new.key)) if new.key is not None else []
    if not found:
        return None
    run_id, pipeline, digest = found[0]
    if (pipeline, digest) != (new.pipeline, checksum(new.inputs)):
        what = "other inputs" if pipeline == new.pipeline else f"pipeline {pipeline}"
        msg = f'key "{new.key}" was used before with {what}, by run {run_id}: use a new key, or send the same again'
        raise KeyConflict(msg, run_id=run_id)
    return str(run_id)
