"""
What follows in run scope, and what a run comes to. Both are told from the rows and counters as they stand, not from
what just happened, so that a resume asks the very same question as the finish of a job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.events import RunEnded
from millrace.ledger import editions, siblings, stage_jobs
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from millrace.ledger.net import Node
    from millrace.ledger.run_counts import Book
    from millrace.ledger.siblings import Settled
    from millrace.ledger.transaction import Transaction

_FANOUT: Final = """  -- a fan-out has emitted nothing yet
INSERT INTO fanout (run_id, stage, position, chain, records) VALUES (?, ?, 0, '', 0)"""
_END: Final = """  -- nothing of the run is open, and nothing can come of it any more
UPDATE run SET status = ?, finished_at = ?, cancel_at = NULL WHERE id = ? AND status = 'running'"""
_LOST: Final = frozenset({Status.DEAD, Status.CANCELLED})


def advance(tx: Transaction, book: Book) -> None:
    """Create the run's own jobs that have become possible, collects among them, and note what the run passes by."""
    for node in book.net.of_run:
        if _may_open(book, node) and siblings.of_run(tx, book, node) is None:
            states = _states(tx, book, node)
            editions.drop_dead(tx, book, node)  # one that died after it had been asked to end
            if siblings.passed_by(book.net, node, states):
                stage_jobs.skip_run(tx, book, node)
            elif len(states) == len(node.outer):
                stage_jobs.create(tx, book, node, [book.place(node)])
                if node.stage.kind == "fanout":
                    tx.run(_FANOUT, (book.run_id, node.name))


def _may_open(book: Book, node: Node) -> bool:
    """Return, from the counters alone, whether it is worth a look: nothing that it is a barrier for is open."""
    if node.name in book.skipped or (not node.edited and any(book.counts[node.name])):
        return False
    if node.edited and (book.resuming or book.open([node.name])):
        return False  # it would collect without those that are put back next, or beside the edition before
    if node.outer and not any(name in book.skipped or book.count(name, Status.SUCCEEDED) for name in node.outer):
        return any(book.net.fanout_of(name) for name in node.outer) and _closed(book, node)
    return _closed(book, node)


def _closed(book: Book, node: Node) -> bool:
    return not any(book.open(behind) for name in node.outer if (behind := book.net.behind[name]))


def _states(tx: Transaction, book: Book, node: Node) -> dict[str, Settled]:
    """Return how what a stage waits for is settled, so far as it is."""
    states: dict[str, Settled] = {}
    for name in node.outer:
        if name in book.skipped:
            states[name] = None
            continue
        # A barrier stands on its fan-out's own job: that of its records nothing is open was seen before.
        found = siblings.of_run(tx, book, book.net.nodes[book.net.fanout_of(name) or name])
        if found is not None and found[0] == Status.SUCCEEDED:
            states[name] = found[1]
    return states


def settle(tx: Transaction, book: Book) -> None:
    """End the run if nothing of it is open."""
    if book.status != "running" or book.resuming or book.open():
        return
    book.status = _outcome(tx, book)
    tx.run(_END, (book.status, tx.now_ms, book.run_id))
    duration_s = max(0, tx.now_ms - book.created_at) / 1000
    tx.changes.ended.append(
        RunEnded(book.run_id, book.pipeline, book.client, book.status, book.edition, duration_s, book.correlation_id)
    )


def _outcome(tx: Transaction, book: Book) -> str:
    if book.cancelled:
        return "cancelled"
    lost = [name for name in book.counts if any(book.count(name, status) for status in _LOST)]
    own = [node for node in book.net.of_run if node.name in lost]
    if any((found := siblings.of_run(tx, book, node)) and found[0] in _LOST for node in own):
        return "failed"
    return "partial" if any(book.net.fanout_of(name) for name in lost) else "succeeded"
