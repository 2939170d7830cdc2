"""
The conservation proof, kept fresh: the counters are compared at every look, the rows in the background, since reading
a million of them is nothing that a request should wait for.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.clock import SYSTEM, Clock
from millrace.events import ConservationBroken, ignore
from millrace.ledger.recount import Recount
from millrace.ledger.trails import trails

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.events import Emit
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import Balance


PAUSE_S: Final = 0.005  # between two pieces, so that the count never keeps a core from requests


class _Checked(NamedTuple):
    balance: Balance
    trails: list[str]
    at_monotonic: float
    took_s: float


class ConservationCheck:
    """
    Compares what was accepted with what became of it.

    Args:
        reads: Looks at the ledger.
        emit: Hears of a difference, once for each that is new.
        orphans: What the search for jobs that nobody moves found last.
    """

    def __init__(
        self,
        reads: Reads,
        *,
        clock: Clock = SYSTEM,
        emit: Emit = ignore,
        orphans: Callable[[], dict[str, Any]] = lambda: {"count": 0},
    ) -> None:
        self._reads = reads
        self._clock = clock
        self._emit = emit
        self._orphans = orphans
        self._last: _Checked | None = None
        self._told = 0
        self.trouble: str | None = None  # why the last comparison, or the search for orphans, failed

    def refresh(self, end: threading.Event | None = None) -> Balance:
        """
        Compare the counters with the rows, all of them in short reads; only what looks wrong is counted in one moment.

        Args:
            end: Ends the count early; what was known stays.
        """
        began = self._clock.monotonic()
        balance = self._counted(end or threading.Event())
        new = balance.difference != self._told
        if not balance.difference:
            found = []
        elif new or self._last is None:
            found = [str(trail) for trail in trails(self._reads)]
        else:
            found = self._last.trails
        now = self._clock.monotonic()
        self._last = _Checked(balance, found, now, now - began)
        if balance.difference and new:
            self._emit(ConservationBroken(balance.difference, "; ".join(balance.details[:10]), "; ".join(found)))
        self._told = balance.difference
        return balance

    def _counted(self, end: threading.Event) -> Balance:
        count = Recount(self._reads, self._clock.now_ms())
        for _ in count.pieces():
            if self._clock.wait(end, PAUSE_S):
                return self._last.balance if self._last else self._reads.balance(count_rows=False)
        return self._reads.balance(count_rows=count.suspicious())

    def difference(self) -> int:
        """Return how many jobs are unaccounted for: by the counters now, or by the rows when they were last read."""
        counted = self._reads.balance(count_rows=False).difference
        return max(counted, self._last.balance.difference if self._last else 0)

    def figures(self) -> dict[str, Any]:
        """Return the balance now, and what the last comparison with the rows found."""
        balance = self._reads.balance(count_rows=False)
        figures: dict[str, Any] = {**balance.as_json(), "rows": None, "orphans": self._orphans()}
        figures["trouble"] = self.trouble
        if self._last is not None:
            figures["rows"] = {
                "difference": self._last.balance.difference,
                "details": self._last.balance.details[:10],
                "ids": self._last.trails,
                "age_s": round(self._clock.monotonic() - self._last.at_monotonic, 1),
                "took_s": round(self._last.took_s, 3),
            }
            figures["difference"] = max(balance.difference, self._last.balance.difference)
        return figures
