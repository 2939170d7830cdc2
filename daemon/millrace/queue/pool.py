"""The pool of one queue: its intake, its Huey, its consumer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from millrace.events import ClaimsFailed, PoolResized, ThreadStuck
from millrace.ledger.rows import Source
from millrace.queue.consumer import PoolConsumer, make_huey
from millrace.queue.intake import Attempt, Intake
from millrace.queue.submit import Submission
from millrace.runner.batch import Batch
from millrace.runner.run import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.config.settings import QueueSettings
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import Claim
    from millrace.queue.submit import Submitter
    from millrace.runner.kit import Kit
    from millrace.runner.running import Kind, Running

CALM_S: Final = 30.0  # a pool that was half idle for so long shrinks


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool at this moment. `limit` is how many jobs may run at once, `stuck` how many threads will not stop."""

    queue: str
    kind: Kind
    workers: int
    max_workers: int
    limit: int
    busy: int
    stuck: int
    threads_alive: int


class Pool:
    """Runs the jobs of one queue."""

    def __init__(
        self,
        queue: str,
        *,
        settings: QueueSettings,
        kit: Kit,
        running: Running,
        submitter: Submitter,
        reads: Reads,
        roomy: Callable[[], bool],
    ) -> None:
        self._kit = kit
        self._running = running
        self._submitter = submitter
        self._told: set[Attempt] = set()
        self._told_trouble: str | None = None
        self._stopping = False
        self._reads = reads
        self._roomy = roomy
        self._calm_since = kit.clock.monotonic()
        self.intake = Intake(
            queue,
            settings.kind,
            workers=settings.workers,
            max_workers=settings.max_workers,
            moves=kit.moves,
            running=running,
        )
        self.huey = make_huey(self.intake, self._run, self._submit, lambda: reads.queued(queue))
        self._consumer = PoolConsumer(self.huey, settings.max_workers)

    def start(self) -> None:
        """Start the workers and look for work."""
        self._consumer.start()
        self.intake.wake()

    def apply(self, settings: QueueSettings) -> None:
        """Let new bounds hold; the most that may run at once is bound by the threads of the start."""
        intake = self.intake
        grows = settings.workers > intake.workers
        intake.workers = settings.workers
        if grows and intake.limit < settings.workers:
            self._set_limit(settings.workers, "settings")  # a smaller number is reached in the next calm

    def state(self) -> PoolState:
        """Return the pool at this moment."""
        intake = self.intake
        return PoolState(
            intake.queue,
            intake.kind,
            intake.workers,
            intake.max_workers,
            intake.limit,
            intake.busy,
            intake.stuck,
            self._consumer.alive(),
        )

    def tend(self) -> None:
        """Replace dead and stuck threads, grow with the backlog, shrink when calm. Upkeep calls this each second."""
        if self._stopping:
            return
        self._consumer.check_worker_health()
        self.intake.tend()
        self._tell_trouble()
        self._replace_stuck()
        self._resize()

    def stop_claiming(self) -> int:
        """Claim no more, hand back what was not started; return how many that were."""
        self._stopping = True
        rest = self.intake.stop()
        self.intake.release(rest, "shutdown")
        self._consumer.finish()
        return len(rest)

    def _run(self, held: Claim) -> None:
        kit, intake = self._kit, self.intake
        began, jobs = kit.clock.monotonic(), 0
        shared = intake.kind == "process" and not held.daemon_deaths
        batch = Batch(intake.more() if shared else (), kit, self._running, intake.give_back)
        try:
            for one in batch.turns(held):
                jobs += 1
                run_job(one, kit, kind=intake.kind, running=self._running, batch=batch)
        finally:
            intake.done(held, kit.clock.monotonic() - began, jobs)

    def _submit(self, task: str, payload: Any, priority: int) -> None:
        queue = self.intake.queue
        self._submitter.submit(
            Submission(task, payload=payload, queue=queue, priority=priority, source=Source("api", "huey"))
        )

    def _tell_trouble(self) -> None:
        """Say once why nothing can be claimed, where that is no trouble of the ledger as a whole."""
        trouble = self.intake.trouble
        if trouble is not None and trouble != self._told_trouble:
            self._kit.emit(ClaimsFailed(self.intake.queue, trouble))
        self._told_trouble = trouble

    def _replace_stuck(self) -> None:
        stuck = [live for live in self._running.stuck() if live.queue == self.intake.queue]
        now = self._kit.clock.monotonic()
        for live in stuck:
            if (live.job_id, live.attempt) not in self._told and live.deadline is not None:
                self._told.add((live.job_id, live.attempt))
                self._kit.emit(ThreadStuck(live.queue, live.job_id, live.task, round(now - live.deadline, 1)))
        attempts = {(live.job_id, live.attempt) for live in stuck}
        self._told &= attempts
        self._consumer.grow(self.intake.max_workers + len(stuck))
        self.intake.set_stuck(attempts)

    def _resize(self) -> None:
        """Double the claim limit while all slots are taken and more is queued; halve it after a calm."""
        intake, now = self.intake, self._kit.clock.monotonic()
        if intake.full or intake.busy * 2 > intake.limit or intake.limit <= intake.workers:
            self._calm_since = now
        if intake.full and intake.limit < intake.max_workers and self._reads.queued(intake.queue) and self._roomy():
            self._set_limit(intake.limit * 2, "backlog")
        elif now - self._calm_since > CALM_S:
            self._calm_since = now
            self._set_limit(max(intake.workers, intake.limit // 2), "calm")

    def _set_limit(self, limit: int, why: str) -> None:
        self.intake.set_limit(limit)
        self._kit.emit(PoolResized(self.intake.queue, self.intake.limit, why))
