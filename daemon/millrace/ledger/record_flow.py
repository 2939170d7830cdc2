"""
What follows within the records of one fan-out. Each stage is looked at for all records of the batch at once, in the
order of the graph, so that two siblings which finish together make their follower once, and a skip reaches all that
hangs on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.ledger import siblings, stage_jobs

if TYPE_CHECKING:
    from millrace.ledger.net import Node
    from millrace.ledger.run_counts import Book
    from millrace.ledger.siblings import Settled
    from millrace.ledger.transaction import Transaction

News = dict[str, dict[str, "Settled"]]  # by stage, by record: how it was settled just now


def advance(tx: Transaction, book: Book, fanout: str, news: News) -> None:
    """
    Create what has become possible for records, and note what they pass by.

    Args:
        news: What was settled since; an item of the fan-out itself counts as settled. Skips are added to it.
    """
    for node in book.net.of_fanout[fanout]:
        created, skipped = _sorted(tx, book, node, news)
        if created:
            stage_jobs.create(tx, book, node, created)
        if skipped:
            fresh = stage_jobs.skip(tx, book, node, skipped)
            news.setdefault(node.name, {}).update(dict.fromkeys(fresh))


def _sorted_by_one(
    book: Book, node: Node, outer: dict[str, Settled], settled: dict[str, Settled]
) -> tuple[list[str], list[str]]:
    """Do that for a stage that waits for a single other one: what was settled alike is answered once."""
    passed = {
        how: siblings.passed_by(book.net, node, outer | {node.inner[0]: how}) for how in dict.fromkeys(settled.values())
    }
    created = [record for record, how in settled.items() if not passed[how]]
    skipped = [record for record, how in settled.items() if passed[how]]
    return created, skipped


def _touched(node: Node, news: News) -> list[str]:
    """Return the records for which something that a stage waits for was settled just now."""
    return list(dict.fromkeys(record for name in node.inner for record in news.get(name, ())))


def _sorted(tx: Transaction, book: Book, node: Node, news: News) -> tuple[list[str], list[str]]:
    """Return the records for which a stage has become possible, and those that pass it by."""
    outer = siblings.of_outer(tx, book, node)
    if siblings.passed_by(book.net, node, outer):  # by the run as a whole: by each item at once, whatever becomes of it
        return [], list(news.get(node.stage.fanout or "", ()))
    if len(node.inner) == 1:
        return _sorted_by_one(book, node, outer, news.get(node.inner[0], {}))
    records = _touched(node, news)
    inner = {name: _known(tx, book, name, records, news.get(name, {})) for name in node.inner}
    created: list[str] = []
    skipped: list[str] = []
    for record in records:
        states = outer | {name: known[record] for name, known in inner.items() if record in known}
        if siblings.passed_by(book.net, node, states):
            skipped.append(record)
        elif len(states) == len(outer) + len(inner):
            created.append(record)
    return created, skipped


def _known(tx: Transaction, book: Book, name: str, records: list[str], news: dict[str, Settled]) -> dict[str, Settled]:
    """Return how a stage is settled for records: what is new, and what the ledger knows of the others."""
    missing = [record for record in records if record not in news]
    return news | siblings.of_records(tx, book, name, missing) if missing else news
