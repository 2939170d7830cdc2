"""The decisions about jobs that their rows and attempts do not show, each with who made it and on what facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.ledger.transaction import Transaction

_EVENT: Final = """  -- a decision, with the facts it was made on
INSERT INTO event (job_id, at, event, reason, actor, facts) VALUES (?, ?, ?, ?, ?, ?)"""

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str)


def record(
    tx: Transaction,
    job_id: str,
    event: str,
    actor: str,
    *,
    reason: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write an event of a job."""
    tx.run(_EVENT, (job_id, tx.now_ms, event, reason, actor, dump(facts) if facts else None))


def dump(value: object) -> str:
    """Return compact JSON for a column of facts."""
    return _ENCODER.encode(value)
