"""Checkpoints of named pieces of a job, written under the fence of the attempt that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.errors import LostClaim
from millrace.ledger.blob_rows import keep

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim
    from millrace.ledger.transaction import Transaction

_PUT: Final = """  -- keep a step's result, if the attempt still owns the job
INSERT INTO step (job_id, name, result, attempt, at)
SELECT id, ?1, ?2, attempt, ?3 FROM job WHERE id = ?4 AND attempt = ?5 AND status = 'running'
ON CONFLICT DO UPDATE SET result = excluded.result, attempt = excluded.attempt, at = excluded.at"""


def step_get(tx: Transaction, held: Claim, name: str) -> str | None:
    """Return the JSON text that a step of the job was checkpointed with, None if it was not."""
    found = tx.rows("SELECT result FROM step WHERE job_id = ? AND name = ?", (held.job_id, name))
    return found[0][0] if found else None


def step_put(tx: Transaction, held: Claim, name: str, result: str) -> None:
    """
    Checkpoint a step.

    Raises: LostClaim if the attempt no longer owns the job.
    """
    if tx.run(_PUT, (name, result, tx.now_ms, held.job_id, held.attempt)) != 1:
        msg = f"attempt {held.attempt} of job {held.job_id} no longer owns it; its step {name} is dropped"
        raise LostClaim(msg)
    keep(tx, result, held.job_id, held.client)
