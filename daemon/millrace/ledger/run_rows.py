"""Runs as they enter and leave the ledger, as in `rows`: frozen, times in UTC epoch milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.clock import rfc3339
from millrace.ledger.rows import DEFAULT_CLIENT, FROM_API, Source, value_of

if TYPE_CHECKING:
    from millrace.ledger.plan import Plan
    from millrace.ledger.rows import JobError


class NewRun(NamedTuple):
    """
    A run to start.

    Args:
        pipeline: Its name.
        plan: The graph that it follows to its end.
        inputs: JSON text of an object, checked against the pipeline.
        priority: Of all its jobs.
        key: Idempotency key, unique within the client among runs.
        correlation_id: Follows the work across jobs; the run's own id when empty.
        id: A UUID version 7; made by the ledger when empty.
    """

    pipeline: str
    plan: Plan
    inputs: str = "{}"
    client: str = DEFAULT_CLIENT
    source: Source = FROM_API
    priority: int = 0
    key: str | None = None
    correlation_id: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The answer to the start of a run; `existed` says that its key was known and no run was added."""

    id: str
    existed: bool


class Item(NamedTuple):
    """
    One item that a fan-out emitted.

    Args:
        text: Canonical JSON of a good one, None of a bad one.
        raw: A bad item as it came, kept in the payload of its dead letter.
        problem: What is wrong with a bad one.
        payload: Of its dead letter, if that has been made already.
    """

    text: str | None
    raw: Any = None
    problem: JobError | None = None
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """
    A run as it stands. `inputs` is JSON text.

    Args:
        counts: By stage, how many of its jobs are in each status, and how many were skipped; only what is not zero.
        records: By fan-out, how many good items it has emitted.
        edition: 1, and one more each time that what was collected already is collected anew.
    """

    id: str
    pipeline: str
    client: str
    status: str
    inputs: str
    counts: dict[str, dict[str, int]]
    records: dict[str, int]
    edition: int
    source: Source
    correlation_id: str
    key: str | None
    created_at: int
    finished_at: int | None
    cancel_requested: bool

    def as_json(self) -> dict[str, Any]:
        """Return the contract's run object."""
        return {
            "id": self.id,
            "pipeline": self.pipeline,
            "client": self.client,
            "status": self.status,
            "inputs": value_of(self.inputs),
            "counts": self.counts,
            "records": self.records,
            "edition": self.edition,
            "source": {"kind": self.source.kind, "name": self.source.name},
            "correlation_id": self.correlation_id,
            "key": self.key,
            "created_at": rfc3339(self.created_at),
            "finished_at": rfc3339(self.finished_at),
            "cancel_requested": self.cancel_requested,
        }


@dataclass(frozen=True, slots=True)
class RunFilter:
    """
    Which runs a list shows; None does not filter. Newest first; `after` is the id that the last page ended with.

    Args:
        limit: Rows in a page, 1 to 1000.
    """

    pipeline: str | None = None
    client: str | None = None
    status: str | None = None
    since: int | None = None
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of runs; `next` is the `after` of the following page, None at the end."""

    runs: list[RunRow]
    next: str | None
