"""How moves reach the writer: large values in files before their unit, and what somebody decided in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from millrace.ledger import audit
from millrace.ledger.parcels import parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from millrace.ledger.blobs import Blobs
    from millrace.ledger.ticket import Ticket
    from millrace.ledger.transaction import Transaction
    from millrace.ledger.writer import Writer

T = TypeVar("T")


class Handing:
    """Hands units to the writer of one ledger; `moves.Moves` consists of such parts."""

    def __init__(self, writer: Writer, blobs: Blobs | None = None) -> None:
        self._writer = writer
        self._blobs = blobs

    def _parcel(self, values: Sequence[str], hand_in: Callable[[Sequence[str]], Ticket[T]]) -> Ticket[T]:
        return hand_in(values) if self._blobs is None else parcel(self._blobs, values, hand_in)

    def _act(
        self,
        actor: str,
        action: str,
        subject: str,
        unit: Callable[[Transaction], T],
        facts: dict[str, Any] | None = None,
    ) -> Ticket[T]:
        """Do what somebody decided, and write it into the audit log: both or neither."""

        def act(tx: Transaction) -> T:
            result = unit(tx)
            audit.write(tx, actor, action, subject, facts)
            return result

        return self._writer.submit(act)
