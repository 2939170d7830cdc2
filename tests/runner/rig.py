"""A rig that runs jobs as the daemon does: a real ledger, real children, real signals."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millrace.clock import SYSTEM
from millrace.events import Event, JobLogged
from millrace.ledger.rows import AttemptRow, Claim, JobRow, NewJob
from millrace.runner import tree
from millrace.runner.run import run_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from millrace.ledger.ledger import Ledger
    from millrace.runner.children import Children
    from millrace.runner.kit import Kit
    from millrace.runner.running import Kind, Running

LIMIT_S = 20.0
MEMORY = 200 * 2**20


def until(holds: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Wait until something holds, looking often; fail after the limit."""
    end, pause = SYSTEM.monotonic() + limit_s, threading.Event()
    while not holds():
        assert SYSTEM.monotonic() < end, "it did not come true in time"
        pause.wait(0.01)


def marked(mark: str) -> list[int]:
    """Return the pids of living processes that carry the mark."""
    return [process.pid for process in tree.carriers(mark, tree.snapshot())]


@dataclass
class Rig:
    """Everything between a claim and its outcome."""

    kit: Kit
    ledger: Ledger
    children: Children
    running: Running
    mark: str
    root: Path
    events: list[Event] = field(default_factory=list)

    def accept(self, task: str, *, queue: str = "default", retries: int = 3, **payload: Any) -> str:
        """Put a job on its queue."""
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        job = NewJob(task, queue, text, max_attempts=retries + 1)
        return self.ledger.moves.accept([job]).wait(LIMIT_S)[0].id

    def claim(self, queue: str = "default") -> Claim:
        """Claim the next job."""
        return self.ledger.moves.claim(queue, 1).wait(LIMIT_S)[0]

    def work(self, held: Claim, kind: Kind = "process") -> None:
        """Run a claim here."""
        run_job(held, self.kit, kind=kind, running=self.running)

    def row(self, job_id: str) -> JobRow:
        """Return the job once its attempt has been recorded."""
        until(lambda: self.ledger.reads.job(job_id).status != "running")
        return self.ledger.reads.job(job_id)

    def run(
        self, task: str, *, kind: Kind = "process", queue: str = "default", retries: int = 3, **payload: Any
    ) -> JobRow:
        """Accept, claim and run a job; return it as it stands afterwards."""
        job_id = self.accept(task, queue=queue, retries=retries, **payload)
        self.work(self.claim(queue), kind)
        return self.row(job_id)

    def attempts(self, job_id: str) -> list[AttemptRow]:
        """Return the attempts of a job."""
        return self.ledger.reads.attempts(job_id)

    def lines(self) -> list[str]:
        """Return what jobs have said."""
        return [event.message for event in self.events if isinstance(event, JobLogged)]

    def alone(self) -> bool:
        """Whether no process is left but the fork server and the warm children."""
        expected = {self.children.helper(), *self.children.alive()}
        return not set(marked(self.mark)) - expected
