"""What a schedule submits, checked through the one door as if somebody had asked for it; written with its fire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.events import JobsAccepted, RunStarted
from millrace.ledger.rows import NewJob, Source
from millrace.queue.runs import RunSubmission
from millrace.queue.submit import Submission

if TYPE_CHECKING:
    from millrace.events import Emit
    from millrace.ledger.run_rows import NewRun
    from millrace.queue.submit import Submitter

SCHEDULE = "schedule"


class Order(NamedTuple):
    """
    What a schedule wants run.

    Args:
        schedule: Its name: the source of what is submitted.
        kind, target: The task or the pipeline.
        payload: The payload, or the inputs.
        client: For whom.
    """

    schedule: str
    kind: str
    target: str
    payload: dict[str, Any]
    client: str


def prepared(submitter: Submitter, order: Order, due_at: int | None = None) -> NewJob | NewRun:
    """
    Return the job or the run of an order, checked against the site; nothing is written.

    A full queue does not refuse it: bounds are for those who can come again.

    Args:
        due_at: The time for which it is submitted, epoch ms; a job keeps it.
    Raises: UnknownTask, PayloadError, TooLarge.
    """
    source = Source(SCHEDULE, order.schedule)
    if order.kind == "task":
        wanted = Submission(order.target, payload=order.payload, client=order.client, due_at=due_at, source=source)
        return submitter.prepare(wanted)
    return submitter.plan_run(RunSubmission(order.target, payload=order.payload, client=order.client, source=source))


def announce(emit: Emit, work: NewJob | NewRun, work_id: str) -> None:
    """Tell of what was submitted, after its commit."""
    correlation_id = work.correlation_id or work_id
    if isinstance(work, NewJob):
        emit(JobsAccepted(work.task, work.queue, work.client, work.source.kind, 1, work_id))
    else:
        emit(RunStarted(work_id, work.pipeline, work.client, work.source.kind, correlation_id))
