"""
The rows counted in pieces, each a short read, for a ledger that works on meanwhile. A job that moves while it is
counted changes its status, never that it is there: so the sums of rows are exact, and those of statuses where nothing
moved. What looks wrong is only a suspicion, which one look at a single moment must confirm.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import apsw

from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import Tally

Key = tuple[str, str, str]  # queue, client, task
Counts = Counter[tuple[str, str, str, str]]  # with the status

PIECE: Final = 4_000
FRESH_MS: Final = 5_000  # ids of this age and younger may still come in the order of several processes: counted last

_SOME: Final = """  -- the next rows, in the order of their ids
SELECT queue, client, task, status, count(*), max(id) FROM (
  SELECT id, queue, client, task, status FROM job WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3)
 GROUP BY 1, 2, 3, 4"""
_REST: Final = """  -- the rows that are left
SELECT queue, client, task, status, count(*) FROM job WHERE id > ? GROUP BY 1, 2, 3, 4"""


class Recount:
    """
    One count of all rows.

    Args:
        now_ms: The wall clock, UTC epoch milliseconds.
        piece: Rows in a piece, ≥ 1.
    """

    def __init__(self, reads: Reads, now_ms: int, *, piece: int = PIECE) -> None:
        self._reads = reads
        self._piece = piece
        self._before = {_key(tally): tally for tally in reads.tallies()}
        fresh = max(0, now_ms - FRESH_MS)
        self._until = f"{fresh >> 16:08x}-{fresh & 0xFFFF:04x}"
        self._last = ""
        self._counts: Counts = Counter()

    def pieces(self) -> Iterator[int]:
        """Count a piece at a time; yield how many rows it had."""
        while True:
            rows = self._reads.rows(_SOME, (self._last, self._until, self._piece))
            self._add(rows)
            count = sum(row[4] for row in rows)
            yield count
            if count < self._piece:
                return
            self._last = max(row[5] for row in rows)

    def suspicious(self) -> bool:
        """Count the rest together with the counters, in one moment; return whether the two seem to differ."""
        connection = self._reads.connection()
        try:
            connection.execute("BEGIN")
            try:
                self._add(self._reads.rows(_REST, (self._until,)))
                after = {_key(tally): tally for tally in self._reads.tallies()}
            finally:
                connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise self._reads.blame(error) from error
        counted = {key[:3] for key in self._counts}
        return bool(counted - after.keys()) or any(self._differs(key, tally) for key, tally in after.items())

    def _differs(self, key: Key, tally: Tally) -> bool:
        before = self._before.get(key)
        if before is not None and before.pruned != tally.pruned:
            return False  # rows went while they were counted: the next count tells
        found = {status: self._counts[(*key, status.value)] for status in Status}
        if before == tally and any(found[status] != getattr(tally, status) for status in Status):
            return True
        return tally.difference != 0 or sum(found.values()) != tally.accepted - tally.pruned

    def _add(self, rows: Sequence[Any]) -> None:
        for queue, client, task, status, count, *_ in rows:
            self._counts[queue, client, task, status] += count


def _key(tally: Tally) -> Key:
    return tally.queue, tally.client, tally.task
