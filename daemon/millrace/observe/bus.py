"""Hands each event to all who listen. One listener's failure hurts neither the emitter nor the other listeners."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from millrace.events import SubscriberFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from millrace.events import Emit, Event


class Bus:
    """
    The fan-out of events. `emit` may be called from any thread, and never raises.

    Args:
        subscribers: Called in order, in the emitter's thread: each must be quick.
    """

    def __init__(self, subscribers: Iterable[Emit] = ()) -> None:
        self._subscribers = tuple(subscribers)
        self._failures: dict[str, int] = {}

    def add(self, subscriber: Emit) -> None:
        """Let one more listen."""
        self._subscribers = (*self._subscribers, subscriber)  # a new tuple: others may be walking the old one

    def emit(self, event: Event) -> None:
        """Tell all who listen."""
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception as error:  # noqa: BLE001 - told to the others; the emitter has work to do
                self._tell(subscriber, event, error)

    def _tell(self, broken: Emit, event: Event, error: Exception) -> None:
        """Tell the other listeners at the 1st, 10th, 100th … failure: one that fails always must not flood the log."""
        name = getattr(broken, "__qualname__", type(broken).__qualname__)
        self._failures[name] = times = self._failures.get(name, 0) + 1
        if not _is_power_of_ten(times):
            return
        fact = SubscriberFailed(name, event.EVENT, f"{type(error).__name__}: {error}", times)
        told = False
        for subscriber in self._subscribers:
            if subscriber is not broken:
                try:
                    subscriber(fact)
                    told = True
                except Exception:  # noqa: BLE001, S112 - the last resort follows
                    continue
        if not told and sys.stderr is not None:
            sys.stderr.write(f"millrace: {fact}\n")


def _is_power_of_ten(number: int) -> bool:
    return str(number).strip("0") == "1"
