"""
APScheduler as the clock and nothing more: named wake-ups in memory and in UTC, each of them once. It sleeps on a clock
of its own, so it is told in how many seconds, and told anew when somebody sets the wall clock: see `clockwork`.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from millrace.clock import MS, SYSTEM

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from millrace.clock import Clock

WORKERS: Final = 8  # several schedules share a second, and each fire waits for its commit
_MANY: Final = 1000  # a wake-up is set again before APScheduler takes the last one for ended; it must not be dropped

logging.getLogger("apscheduler").setLevel(logging.WARNING)  # else it tells of each wake-up that is set


class Wakeups:
    """Calls back at the times that were set, from one of a few threads; it begins and ends once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scheduler = _Scheduler(clock)

    def begin(self) -> None:
        """Start the threads."""
        self._scheduler.start()

    def end(self) -> None:
        """End the threads; a call that runs is waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    @property
    def alive(self) -> bool:
        """Whether the thread that waits for the next time lives."""
        thread: threading.Thread | None = self._scheduler._thread  # noqa: SLF001 - it tells nowhere else; pinned by a test
        return thread is not None and thread.is_alive()

    @property
    def turned_at(self) -> float:
        """When that thread last looked at its times, on the monotonic clock."""
        return self._scheduler.turned_at

    def turn(self) -> None:
        """Make that thread look, so that `turned_at` tells whether it can."""
        self._scheduler.wakeup()

    def put(self, key: str, in_s: float, call: Callable[[str], None]) -> None:
        """Call `call(key)` in so many seconds, ≥ 0, in place of what was set for this key before."""
        at = datetime.fromtimestamp(SYSTEM.now_ms() / MS, UTC) + timedelta(seconds=in_s)
        self._scheduler.add_job(call, DateTrigger(at), args=(key,), id=key, name=key, replace_existing=True)

    def drop(self, key: str) -> None:
        """Forget what was set for a key, if anything."""
        self._scheduler.remove_job(key)

    def keys(self) -> set[str]:
        """Return the keys for which something is set."""
        return {job.id for job in self._scheduler.get_jobs()}

    @contextmanager
    def many(self) -> Iterator[None]:
        """Set many at once: the thread looks at the end, and not after each."""
        self._scheduler.pause()
        try:
            yield
        finally:
            self._scheduler.resume()


class _Scheduler(BackgroundScheduler):
    """APScheduler's own, which notes when it last turned."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.turned_at = clock.monotonic()
        super().__init__(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(WORKERS, {"thread_name_prefix": "millrace-schedules"})},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": _MANY},
        )

    def remove_job(self, job_id: str, jobstore: str | None = None) -> None:
        """Remove a wake-up, if it is there: a stop may take it from the thread's hands, which must not end that."""
        with suppress(JobLookupError):
            super().remove_job(job_id, jobstore)

    def _process_jobs(self) -> Any:
        wait_s = super()._process_jobs()
        self.turned_at = self._clock.monotonic()
        return wait_s
