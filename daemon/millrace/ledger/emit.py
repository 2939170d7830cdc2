"""
The fan-out's side of the ledger: a chunk of its items, the jobs they make possible and how far it has come are one
transaction, so that a crash anywhere costs no item and doubles none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from millrace.errors import LostClaim
from millrace.ledger import flow, record_flow
from millrace.ledger.blob_rows import keep
from millrace.ledger.ids import new_id
from millrace.ledger.seals import checksum
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.net import Node
    from millrace.ledger.rows import Claim
    from millrace.ledger.run_counts import Book
    from millrace.ledger.run_rows import Item
    from millrace.ledger.siblings import Settled
    from millrace.ledger.transaction import Transaction

_OWNED: Final = """  -- whether the attempt still owns the fan-out's job, and nobody asked for its end
SELECT cancel_by IS NULL FROM job WHERE id = ? AND attempt = ? AND status = 'running'"""
_POSITION: Final = """  -- how far the fan-out has come, fenced by how far it had
UPDATE fanout SET position = ?1, chain = ?2, records = records + ?3 WHERE run_id = ?4 AND stage = ?5 AND position = ?6
RETURNING id"""
_STATE: Final = """  -- how far a fan-out has come
SELECT position, chain FROM fanout WHERE run_id = ? AND stage = ?"""
_RECORD: Final = """  -- one good item
INSERT INTO record (fanout, number, item) VALUES (?, ?, ?)"""
_BAD: Final = """  -- the dead letter of a bad item, under its number
INSERT INTO job (id, task, queue, client, status, priority, attempt, max_attempts, failures, crashes, daemon_deaths,
  payload, payload_hash, error, run_id, stage, record, source_kind, source_name, correlation_id, created_at, queued_at,
  finished_at)
VALUES (?1, ?2, ?3, ?4, 'dead', ?5, 0, ?6, 0, 0, 0, ?7, ?8, ?9, ?10, ?11, ?12, 'stage', ?13, ?14, ?15, ?15, ?15)"""


def emit(tx: Transaction, held: Claim, items: Sequence[Item], *, position: int, chain: str, begun: int) -> bool:
    """
    Write items that a fan-out brought, with all that they make possible.

    Args:
        position: How many items the fan-out has taken from its source with these, ≥ `begun`.
        chain: The hash chain over all of them.
        begun: How many it had taken before these; the first of them has the number `begun` + 1.
    Returns: Whether to go on. If not, the attempt should end as waiting for `limit`: the backlog is above its bound,
        or the end of the run was asked for (then nothing of this was written, and it comes again).
    Raises: LostClaim if the attempt no longer owns the job, or another has written these items.
    """
    lost = LostClaim(f"attempt {held.attempt} of job {held.job_id} no longer owns it; what it emitted is dropped")
    owned = tx.rows(_OWNED, (held.job_id, held.attempt))
    book = tx.runs.book(held.run_id) if held.run_id else None
    if not owned or book is None or held.stage not in book.net.of_fanout:
        raise lost
    if book.cancelled or not owned[0][0]:
        return False
    node = book.net.nodes[held.stage]
    if position != begun + len(items):
        msg = f"{len(items)} items do not lead from {begun} to {position}"
        raise ValueError(msg)
    good = [(number, item.text) for number, item in enumerate(items, begun + 1) if item.text is not None]
    bad = [(number, item) for number, item in enumerate(items, begun + 1) if item.text is None]
    moved = tx.rows(_POSITION, (position, chain, len(good), held.run_id, node.name, begun))
    if not moved:
        raise lost
    tx.connection.executemany(_RECORD, [(moved[0][0], number, text) for number, text in good])
    for _, text in good:
        keep(tx, text, book.run_id, book.client)
    _bury(tx, book, node, bad)
    news: dict[str, Settled] = {str(number): "" for number, _ in good}
    record_flow.advance(tx, book, node.name, {node.name: news})
    return flow.backlog(book, node.name) <= book.net.plan.bound


def _bury(tx: Transaction, book: Book, node: Node, bad: Sequence[tuple[int, Item]]) -> None:
    """Write the dead letters of bad items."""
    stage = node.stage
    rows = []
    for number, item in bad:
        job_id, payload = new_id(tx.now_ms), item.payload if item.payload is not None else payload_of(item)
        keep(tx, payload, job_id, book.client)
        error = json.dumps(item.problem.as_json(), separators=(",", ":")) if item.problem else None
        rows.append((
            job_id, stage.task, stage.queue, book.client, book.priority, stage.max_attempts, payload,
            checksum(payload), error, book.run_id, stage.name, str(number), book.pipeline, book.correlation_id,
            tx.now_ms,
        ))  # fmt: skip
    if rows:
        tx.connection.executemany(_BAD, rows)
        lane = (stage.queue, book.client, stage.task)
        tx.count(lane, "accepted", len(rows))
        tx.count(lane, Status.DEAD, len(rows))
        tx.runs.add(book.run_id, stage.name, Status.DEAD, len(rows))


def texts_of(items: Sequence[Item]) -> list[str]:
    """Return what is kept of each item: its text, or the payload of its dead letter."""
    return [item.text if item.text is not None else payload_of(item) for item in items]


def with_texts(items: Sequence[Item], texts: Sequence[str]) -> list[Item]:
    """Return the items with what is kept of each in the form in which it is kept."""
    return [
        item._replace(payload=text) if item.text is None else item if item.text is text else item._replace(text=text)
        for item, text in zip(items, texts, strict=True)
    ]


def payload_of(bad: Item) -> str:
    """Return the payload of the dead letter of a bad item."""
    # Not more than ASCII: a bad item may hold what no text can, half a character pair for one.
    return json.dumps({"item": bad.raw}, separators=(",", ":"), default=str)


def fanout_state(tx: Transaction, held: Claim) -> tuple[int, str]:
    """Return how many items a fan-out has taken from its source, and their hash chain, "" before the first."""
    found = tx.rows(_STATE, (held.run_id, held.stage))
    return (found[0][0], found[0][1]) if found else (0, "")
