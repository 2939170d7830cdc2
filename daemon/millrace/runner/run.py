"""One claimed attempt, from the claim to its outcome: a straight chain of named steps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import MS
from millrace.errors import PayloadError, UnknownTask, ValueDamaged
from millrace.events import AttemptStarted
from millrace.ledger.rows import JobError
from millrace.runner.batch import Batch, order_of
from millrace.runner.desk import Desk
from millrace.runner.gather import gathered
from millrace.runner.outcome import Ended, record
from millrace.runner.output import Budget
from millrace.runner.protocol import encode
from millrace.runner.retry import decide
from millrace.runner.text import engine_error, error_of
from millrace.runner.thread import run_in_thread
from millrace.runner.verdict import Verdict

if TYPE_CHECKING:
    from millrace.define.task import Task
    from millrace.ledger.rows import Claim
    from millrace.runner.kit import Kit
    from millrace.runner.policy import RunPolicy
    from millrace.runner.running import Kind, Live, Running

ALONE_AT: Final = 2  # daemon deaths after which a job no longer shares a process with the daemon


def run_job(held: Claim, kit: Kit, *, kind: Kind, running: Running, batch: Batch | None = None) -> None:
    """
    Run one claimed attempt and hand its outcome to the ledger. Never raises for the job's own errors.

    Args:
        held: The claim; everything that is written is fenced by its attempt.
        kind: How the job's queue runs its jobs.
        running: The map of live attempts, where a cancel finds this one.
        batch: What a child gets together with this claim, or got before.
    """
    isolated = held.daemon_deaths >= ALONE_AT
    live = running.start(held, "process" if isolated else kind)
    try:
        _announce(held, kit)
        verdict, policy = _verdict(live, kit, batch or Batch((), kit, running), isolated=isolated)
        outcome = decide(verdict, held, policy, now_ms=kit.clock.now_ms(), rng=kit.random)
        record(Ended(held, outcome, live.took_s(kit.clock.monotonic()), verdict.facts), kit)
    finally:
        running.end(held)


def _announce(held: Claim, kit: Kit) -> None:
    kit.emit(
        AttemptStarted(
            job_id=held.job_id,
            task=held.task,
            queue=held.queue,
            client=held.client,
            attempt=held.attempt,
            waited_s=max(0, held.started_at - held.queued_at) / MS,
            correlation_id=held.correlation_id,
        )
    )


def _verdict(live: Live, kit: Kit, batch: Batch, *, isolated: bool) -> tuple[Verdict, RunPolicy]:
    if live.asked is not None and batch.child is None:
        return Verdict(live.asked), kit.defaults
    try:
        task = kit.registry.find(live.task)
    except UnknownTask as error:
        return Verdict("unknown_task", error=error_of(error)), kit.defaults
    policy = kit.defaults.of(task.policy)
    try:
        return _run(task, live, kit, policy, batch, isolated=isolated), policy
    except PayloadError as error:  # a name that the plan of its run does not know, and that may come back
        return Verdict("payload", error=error_of(error)), policy
    except ValueDamaged as error:  # to run it with anything else would be worse than not to run it
        return Verdict("gave_up", error=JobError("Damaged", str(error)), reason="damaged"), policy
    except Exception as error:  # noqa: BLE001 - the engine's own failure must not leave a job without an outcome
        return Verdict("failed", error=engine_error(error)), policy


def _run(task: Task[..., Any], live: Live, kit: Kit, policy: RunPolicy, batch: Batch, *, isolated: bool) -> Verdict:
    held, limit_s = live.held, policy.timeout_s
    if live.kind == "thread":
        held = gathered(held, task, kit.reads)
    desk = Desk(held, kit, Budget(kit.clock))
    try:
        if live.kind == "thread":
            settings = kit.settings_of(held.client)
            return run_in_thread(task, live, desk, clock=kit.clock, timeout_s=limit_s, settings=settings)
        # Not made for a child that was handed it before: it runs, and nothing that fails here may turn us away from it.
        order = partial(_order, task, held, kit, limit_s)
        return kit.children.run(order, desk, live, batch, timeout_s=limit_s, alone=isolated)
    finally:
        desk.close()


def _order(task: Task[..., Any], held: Claim, kit: Kit, timeout_s: float | None) -> bytes:
    return encode(order_of(gathered(held, task, kit.reads), timeout_s, kit.settings_of(held.client)))
