"""
The one place where the end of a stage's job moves its run on, in the transaction of that end. What runs of one batch
have in common is done once: a thousand jobs that succeed together are a few statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.ledger import record_flow, run_flow
from millrace.ledger.siblings import label
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from millrace.ledger.record_flow import News
    from millrace.ledger.run_counts import Book
    from millrace.ledger.transaction import Transaction

_RECORD: Final = """  -- a bad item that was put right has become a record
INSERT INTO record (fanout, number, item) SELECT id, ?3, ?4 FROM fanout WHERE run_id = ?1 AND stage = ?2"""
_COUNT: Final = """  -- one more good item
UPDATE fanout SET records = records + 1 WHERE run_id = ? AND stage = ?"""
_WAKE: Final = """  -- a fan-out that paused for the backlog after it goes on; served by job_run
UPDATE job SET status = 'queued', reason = NULL, due_at = NULL, queued_at = ?1
 WHERE run_id = ?2 AND stage = ?3 AND coalesce(record, '') = '' AND +status = 'waiting' AND reason = 'limit'
   AND due_at IS NULL
RETURNING queue, client, task"""


class Ended(NamedTuple):
    """A job of a stage that has ended for good, with the result of a success."""

    run_id: str
    stage: str
    record: str | None
    status: Status
    result: str | None


def ended(tx: Transaction, jobs: Sequence[Ended]) -> None:
    """Move the runs on of jobs that have ended; their counters know it already."""
    by_run: dict[str, list[Ended]] = {}
    for job in jobs:
        by_run.setdefault(job.run_id, []).append(job)
    for run_id, some in by_run.items():
        book = tx.runs.book(run_id)
        if book is not None:
            _records(tx, book, some)
            proceed(tx, book, {fanout for name in {job.stage for job in some} if (fanout := book.net.fanout_of(name))})


def _records(tx: Transaction, book: Book, jobs: Sequence[Ended]) -> None:
    """Create what follows for the records of jobs that succeeded."""
    news: dict[str, News] = {}
    places = {name: (book.net.nodes.get(name), book.net.fanout_of(name)) for name in {job.stage for job in jobs}}
    for job in jobs:
        node, fanout = places[job.stage]
        if node is None or fanout is None or job.record is None or job.status is not Status.SUCCEEDED:
            continue
        if node.stage.kind == "fanout":
            tx.run(_RECORD, (book.run_id, node.name, int(job.record), job.result))
            tx.run(_COUNT, (book.run_id, node.name))
        settled = label(job.result) if node.stage.kind == "route" else ""
        news.setdefault(fanout, {}).setdefault(node.name, {})[job.record] = settled
    for fanout, some in news.items():
        record_flow.advance(tx, book, fanout, some)


def proceed(tx: Transaction, book: Book, fanouts: Iterable[str] = ()) -> None:
    """Do what may have become possible in a run as it stands: its own jobs, its paused fan-outs, its end."""
    for fanout in fanouts:
        wake(tx, book, fanout)
    if not book.cancelled:
        run_flow.advance(tx, book)
    run_flow.settle(tx, book)


def paused(tx: Transaction, run_id: str, stage: str) -> None:
    """Let a fan-out that has just paused go on at once, if the backlog after it is gone already."""
    book = tx.runs.book(run_id)
    if book is not None and stage in book.net.of_fanout:
        wake(tx, book, stage)


def wake(tx: Transaction, book: Book, fanout: str) -> None:
    """Let a paused fan-out go on once fewer than half of its bound are open."""
    if book.count(fanout, Status.WAITING) and not book.cancelled and 2 * backlog(book, fanout) < book.net.plan.bound:
        for queue, client, task in tx.rows(_WAKE, (tx.now_ms, book.run_id, fanout)):
            tx.moved((queue, client, task), Status.WAITING, Status.QUEUED)
            tx.runs.moved(book.run_id, fanout, Status.WAITING, Status.QUEUED)
            tx.changes.queued.add(queue)


def backlog(book: Book, fanout: str) -> int:
    """Return how many jobs of a fan-out's records are open."""
    return book.open(node.name for node in book.net.of_fanout[fanout])
