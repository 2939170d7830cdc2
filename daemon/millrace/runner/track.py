"""`track`: how far a job's loop is, told now and then, so that others see percent, rate and the time that is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Final, TypeVar

from millrace.clock import SYSTEM
from millrace.runner.context import context

T = TypeVar("T")

TELL_S: Final = 0.5
LOOK_S: Final = 0.05  # between two looks whether the attempt shall end


def track(iterable: Iterable[T], total: int | None = None) -> Iterator[T]:
    """
    Yield what an iterable yields, and tell how far that is. Outside a job it only yields.

    Between two items the attempt ends if its time is up, it was cancelled, or the daemon goes down.

    Args:
        iterable: What the job goes through.
        total: How many items there are, ≥ 0; read from `len` when left out, and unknown where there is none.
    Returns: The items, one by one, in order.
    Raises: ValueError for a total below zero.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if total is not None and total < 0:
        raise ValueError(f"the total must not be negative: {total}")
    return _tracked(iterable, total)


def _tracked(iterable: Iterable[T], total: int | None) -> Iterator[T]:
    line = context().line
    if line is None:
        yield from iterable
        return
    done = 0
    line.tell("progress", {"done": done, "total": total})
    told = looked = SYSTEM.monotonic()
    for item in iterable:
        yield item
        done += 1
        now = SYSTEM.monotonic()
        if now - looked >= LOOK_S:
            looked = now
            line.check()
        if now - told >= TELL_S:
            told = now
            line.tell("progress", {"done": done, "total": total})
    line.tell("progress", {"done": done, "total": total})
