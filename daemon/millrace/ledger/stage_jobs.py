"""The rows of stage jobs: how a run's next jobs, and the skips beside them, are written, many in one statement."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from millrace.ledger.ids import new_ids
from millrace.ledger.seals import checksum
from millrace.ledger.states import FINAL, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.ledger.net import Node
    from millrace.ledger.run_counts import Book
    from millrace.ledger.transaction import Transaction

# Few forms, so that each stays prepared. What all rows share is bound once.
_SIZES: Final = (64, 16, 4, 1)
_SHARED: Final = 12
_NO_PAYLOAD: Final = "{}"  # its arguments are gathered from upstream when it runs: a value is stored once
_NO_PAYLOAD_HASH: Final = checksum(_NO_PAYLOAD)


@cache
def _insert(size: int) -> str:
    rows = ", ".join(
        f"(?{place}, ?1, ?2, ?3, ?4, ?5, 0, ?6, 0, 0, 0, '{_NO_PAYLOAD}', '{_NO_PAYLOAD_HASH}', ?7, ?8, ?{place + 1},"
        " 'stage', ?9, ?10, ?11, ?11, ?12)"
        for place in range(_SHARED + 1, _SHARED + 1 + 2 * size, 2)
    )
    return f"""  -- the jobs of a stage that have become possible
INSERT INTO job (id, task, queue, client, status, priority, attempt, max_attempts, failures, crashes, daemon_deaths,
  payload, payload_hash, run_id, stage, record, source_kind, source_name, correlation_id, created_at, queued_at,
  finished_at)
VALUES {rows}"""  # noqa: S608 - made of our own text


@cache
def _skip(size: int) -> str:
    rows = ", ".join(f"(?1, ?2, ?{place})" for place in range(3, 3 + size))
    return f"""  -- the records that pass a stage by; none that did before
INSERT INTO skip (run_id, stage, record) VALUES {rows} ON CONFLICT DO NOTHING
RETURNING record"""  # noqa: S608 - made of our own text


def pieces(records: Sequence[str | None]) -> Iterator[Sequence[str | None]]:
    """Cut into the sizes for which statements are kept prepared."""
    place = 0
    while place < len(records):
        size = next(size for size in _SIZES if size <= len(records) - place)
        yield records[place : place + size]
        place += size


def create(tx: Transaction, book: Book, node: Node, records: Sequence[str | None]) -> None:
    """
    Write the jobs of a stage for some of its records.

    In a run that is cancelled they are born cancelled: a resume finds them, and need not ask what would have followed.
    """
    stage = node.stage
    status = Status.CANCELLED if book.cancelled else Status.QUEUED
    shared = (
        stage.task, stage.queue, book.client, status.value, book.priority, stage.max_attempts, book.run_id, stage.name,
        book.pipeline, book.correlation_id, tx.now_ms, tx.now_ms if status in FINAL else None,
    )  # fmt: skip
    ids = iter(new_ids(tx.now_ms, len(records)))  # all at once: each call of `new_id` gives up the interpreter's lock
    for some in pieces(records):
        values = [value for record in some for value in (next(ids), record)]
        tx.run(_insert(len(some)), (*shared, *values))
    lane = (stage.queue, book.client, stage.task)
    tx.count(lane, "accepted", len(records))
    tx.count(lane, status, len(records))
    tx.runs.add(book.run_id, stage.name, status, len(records))
    if status is Status.QUEUED:
        tx.changes.queued.add(stage.queue)


def skip(tx: Transaction, book: Book, node: Node, records: Sequence[str]) -> list[str]:
    """Note that records pass a stage by; return those for which that is news."""
    news: list[str] = []
    for some in pieces(records):
        rows = tx.rows(_skip(len(some)), (book.run_id, node.name, *map(int, filter(None, some))))
        news += [str(row[0]) for row in rows]
    if news:
        tx.runs.add(book.run_id, node.name, "skipped", len(news))
    return news


def skip_run(tx: Transaction, book: Book, node: Node) -> None:
    """Note that the run passes a stage by, and with a fan-out all that runs for its records."""
    for one in (node, *book.net.of_fanout.get(node.name, ())):
        if tx.rows(_skip(1), (book.run_id, one.name, -book.editions[one.name])):
            tx.runs.add(book.run_id, one.name, "skipped")
        book.skipped.add(one.name)
