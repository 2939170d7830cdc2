"""How far a running job says it is, under the fence of its attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.errors import LostClaim

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim
    from millrace.ledger.transaction import Transaction

_PUT: Final = """  -- how far a job is, if the attempt still owns it
INSERT INTO progress (job_id, done, total, started_at, at)
SELECT id, ?1, ?2, started_at, ?3 FROM job WHERE id = ?4 AND attempt = ?5 AND status = 'running'
ON CONFLICT DO UPDATE SET done = excluded.done, total = excluded.total, started_at = excluded.started_at,
  at = excluded.at"""


def progress(tx: Transaction, held: Claim, done: int, total: int | None) -> None:
    """
    Note how far a job is.

    Raises: LostClaim if the attempt no longer owns the job.
    """
    if tx.run(_PUT, (done, total, tx.now_ms, held.job_id, held.attempt)) != 1:
        msg = f"attempt {held.attempt} of job {held.job_id} no longer owns it; its progress is dropped"
        raise LostClaim(msg)
