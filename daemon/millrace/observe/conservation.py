"""
The conservation proof, kept fresh: the counters are compared at every look, the rows in the background, since reading
a million of them is nothing that a request should wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.clock import SYSTEM, Clock
from millrace.events import ConservationBroken, ignore

if TYPE_CHECKING:
    from millrace.events import Emit
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import Balance


class _Checked(NamedTuple):
    balance: Balance
    at_monotonic: float
    took_s: float


class ConservationCheck:
    """
    Compares what was accepted with what became of it.

    Args:
        reads: Looks at the ledger.
        emit: Hears of a difference, once for each that is new.
    """

    def __init__(self, reads: Reads, *, clock: Clock = SYSTEM, emit: Emit = ignore) -> None:
        self._reads = reads
        self._clock = clock
        self._emit = emit
        self._last: _Checked | None = None
        self._told = 0

    def refresh(self) -> Balance:
        """Compare the counters with the rows, which reads all of them; upkeep calls this every few minutes."""
        began = self._clock.monotonic()
        balance = self._reads.balance(count_rows=True)
        now = self._clock.monotonic()
        self._last = _Checked(balance, now, now - began)
        if balance.difference and balance.difference != self._told:
            self._emit(ConservationBroken(balance.difference, "; ".join(balance.details[:10])))
        self._told = balance.difference
        return balance

    def difference(self) -> int:
        """Return how many jobs are unaccounted for: by the counters now, or by the rows when they were last read."""
        counted = self._reads.balance(count_rows=False).difference
        return max(counted, self._last.balance.difference if self._last else 0)

    def figures(self) -> dict[str, Any]:
        """Return the balance now, and what the last comparison with the rows found."""
        balance = self._reads.balance(count_rows=False)
        figures: dict[str, Any] = {**balance.as_json(), "rows": None}
        if self._last is not None:
            figures["rows"] = {
                "difference": self._last.balance.difference,
                "details": self._last.balance.details[:10],
                "age_s": round(self._clock.monotonic() - self._last.at_monotonic, 1),
                "took_s": round(self._last.took_s, 3),
            }
            figures["difference"] = max(balance.difference, self._last.balance.difference)
        return figures
