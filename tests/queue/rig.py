"""A daemon's queue room in pieces: real ledger, real threads, tasks that a test opens and closes like doors."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from millrace.clock import SYSTEM, Clock
from millrace.config.settings import Settings
from millrace.define.registry import Registry
from millrace.define.task import Task, task
from millrace.ledger.ledger import Ledger
from millrace.ledger.wake import Listener
from millrace.queue.intake import Intake
from millrace.queue.pool import Pool
from millrace.queue.submit import Submission, Submitter
from millrace.queue.upkeep import Upkeep
from millrace.runner.children import Children
from millrace.runner.kit import Kit
from millrace.runner.policy import RunPolicy
from millrace.runner.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from millrace.events import Event
    from millrace.ledger.rows import JobRow

LIMIT_S = 20.0
QUEUES: dict[str, dict[str, Any]] = {
    "default": {"kind": "thread", "workers": 2},
    "wide": {"kind": "thread", "workers": 1, "max_workers": 8},
    "small": {"kind": "thread", "workers": 1, "max_backlog": 5},
    "bulk": {"kind": "thread", "workers": 1, "max_backlog": 1010},
}


class Door:
    """A task that waits inside until it is let out."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.out = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def walk(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        assert self.out.wait(LIMIT_S)
        with self._lock:
            self.inside -= 1


class Deaf(Listener):
    """
    Never comes back from its wait unless it is nudged, so that the look at the data version does not cover for a
    missing wake-up.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.end = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        self.end.wait(LIMIT_S * 3)
        return super().wait(timeout_s)

    def nudge(self) -> None:
        super().nudge()
        self.end.set()


@dataclass
class House:
    """What the tests of the queue room take apart."""

    folder: Path
    clock: Clock = SYSTEM
    events: list[Event] = field(default_factory=list)
    door: Door = field(default_factory=Door)
    ran: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder / "ledger.db", synchronous="normal", clock=self.clock, emit=self.events.append)
        self.ledger.moves.daemon = "d1"
        self.settings = Settings(queues=QUEUES, clients={"acme": {}})
        self.running = Running(self.clock)
        self.registry = Registry({found.name: found for found in self._tasks()})
        self.children = Children(
            root=self.folder,
            jobs="jobs",
            daemon_id="d1",
            ledger_mark="none",
            scratch=self.folder / "scratch",
            queues=QUEUES,
            clock=self.clock,
            emit=self.events.append,
            moves=self.ledger.moves,
        )
        self.kit = Kit(
            registry=self.registry,
            moves=self.ledger.moves,
            reads=self.ledger.reads,
            clock=self.clock,
            emit=self.events.append,
            children=self.children,
            defaults=RunPolicy(timeout_s=30.0, backoff_base_s=0.0, backoff_cap_s=0.0),
            random=Random(1),
        )
        self.submitter = Submitter(
            self.registry, self.settings, self.ledger.moves, self.ledger.reads, emit=self.events.append
        )
        self.pools: list[Pool] = []
        self.upkeeps: list[Upkeep] = []

    def _tasks(self) -> list[Task[..., Any]]:
        @task
        def add(n: int = 0) -> int:
            self.ran.append(n)
            return n

        @task
        def wait() -> None:
            self.door.walk()

        @task(timeout="10ms")
        def stuck() -> None:
            self.door.walk()

        @task(retries=1)
        def bad() -> None:
            raise ValueError("no")

        return [add, wait, stuck, bad]

    def pool(self, queue: str = "default", *, start: bool = True, roomy: bool = True) -> Pool:
        """Make a pool, and wake it with the ledger's changes as upkeep does."""
        pool = Pool(
            queue,
            settings=self.settings.queues[queue],
            kit=self.kit,
            running=self.running,
            submitter=self.submitter,
            reads=self.ledger.reads,
            roomy=lambda: roomy,
        )
        self.pools.append(pool)
        self.ledger.on_change.append(lambda changes: pool.intake.wake() if queue in changes.queued else None)
        if start:
            pool.start()
        return pool

    def intake(self, queue: str = "default", *, workers: int = 2, most: int | None = None) -> Intake:
        """Make an intake that nobody works off but the test."""
        return Intake(
            queue,
            "thread",
            workers=workers,
            max_workers=most or workers,
            moves=self.ledger.moves,
            running=self.running,
        )

    def upkeep(self, *pools: Pool, deaf: bool = False, start: bool = True) -> Upkeep:
        """Make the upkeep of some pools and start it; a deaf one hears nothing of other processes."""
        self.listener = Deaf(self.folder) if deaf else Listener(self.folder)
        upkeep = Upkeep(self.ledger, self.kit, self.running, pools, self.listener)
        if start:
            upkeep.start()
            self.upkeeps.append(upkeep)
        return upkeep

    def submit(self, task: str = "add", **given: Any) -> str:
        """Submit a job; return its id."""
        return self.submitter.submit(Submission(task, **given)).id

    def row(self, job_id: str) -> JobRow:
        """Return the job."""
        return self.ledger.reads.job(job_id)

    def others(self, act: Callable[[Ledger], None]) -> None:
        """Do something over another connection, as another process would."""
        with Ledger(self.folder / "ledger.db", synchronous="normal") as ledger:
            act(ledger)

    def close(self) -> None:
        """Let everybody out and close everything."""
        self.door.out.set()
        for pool in self.pools:
            pool.stop_claiming()
        for pool in self.pools:
            for _, thread in pool._consumer.worker_threads:
                if thread.ident is not None:
                    thread.join(LIMIT_S)
                    assert not thread.is_alive(), "a worker did not end"
            if pool._consumer.scheduler.ident is not None:
                pool._consumer.scheduler.join(LIMIT_S)
        for upkeep in self.upkeeps:
            if isinstance(self.listener, Deaf):
                self.listener.end.set()
            upkeep.stop()
            self.listener.close()
        self.children.close()
        self.ledger.close()
