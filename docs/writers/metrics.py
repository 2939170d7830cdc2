"""The page of metrics: from the registry of a daemon."""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.clock import SYSTEM
from millrace.config.settings import Settings
from millrace.define.registry import Registry
from millrace.events import AttemptEnded, AttemptStarted, RunEnded, ScheduleMissed
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.observe.conservation import ConservationCheck
from millrace.observe.facts import Facts
from millrace.observe.metrics import Metrics
from millrace.queue.pool import PoolState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric


def metrics() -> Iterator[str]:
    """Yield the page of metrics."""
    yield "# Metrics\n"
    yield "`GET /metrics` gives Prometheus text; it wants a token of the role `viewer` or more. The counters of jobs"
    yield "that were accepted or succeeded come from the ledger and survive a restart, all others begin with the"
    yield "process.\n"
    yield "| metric | type | labels | meaning |\n|---|---|---|---|"
    for family, labels in sorted(metric_families(), key=lambda found: found[0].name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield f"| `{name}` | {family.type} | {', '.join(f'`{label}`' for label in labels)} | {family.documentation} |"
    yield "\nBeside these, `process_*` tells memory, processor time and open files of the daemon itself.\n"


def metric_families() -> Iterator[tuple[Metric, list[str]]]:
    """Yield what the registry of a daemon tells, with the labels, from a ledger that has seen one job."""
    made = Metrics(version="0")
    made(AttemptStarted("", "task", "queue", "", 1, 0.0, ""))
    made(AttemptEnded("", "task", "queue", "", 1, "retried", "waiting", None, None, 0.0, ""))
    made(ScheduleMissed("schedule", 1, ""))
    made(RunEnded("", "pipeline", "", "succeeded", 1, 0.0, ""))
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.db", clock=SYSTEM)
        try:
            ledger.moves.accept([NewJob("task", "default", "{}")]).wait()
            facts = Facts(
                ledger=Path(folder) / "ledger.db",
                reads=ledger.reads,
                writer_alive=lambda: True,
                pools=lambda: [PoolState("default", "process", 1, 1, 1, 0, 0, 1)],
                ages=dict,
                accepting=lambda: True,
                registry=Registry(),
                settings=Settings(),
                conservation=ConservationCheck(ledger.reads),
                clock=SYSTEM,
            )
            made.watch(facts)
            found = list(made.registry.collect())
        finally:
            ledger.close()
    for family in found:
        if family.name.startswith("millrace_"):
            # Labels show in what was counted alone: a metric that nothing above has moved would seem to have none.
            if not family.samples:
                raise ValueError(f"{family.name}: let something happen above that it counts")
            yield family, [label for label in family.samples[0].labels if label != "le"]
