"""
Many successes in two statements. A busy daemon ends thousands of attempts a second and nearly all of them alike; one
by one each costs the writer four statements, and as many turns of the interpreter's lock, which job threads want too.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import LostClaim
from millrace.ledger.blob_rows import keep
from millrace.ledger.flow import Ended as StageEnded
from millrace.ledger.flow import ended as move_on
from millrace.ledger.history import dump
from millrace.ledger.seals import checksum
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.finish import End
    from millrace.ledger.rows import Claim
    from millrace.ledger.transaction import Transaction

    Ended = tuple[Claim, End, str]  # the claim, how it ended, in whose name

_MOVE: Final = 6  # values that change a job, in `_update`
_PAST: Final = 8  # and that make its attempt history, in `_history`


@cache
def _update(size: int) -> str:
    # The plus keeps the planner on the ids. RETURNING would cost a turn of the interpreter's lock for each row.
    return f"""  -- the guarded ends of attempts that succeeded
WITH ended (id, attempt, at, ms, result, hash) AS (VALUES {_values(size, _MOVE)})
UPDATE job SET status = 'succeeded', reason = NULL, finished_at = ended.at, duration_ms = ended.ms,
  result = ended.result, result_hash = ended.hash, daemon = NULL, cancel_by = NULL
  FROM ended WHERE job.id = ended.id AND job.attempt = ended.attempt AND +job.status = 'running'"""  # noqa: S608 - made of our own text


@cache
def _history(size: int) -> str:
    return f"""  -- the attempts that are over
INSERT INTO attempt (job_id, attempt, outcome, daemon, started_at, ended_at, duration_ms, facts)
SELECT * FROM (VALUES {_values(size, _PAST)}) WHERE column1 IS NOT NULL"""  # noqa: S608 - made of our own text


def _values(rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)


def succeed_together(tx: Transaction, ended: Sequence[Ended]) -> list[Status]:
    """
    End attempts that succeeded, and move the runs of stages' jobs on.

    Returns: Their jobs' new status, one each.
    Raises: LostClaim if one of them no longer owns its job; nothing may then be kept of the others either.
    """
    moves: list[Any] = []
    history: list[Any] = []
    for held, end, daemon in ended:
        ms = round(end.duration_s * 1000)
        digest = None if end.result is None else checksum(end.result)
        facts = dump(end.facts) if end.facts else None
        moves += (held.job_id, held.attempt, tx.now_ms, ms, end.result, digest)
        history += (held.job_id, held.attempt, "succeeded", daemon, held.started_at, tx.now_ms, ms, facts)
    # Few forms, so that each stays prepared: the next power of two, filled up with rows that are nobody's.
    size = 1 << (len(ended) - 1).bit_length()
    if tx.run(_update(size), _padded(moves, size * _MOVE)) != len(ended):
        raise LostClaim("one of these attempts no longer owns its job")
    tx.run(_history(size), _padded(history, size * _PAST))
    for held, end, _ in ended:
        keep(tx, end.result, held.job_id, held.client)
    alike = Counter((held.queue, held.client, held.task, held.run_id, held.stage) for held, _, _ in ended)
    for (queue, client, task, run_id, stage), number in alike.items():
        tx.moved((queue, client, task), Status.RUNNING, Status.SUCCEEDED, number)
        tx.runs.moved(run_id, stage, Status.RUNNING, Status.SUCCEEDED, number)
    stages = [
        StageEnded(held.run_id, held.stage, held.record, Status.SUCCEEDED, end.result)
        for held, end, _ in ended
        if held.run_id is not None and held.stage is not None
    ]
    if stages:
        move_on(tx, stages)
    return [Status.SUCCEEDED] * len(ended)


def _padded(values: list[Any], length: int) -> tuple[Any, ...]:
    return (*values, *repeat(None, length - len(values)))
