"""
Events and the ledger as Prometheus metrics.

What happens is counted by `Metrics`, a subscriber that must cost next to nothing; what *is* (depths, ages, bytes) is
looked up by `LedgerCollector` when somebody scrapes. The counters of jobs that were accepted or succeeded come from the
ledger and survive a restart. Those of dead and cancelled jobs start with the process: in the ledger they also fall,
when a job is put back, and Prometheus would take that for a restart and count everything anew.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from millrace.events import AttemptEnded, AttemptStarted, RunEnded, ScheduleMissed
from millrace.observe.histogram import Histogram
from millrace.observe.scrape import LedgerCollector

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.events import Event
    from millrace.observe.facts import Facts

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DURATIONS: Final = (0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
WAITS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600, 14400)


class Metrics:
    """
    The subscriber that counts, and the text of all metrics.

    Call `watch` once the ledger is open; until then only what events tell is in the text.
    """

    def __init__(self, *, version: str) -> None:
        # A second series for each counter and bucket set, which nobody asks for. The switch is the library's, not the
        # registry's; it stands here since the process that counts is a daemon, and has no other user of it.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library types nearly all others
        self.registry = CollectorRegistry(auto_describe=False)
        self._version = version
        self._durations = Histogram(
            "millrace_job_duration_seconds",
            "How long attempts took, whatever their outcome",
            ("task", "queue"),
            DURATIONS,
        )
        self._waits = Histogram(
            "millrace_queue_wait_seconds", "How long jobs were queued before an attempt began", ("queue",), WAITS
        )
        self.registry.register(self._durations)
        self.registry.register(self._waits)
        self._retries = Counter(
            "millrace_retries", "Attempts that failed and are repeated", ("task",), registry=self.registry
        )
        self._runs = Counter(
            "millrace_runs",
            "Runs of pipelines by how they ended, in this process; one that is resumed ends again",
            ("pipeline", "status"),
            registry=self.registry,
        )
        self._missed = Counter(
            "millrace_missed_fires",
            "Times of schedules that passed and submitted nothing, though nobody had decided so",
            ("schedule",),
            registry=self.registry,
        )
        self._lock = threading.Lock()
        self.ended: dict[tuple[str, str, str], int] = {}
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            AttemptStarted: self._started,
            AttemptEnded: self._ended,
            ScheduleMissed: lambda event: self._missed.labels(event.schedule).inc(event.count),
            RunEnded: lambda event: self._runs.labels(event.pipeline, event.status).inc(),
        }
        ProcessCollector(registry=self.registry)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def watch(self, facts: Facts) -> None:
        """Also tell what the ledger and the pools know."""
        self.registry.register(LedgerCollector(facts, self.ended, self._version))

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format; looks at the ledger."""
        return generate_latest(self.registry)

    def _started(self, event: AttemptStarted) -> None:
        self._waits.observe((event.queue,), event.waited_s)

    def _ended(self, event: AttemptEnded) -> None:
        self._durations.observe((event.task, event.queue), event.duration_s)
        if event.status in ("dead", "cancelled"):
            counted = (event.task, event.queue, event.status)
            with self._lock:
                self.ended[counted] = self.ended.get(counted, 0) + 1
        if event.outcome == "retried":
            self._retries.labels(event.task).inc()
