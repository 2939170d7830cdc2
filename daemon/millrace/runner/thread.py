"""Runs an attempt in the calling thread: for short I/O-bound jobs. It stops when the job lets it, not before."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from millrace.runner.attempt import attempt
from millrace.runner.context import Context, Entered
from millrace.runner.stop import CANCELLED, TIMEOUT, StopJob
from millrace.runner.verdict import stopped, unasked

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.define.task import Task
    from millrace.runner.desk import Desk
    from millrace.runner.running import Live
    from millrace.runner.verdict import Verdict


class ThreadLine:
    """The way to the desk when job and supervisor are one thread: plain calls, each a point where the job may end."""

    def __init__(self, desk: Desk, live: Live, clock: Clock) -> None:
        self._desk = desk
        self._live = live
        self._clock = clock

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        """See `context.Line`."""
        if kind != "once.end":  # what was done to the outside world is written down, however late it is
            self.check()
        return self._desk.answer(kind, body)

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        """See `context.Line`."""
        self._desk.remark(kind, body)

    def check(self) -> None:
        """See `context.Line`."""
        live = self._live
        if live.deadline is not None and self._clock.monotonic() >= live.deadline:
            live.ask(TIMEOUT)
        if live.asked is not None:
            raise StopJob(live.asked)


def run_in_thread(
    task: Task[..., Any], live: Live, desk: Desk, *, clock: Clock, timeout_s: float | None, settings: dict[str, Any]
) -> Verdict:
    """
    Run one attempt here and return what it came to.

    Args:
        live: The attempt's entry in the map of running ones; its deadline is set here.
        timeout_s: Seconds until `step`, `log` and the like end the attempt, > 0; None means no bound.
    """
    held = desk.held
    live.begin(clock.monotonic(), timeout_s)
    ctx = Context(
        job_id=held.job_id,
        task=held.task,
        queue=held.queue,
        attempt=held.attempt,
        client=held.client,
        correlation_id=held.correlation_id,
        run_id=held.run_id,
        stage=held.stage,
        record=held.record,
        deadline=live.deadline,
        settings=settings,
        line=ThreadLine(desk, live, clock),
    )
    with Entered(ctx):
        verdict = copy_context().run(attempt, task, held.payload)  # how decimals are rounded is its own
    asked = live.asked
    if asked is None:
        return unasked(verdict)
    if verdict.kind == "ok" or (verdict.kind not in {asked, "failed"} and asked != CANCELLED):
        return verdict
    return stopped(asked, verdict, live, {"ended_by": "asking"})
