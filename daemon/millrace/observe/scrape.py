"""What the ledger, the pools and the disk say at the moment of a scrape."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from millrace.clock import MS
from millrace.observe.storage import storage_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from millrace.ledger.rows import QueueRow
    from millrace.observe.facts import Facts


class LedgerCollector(Collector):
    """
    Reads what is when it is asked. No look scans the backlog, so that a scrape costs the same on a full queue.

    Args:
        ended: How many jobs this process has seen end, by (task, queue, status); read, never changed.
        version: Of Millrace, for `millrace_build_info`.
    """

    def __init__(self, facts: Facts, ended: Mapping[tuple[str, str, str], int], version: str) -> None:
        self._facts = facts
        self._ended = ended
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield from self._jobs()
        yield from self._queues()
        yield self._workers()
        counts = self._facts.reads.status_counts()
        yield _gauge("dead_letters", "Jobs that are dead and wait for somebody's decision", counts["dead"])
        lost = self._facts.conservation.difference()
        yield _gauge(
            "conservation_difference", "Accepted jobs that are not accounted for; anything but 0 is wrong", lost
        )
        lag_s = self._facts.schedules().lag_s
        yield _gauge("schedule_lag_seconds", "For how long a schedule should have fired; 0 when none should", lag_s)
        yield from self._storage()
        info = GaugeMetricFamily("millrace_build_info", "What runs here; always 1", labels=("version", "python"))
        info.add_metric((self._version, platform.python_version()), 1)
        yield info

    def _jobs(self) -> Iterator[Metric]:
        """Jobs come in once and end once: what came in is a metric of its own, or a sum over `status` would double."""
        accepted: dict[tuple[str, str], int] = {}
        ended: dict[tuple[str, str, str], int] = {}
        for tally in self._facts.reads.tallies():
            place = (tally.task, tally.queue)
            accepted[place] = accepted.get(place, 0) + tally.accepted
            ended[*place, "succeeded"] = ended.get((*place, "succeeded"), 0) + tally.succeeded
            for status in ("dead", "cancelled"):
                ended.setdefault((*place, status), 0)
        family = CounterMetricFamily(
            "millrace_jobs",
            "Jobs by how they ended (dead and cancelled: attempts that ended so in this process)",
            labels=("task", "queue", "status"),
        )
        for labels, total in sorted({**ended, **dict(self._ended)}.items()):
            family.add_metric(labels, total)
        intake = CounterMetricFamily("millrace_jobs_accepted", "Jobs that were accepted", labels=("task", "queue"))
        for place, total in sorted(accepted.items()):
            intake.add_metric(place, total)
        yield from (family, intake)

    def _queues(self) -> Iterator[Metric]:
        now_ms = self._facts.clock.now_ms()
        depth = GaugeMetricFamily("millrace_queue_depth", "Jobs that are queued", labels=("queue",))
        oldest = GaugeMetricFamily(
            "millrace_oldest_queued_seconds",
            "How long the oldest queued job waits; 0 when none does",
            labels=("queue",),
        )
        waiting = GaugeMetricFamily("millrace_queue_waiting", "Jobs that wait for a time or a cause", labels=("queue",))
        paused = GaugeMetricFamily("millrace_queue_paused", "Whether the queue gives out no work", labels=("queue",))
        found = {row.name: row for row in self._facts.reads.queues()}
        for name in sorted({*found, *self._facts.settings.queues}):
            row = found.get(name)
            depth.add_metric((name,), row.queued if row else 0)
            oldest.add_metric((name,), _age_s(row, now_ms))
            waiting.add_metric((name,), row.waiting if row else 0)
            paused.add_metric((name,), int(row.paused) if row else 0)
        yield from (depth, oldest, waiting, paused)

    def _workers(self) -> Metric:
        family = GaugeMetricFamily(
            "millrace_workers", "Workers that are busy, idle, or stuck beyond their deadline", labels=("queue", "state")
        )
        for pool in self._facts.pools():
            busy = max(0, pool.busy - pool.stuck)
            family.add_metric((pool.queue, "busy"), busy)
            family.add_metric((pool.queue, "idle"), max(0, pool.limit - busy))
            family.add_metric((pool.queue, "stuck"), pool.stuck)
        return family

    def _storage(self) -> Iterator[Metric]:
        storage = storage_of(self._facts.ledger)
        yield _gauge("database_bytes", "Size of the ledger", storage.database_bytes)
        yield _gauge("wal_bytes", "Size of the ledger's write-ahead log", storage.wal_bytes)
        yield _gauge("disk_free_bytes", "Room left on the ledger's disk", storage.disk_free_bytes)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"millrace_{name}", meaning, value=value)


def _age_s(row: QueueRow | None, now_ms: int) -> float:
    if row is None or row.oldest_queued_at is None:
        return 0.0
    return max(0, now_ms - row.oldest_queued_at) / MS
