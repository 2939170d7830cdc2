"""When will the disk be full? From how the ledger grew, by a straight line through its sizes of the last two weeks."""

from __future__ import annotations

from typing import Final

DAY_MS: Final = 86_400_000
SPAN_MS: Final = 14 * DAY_MS
EVERY_MS: Final = DAY_MS // 12  # a size every two hours: 168 of them
LEAST_MS: Final = DAY_MS  # less history than this says nothing about days

History = list[tuple[int, int]]  # UTC epoch milliseconds, bytes in use


def remember(history: History, now_ms: int, used_bytes: int) -> History:
    """Return the history with the size now, if the last is old enough, and without what is too old or yet to come."""
    kept = [(at, size) for at, size in history if now_ms - SPAN_MS < at <= now_ms]
    return [*kept, (now_ms, used_bytes)] if not kept or now_ms - kept[-1][0] >= EVERY_MS else kept


def growth_per_day(history: History) -> float | None:
    """
    Return by how many bytes a day the ledger grows; below 0 if it shrinks, None if that cannot be said yet.

    Source: the slope of ordinary least squares.
    """
    if len(history) < 2 or history[-1][0] - history[0][0] < LEAST_MS:  # noqa: PLR2004 - a line needs two points
        return None
    days = [(at - history[0][0]) / DAY_MS for at, _ in history]
    middle, mean = sum(days) / len(days), sum(size for _, size in history) / len(history)
    spread = sum((day - middle) ** 2 for day in days)
    return sum((day - middle) * (size - mean) for day, (_, size) in zip(days, history, strict=True)) / spread


def days_left(history: History, room_bytes: int) -> float | None:
    """
    Return in how many days no work will be taken in any more; None if the ledger does not grow, or nothing is known.

    Args:
        room_bytes: What may still be written: free pages of the file, and the disk's free bytes beyond the reserve.
    """
    growth = growth_per_day(history)
    return max(0, room_bytes) / growth if growth is not None and growth > 0 else None
