"""How far a job has come, in words: what `track` tells while it goes through its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.cli.times import age
from millrace.clock import MS

if TYPE_CHECKING:
    from millrace.ledger.rows import ProgressRow


def progress_words(progress: ProgressRow | None, now_ms: int) -> str:
    """
    Return for example "42%: 4,200 of 10,000, 350/s, 16s left"; "" when nothing is known.

    Without a total there is neither a percentage nor a time left.
    """
    if progress is None:
        return ""
    rate = rate_of(progress)
    if not progress.total:
        return f"{progress.done:,} done" + (f", {_per_second(rate)}" if rate else "")
    words = f"{100 * progress.done // progress.total}%: {progress.done:,} of {progress.total:,}"
    if not rate:
        return words
    left_s = max(0, progress.total - progress.done) / rate - max(0, now_ms - progress.at) / MS
    return f"{words}, {_per_second(rate)}, {age(max(0, left_s))} left"


def rate_of(progress: ProgressRow) -> float:
    """Return how many are done in a second; 0 while nothing can be said."""
    elapsed_s = (progress.at - progress.started_at) / MS
    return progress.done / elapsed_s if elapsed_s > 0 else 0.0


def _per_second(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"  # noqa: PLR2004 - below ten the fraction matters
