"""From the ledger's tickets to the event loop: many requests wait for their commits, and no thread does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from millrace.errors import LedgerBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.ticket import Ticket

T = TypeVar("T")
COMMIT_S = 30.0


async def committed(ticket: Ticket[T]) -> T:
    """
    Return a ticket's result once its commit is on disk.

    Raises: What the unit raised; LedgerBusy if it takes longer than 30 s (it may still be committed later).
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake(_ticket: Ticket[T]) -> None:
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:  # the loop has ended meanwhile: nobody waits any more
            return

    ticket.then(wake)
    try:
        async with asyncio.timeout(COMMIT_S):
            await done.wait()
    except TimeoutError:
        msg = f"the ledger did not commit within {COMMIT_S:g} s: another process may hold its lock"
        raise LedgerBusy(msg) from None
    return ticket.wait(0)


async def aside(look: Callable[[], T]) -> T:
    """Run what may wait (a look at the ledger, a check in the site's own code) in one of the server's few threads."""
    return await asyncio.get_running_loop().run_in_executor(None, look)
