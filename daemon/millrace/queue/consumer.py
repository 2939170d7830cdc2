"""
Huey's consumer, worked by Millrace: its workers take claims from the ledger and run them. Signals, schedules and
restarts belong to the daemon, so that the consumer sets no handlers, its scheduler sleeps, and `run` is never called.

The hooks of Huey that this leans on are named here and pinned by tests/queue/test_storage.py:
`Consumer.{start, stop, check_worker_health, _create_worker, _create_process, _set_signal_handlers, worker_threads,
stop_flag, scheduler_class}`, `Huey.{dequeue, execute, task}`, `Task.execute`, `Registry.task_to_string`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from huey.api import Huey, Task
from huey.consumer import Consumer, Scheduler

from millrace.queue.storage import ClaimSerializer, LedgerStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.rows import Claim
    from millrace.queue.intake import Intake

for _name in ("huey", "huey.consumer"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def make_huey(
    intake: Intake,
    run: Callable[[Claim], None],
    submit: Callable[[str, Any, int], None],
    depth: Callable[[], int],
) -> Huey:
    """
    Return the Huey of one queue, with its one registered task.

    Args:
        run: Runs a claim and hands its outcome to the ledger; raises nothing.
        submit: The door in, for `huey.enqueue`.
    """
    huey = LedgerHuey(
        intake.queue, results=False, storage_class=LedgerStorage, intake=intake, submit=submit, depth=depth
    )

    def run_claim(key: str) -> None:
        run(huey.storage.claims.pop(key))

    task = huey.task(name="run_claim")(run_claim)
    huey.serializer = ClaimSerializer(huey._registry.task_to_string(task.task_class))  # noqa: SLF001 - pinned by a test
    return huey


class LedgerHuey(Huey):
    """Huey whose tasks are claims: what it does around a task of its own is done by the ledger and the runner."""

    def execute(self, task: Task, timestamp: object = None) -> None:  # noqa: ARG002 - the signature is Huey's
        """
        Run the claim.

        Huey would look for revocations, schedules, retries, results and listeners around it. There are none beside
        the ledger's, and the looking costs a no-op job a quarter of its time.
        """
        task.execute()


class IdleScheduler(Scheduler):
    """Huey wants a scheduler; the ledger keeps what is due, so this one only waits for the end."""

    def loop(self, now: object = None) -> None:  # noqa: ARG002 - the signature is Huey's
        """Wait for the stop flag."""
        self.stop_flag.wait()


class PoolConsumer(Consumer):
    """The worker threads of one queue."""

    scheduler_class = IdleScheduler

    def __init__(self, huey: Huey, threads: int) -> None:
        super().__init__(huey, workers=threads, periodic=False, worker_type="thread", check_worker_health=True)

    def _set_signal_handlers(self) -> None:
        """Set none: signals belong to the daemon."""

    def grow(self, threads: int) -> None:
        """Bring the pool to so many threads, if it has fewer: the slot of one that will not stop is filled again."""
        for number in range(len(self.worker_threads), threads):
            worker = self._create_worker()
            thread = self._create_process(worker, f"Worker-{number + 1}")
            thread.start()
            self.worker_threads.append((worker, thread))

    def alive(self) -> int:
        """Return how many worker threads live."""
        return sum(thread.is_alive() for _, thread in self.worker_threads)

    def finish(self) -> None:
        """Ask the workers to end after their job, without waiting for them."""
        self.stop(graceful=False)
