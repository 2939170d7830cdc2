"""What has become of other stages of a run: the looks that a join and a barrier need."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Final

from millrace.ledger.blobs import reference
from millrace.ledger.stage_jobs import pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.ledger.net import Net, Node
    from millrace.ledger.run_counts import Book
    from millrace.ledger.transaction import Transaction

# How a stage was settled: the label that a route answered, "" for any other success, None when it was skipped.
Settled = str | None

_OF_RUN: Final = """  -- the run's own job of a stage; served by job_run
SELECT status, CASE WHEN ?4 THEN result END FROM job
 WHERE run_id = ?1 AND stage = ?2 AND coalesce(record, '') = coalesce(?3, '')"""


@cache
def _of_records(size: int) -> str:
    wanted = ", ".join(f"(?{place})" for place in range(4, 4 + size))
    return f"""  -- which records have a stage behind them; served by job_run
WITH wanted (record) AS (VALUES {wanted})
SELECT wanted.record, CASE WHEN ?3 THEN job.result END
  FROM wanted CROSS JOIN job
    ON job.run_id = ?1 AND job.stage = ?2 AND coalesce(job.record, '') = wanted.record
 WHERE +job.status = 'succeeded'"""  # noqa: S608 - made of our own text; the plus keeps the planner on job_run


@cache
def _skips(size: int) -> str:
    wanted = ", ".join(f"?{place}" for place in range(3, 3 + size))
    return f"""  -- which records passed a stage by
SELECT record FROM skip WHERE run_id = ?1 AND stage = ?2 AND record IN ({wanted})"""  # noqa: S608


def of_records(tx: Transaction, book: Book, name: str, records: Sequence[str]) -> dict[str, Settled]:
    """Return how a stage was settled for each of these records for which it is."""
    found: dict[str, Settled] = {}
    route = book.net.nodes[name].stage.kind == "route"
    for some in pieces(records):
        for record, result in tx.rows(_of_records(len(some)), (book.run_id, name, route, *some)):
            found[record] = label(result)
    if book.count(name, "skipped") and len(found) < len(records):
        missing = [record for record in records if record not in found]
        for some in pieces(missing):
            rows = tx.rows(_skips(len(some)), (book.run_id, name, *map(int, filter(None, some))))
            found |= dict.fromkeys(str(row[0]) for row in rows)
    return found


def of_run(tx: Transaction, book: Book, node: Node) -> tuple[str, str] | None:
    """Return the status of the run's own job of a stage in its present edition, and a route's label; None: no job."""
    values = (book.run_id, node.name, book.place(node), node.stage.kind == "route")
    found = tx.rows(_OF_RUN, values)
    return (found[0][0], label(found[0][1])) if found else None


def label(result: str | None) -> str:
    """Return the label that a route's result says, "" if it is none."""
    if result is None or reference(result) is not None:  # no branch has a label of that size
        return ""
    answer = json.loads(result)
    return answer if isinstance(answer, str) else ""


def of_outer(tx: Transaction, book: Book, node: Node) -> dict[str, Settled]:
    """Return how the run's own stages that a record's stage waits for are settled: before the first record, all are."""
    states: dict[str, Settled] = {}
    for name in node.outer:
        found = None
        if name not in book.skipped and node.gate and node.gate.route == name:
            found = of_run(tx, book, book.net.nodes[name])
        states[name] = None if name in book.skipped else found[1] if found else ""
    return states


def passed_by(net: Net, node: Node, states: Mapping[str, Settled]) -> bool:
    """
    Return whether a stage is passed by, whatever else comes: another branch was taken, or what it needs was skipped.

    Args:
        states: How what it waits for is settled so far.
    """
    if any(states.get(name, "") is None for name in node.required):
        return True
    gate = node.gate
    if gate is None or gate.route not in states:
        return False
    answer = states[gate.route]
    return answer is None or not net.takes(gate, answer)
