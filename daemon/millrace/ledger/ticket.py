"""The promise of a commit: what a caller holds while the writer does its work."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from millrace.errors import LedgerBusy

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Ticket(Generic[T]):
    """
    A unit of work that was handed to the writer. Its result exists only once its commit is on disk.

    A bare lock serves as the signal: making one costs a tenth of a threading.Event, and a busy daemon makes thousands
    of tickets a second.
    """

    __slots__ = ("_callbacks", "_done", "_lock", "_result", "error")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._result: T | None = None
        self._done = False
        self._callbacks: list[Callable[[Ticket[T]], None]] = []
        self._lock = threading.Lock()
        self._lock.acquire()

    @property
    def done(self) -> bool:
        """Whether the unit was committed or has failed."""
        return self._done

    def wait(self, timeout_s: float | None = None) -> T:
        """
        Return the unit's result after its commit.

        Args:
            timeout_s: Seconds to wait, ≥ 0; None waits for as long as it takes.
        Raises: What the unit raised; LedgerBusy if the time is up (the unit may still be committed later).
        """
        if not self._done:
            if self._lock.acquire(timeout=-1 if timeout_s is None else timeout_s):
                self._lock.release()  # for the next who waits
            elif not self._done:  # another waiter may have held the lock for just this moment
                raise LedgerBusy(f"the ledger did not commit within {timeout_s:g} s: another process may hold its lock")
        if self.error is not None:
            raise self.error
        return cast("T", self._result)

    def then(self, callback: Callable[[Ticket[T]], None]) -> None:
        """
        Call back once the unit is committed or has failed: within the writer's turn, or here if it has been by now.

        Args:
            callback: Must be quick and not raise.
        """
        self._callbacks.append(callback)
        if self._done:
            self._call_back()

    def settle(self, result: T | None, error: BaseException | None) -> None:
        """Set the outcome. Only the writer calls this, once, after the commit."""
        self._result, self.error = result, error
        self._done = True
        self._lock.release()
        self._call_back()

    def _call_back(self) -> None:
        # `then` and `settle` may both get here; list.pop is atomic, so that each callback is called once.
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return
            callback(self)
