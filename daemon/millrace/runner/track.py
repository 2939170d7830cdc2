"""`track`: how far a job's loop is, told now and then, so that others see percent, rate and the time that is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from operator import index
from typing import Final, TypeVar

from millrace.clock import SYSTEM
from millrace.runner.context import context

T = TypeVar("T")

MOST: Final = 2**53  # what any JSON reader keeps exact
TELL_S: Final = 0.5
LOOK_S: Final = 0.05  # between two looks whether the attempt shall end


def track(iterable: Iterable[T], total: int | None = None) -> Iterator[T]:
    """
    Yield what an iterable yields, and tell how far that is. Outside a job it only yields.

    Between two items the attempt ends if its time is up, it was cancelled, or the daemon goes down.

    Args:
        iterable: What the job goes through.
        total: How many items there are, a whole number from 0 to 2**53 - 1; read from `len` when left out, and unknown
            where there is none.
    Returns: The items, one by one, in order.
    Raises: TypeError for a total that is no whole number; ValueError for one beyond its bounds.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if total is not None:
        total = index(total)  # whoever divides has a float: here it is an error of the job, and not of its process
        if not 0 <= total < MOST:
            raise ValueError(f"the total must not be negative, nor above {MOST - 1}: {total}")
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
