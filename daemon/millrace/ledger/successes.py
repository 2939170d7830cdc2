"""
Many successes in two statements. A busy daemon ends thousands of attempts a second and nearly all of them alike; one
by one each costs the writer four statements, and as many turns of the interpreter's lock, which job threads want too.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import LostClaim
from millrace.ledger.accept import checksum
from millrace.ledger.flow import Ended as StageEnded
from millrace.ledger.flow import ended as move_on
from millrace.ledger.history import dump
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.finish import End
    from millrace.ledger.rows import Claim
    from millrace.ledger.transaction import Transaction

    Ended = tuple[Claim, End, str]  # the claim, how it ended, in whose name

_SIZES: Final = (64, 16, 4, 1)  # few forms, so that each stays prepared


@cache
def _update(size: int) -> str:
    return f"""  -- the guarded ends of attempts that succeeded
WITH ended (id, attempt, at, ms, result, hash) AS (VALUES {_values(size, 6)})
UPDATE job SET status = 'succeeded', reason = NULL, finished_at = ended.at, duration_ms = ended.ms,
  result = ended.result, result_hash = ended.hash, daemon = NULL, cancel_by = NULL
  FROM ended WHERE job.id = ended.id AND job.attempt = ended.attempt AND +job.status = 'running'
RETURNING 1"""  # noqa: S608 - made of our own text; the plus keeps the planner on the ids


@cache
def _history(size: int) -> str:
    return f"""  -- the attempts that are over
INSERT INTO attempt (job_id, attempt, outcome, daemon, started_at, ended_at, duration_ms, facts)
VALUES {_values(size, 8)}"""  # noqa: S608 - made of our own text


def _values(rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)


def succeed_together(tx: Transaction, ended: Sequence[Ended]) -> list[Status]:
    """
    End attempts that succeeded, and move the runs of stages' jobs on.

    Returns: Their jobs' new status, one each.
    Raises: LostClaim if one of them no longer owns its job; nothing may then be kept of the others either.
    """
    place = 0
    while place < len(ended):
        size = next(size for size in _SIZES if size <= len(ended) - place)
        _succeed(tx, ended[place : place + size])
        place += size
    stages = [
        StageEnded(held.run_id, held.stage, held.record, Status.SUCCEEDED, end.result)
        for held, end, _ in ended
        if held.run_id is not None and held.stage is not None
    ]
    if stages:
        move_on(tx, stages)
    return [Status.SUCCEEDED] * len(ended)


def _succeed(tx: Transaction, ended: Sequence[Ended]) -> None:
    moves: list[tuple[Any, ...]] = []
    history: list[tuple[Any, ...]] = []
    for held, end, daemon in ended:
        ms = round(end.duration_s * 1000)
        digest = None if end.result is None else checksum(end.result)
        facts = dump(end.facts) if end.facts else None
        moves.append((held.job_id, held.attempt, tx.now_ms, ms, end.result, digest))
        history.append((held.job_id, held.attempt, "succeeded", daemon, held.started_at, tx.now_ms, ms, facts))
    changed = tx.rows(_update(len(ended)), tuple(chain.from_iterable(moves)))
    if len(changed) != len(ended):
        raise LostClaim("one of these attempts no longer owns its job")
    tx.run(_history(len(ended)), tuple(chain.from_iterable(history)))
    for held, _, _ in ended:
        tx.moved((held.queue, held.client, held.task), Status.RUNNING, Status.SUCCEEDED)
        tx.runs.moved(held.run_id, held.stage, Status.RUNNING, Status.SUCCEEDED)
