"""The decisions about jobs that their rows and attempts do not show, each with who made it and on what facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.ledger.transaction import Transaction

_EVENT: Final = """  -- a decision, with the facts it was made on
INSERT INTO event (job_id, at, event, reason, actor, facts) VALUES (?, ?, ?, ?, ?, ?)"""

# Facts that are times, in UTC epoch milliseconds as all times of the ledger.
_TIMES: Final = frozenset({"until", "from", "to", "expires_at", "daemon_heard_at"})

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


def shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts as people and programs get them: times as RFC 3339, all else as it is stored."""
    return {
        name: rfc3339(value) if name in _TIMES and isinstance(value, int) else value for name, value in facts.items()
    }
