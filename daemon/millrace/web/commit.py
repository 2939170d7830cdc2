"""From the ledger's tickets to the event loop: many requests wait for their commits, and no thread does."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

from millrace.errors import LedgerBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.ticket import Ticket

T = TypeVar("T")
COMMIT_S: Final = 30.0


async def committed(ticket: Ticket[T]) -> T:
    """
    Return a ticket's result once its commit is on disk.

    Raises: What the unit raised; LedgerBusy if it takes longer than 30 s (it may still be committed later).
    """
    loop = asyncio.get_running_loop()
    wakes = _WAKES.get(loop)
    if wakes is None:
        wakes = _WAKES[loop] = _Wakes(loop)
    done = loop.create_future()
    ticket.then(lambda _ticket: wakes.add(done))
    try:
        async with asyncio.timeout(COMMIT_S):
            await done
    except TimeoutError:
        msg = f"the ledger did not commit within {COMMIT_S:g} s: another process may hold its lock"
        raise LedgerBusy(msg) from None
    return ticket.wait()


async def aside(look: Callable[[], T]) -> T:
    """Run what may take long (walking the ledger, reading a large body) in one of the server's few threads."""
    return await asyncio.get_running_loop().run_in_executor(None, look)


class _Wakes:
    """
    Wakes an event loop from the ledger's writer, once for all the tickets of a commit.

    Waking is a system call in the writer's thread, which then has to queue for the interpreter again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[asyncio.Future[None]] = deque()
        self._called = False

    def add(self, done: asyncio.Future[None]) -> None:
        self._done.append(done)  # before the look at `_called`: whoever runs next must find it
        if self._called:
            return
        self._called = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop has ended meanwhile: nobody waits any more
            self._called = False

    def _wake(self) -> None:
        self._called = False
        while self._done:
            done = self._done.popleft()
            if not done.done():
                done.set_result(None)


_WAKES: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Wakes]] = WeakKeyDictionary()
