"""Large values on their way into the ledger: into files first, then their references to the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from millrace.errors import LedgerError, LedgerFull
from millrace.ledger.blobs import Blobs, is_large, reference
from millrace.ledger.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def parcel(blobs: Blobs, values: Sequence[str], hand_in: Callable[[Sequence[str]], Ticket[T]]) -> Ticket[T]:
    """
    Write what is large into files, in the thread that brings it, and hand in the rest with the references.

    Args:
        values: JSON texts.
        hand_in: Is given the values, or the references in their place, and hands a unit to the writer.
    Returns: Its ticket; one that has failed already if a file could not be written. Files of a unit that failed are
        removed.
    """
    names: list[str] = []
    kept: list[str] = []
    try:
        for value in values:
            large = is_large(value)
            kept.append(blobs.put(value) if large else value)
            if large and (found := reference(kept[-1])) is not None:
                names.append(found.name)
    except LedgerError as error:
        blobs.discard(names)
        refused: Ticket[T] = Ticket()
        refused.settle(None, error)
        return refused
    ticket = hand_in(kept)
    if names:
        ticket.then(lambda done: _clear(blobs, names, done.error))
    return ticket


def _clear(blobs: Blobs, names: Sequence[str], error: BaseException | None) -> None:
    if _undone(error):
        blobs.discard(names)


def _undone(error: BaseException | None) -> bool:
    """Return whether a unit is known to have left nothing; after a failed disk it may be there after all."""
    return error is not None and (isinstance(error, LedgerFull) or not isinstance(error, LedgerError))
