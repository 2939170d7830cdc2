"""A site with pipelines, served by the real engine in this process; children, signals and ledger are real."""

from __future__ import annotations

import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

from millrace.clock import SYSTEM
from millrace.config.load import load_site
from millrace.ledger.rows import JobFilter
from millrace.process.engine import Engine
from millrace.queue.runs import RunSubmission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from millrace.events import Event
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import JobRow
    from millrace.ledger.run_rows import RunRow

LIMIT_S = 30.0
CONFIG = """
[queues.io]
kind = "thread"
workers = 3
[queues.side]
kind = "thread"
workers = 2
[queues.default]
workers = 2
[defaults]
grace = "300ms"
fan_out = 100
[[rules.segment]]
when = { points = ">=50" }
then = "big"
[[rules.segment]]
then = "small"
"""


class Pipes:
    """
    A site in a folder of its own.

    Args:
        root: The folder; made now.
        file: The job file.
    """

    def __init__(self, root: Path, file: Path, config: str = CONFIG) -> None:
        self.root = root
        (root / "jobs").mkdir(parents=True)
        shutil.copy(file, root / "jobs" / file.name)
        (root / "config.toml").write_text(config)
        self.events: list[Event] = []
        self.engine: Engine | None = None

    @property
    def reads(self) -> Reads:
        assert self.engine is not None
        return self.engine.ledger.reads

    @property
    def moves(self) -> Moves:
        assert self.engine is not None
        return self.engine.moves

    def start(self) -> Engine:
        """Open the engine and let it work."""
        self.engine = Engine(load_site(self.root / "config.toml", {}), clock=SYSTEM, emit=self.events.append)
        assert self.engine.registry.problems == []
        self.engine.start()
        return self.engine

    def stop(self) -> None:
        """Stop the engine at once; what runs goes back to its queue."""
        if self.engine is not None:
            hurry = threading.Event()
            hurry.set()
            self.engine.drain(0.0, hurry)
            self.engine.stop(5.0, hurry)
            self.engine = None

    def again(self, old: str, new: str) -> None:
        """Stop, replace text in the job file, and start again."""
        self.stop()
        file = next((self.root / "jobs").glob("*.py"))
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        self.start()

    def source(self, items: Iterable[dict[str, Any] | str], name: str = "source") -> str:
        """Write a source; return its path."""
        path = self.root / name
        path.write_text("".join(f"{item if isinstance(item, str) else json.dumps(item)}\n" for item in items))
        return str(path)

    def run(self, pipeline: str, items: Iterable[dict[str, Any] | str] = (), **given: Any) -> str:
        """Start a run over a source of these items; return its id."""
        assert self.engine is not None
        payload = {"source": self.source(items, given.pop("name", "source")), **given.pop("inputs", {})}
        return self.engine.submitter.start_run(RunSubmission(pipeline, payload=payload, **given)).id

    def until(self, holds: Callable[[], object], what: Callable[[], object] = lambda: "") -> None:
        """Look every few milliseconds until something holds; fail after the limit with what there is instead."""
        end = SYSTEM.monotonic() + LIMIT_S
        while not holds():
            assert SYSTEM.monotonic() < end, f"waited in vain: {what()}"
            SYSTEM.wait(threading.Event(), 0.01)

    def ended(self, run_id: str) -> RunRow:
        """Wait for the end of a run."""
        self.until(lambda: self.reads.run(run_id).status != "running", lambda: self.reads.run(run_id))
        return self.reads.run(run_id)

    def jobs(self, run_id: str, stage: str) -> dict[str | None, JobRow]:
        """Return the jobs of a stage by their record."""
        found: dict[str | None, JobRow] = {}
        after = None
        while True:
            page = self.reads.jobs(JobFilter(run=run_id, limit=1000, after=after), whole=True)
            found |= {job.record: job for job in page.jobs if job.stage == stage}
            after = page.next
            if after is None:
                return found

    def value(self, run_id: str, stage: str, record: str | None = None) -> Any:
        """Return what a stage's job returned."""
        return json.loads(self.jobs(run_id, stage)[record].result or "null")
