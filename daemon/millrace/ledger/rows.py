"""What leaves the ledger: frozen dataclasses, never a database object. Times are UTC epoch milliseconds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from millrace.clock import rfc3339
from millrace.ledger.history import shown

DEFAULT_CLIENT: Final = "default"


class Source(NamedTuple):
    """Where a job came from: `kind` is one of api, cli, schedule, watch, hook, stage; `name` tells which one."""

    kind: str
    name: str = ""


DAMAGED: Final = "what is on disk is not what was written"
FROM_API: Final = Source("api")


class NewJob(NamedTuple):
    """
    A job to accept. The payload is canonical JSON that was checked against its task.

    Args:
        due_at: Not before this time; None means now.
        key: Idempotency key, unique within the client.
        max_attempts: How many failures make it dead, ≥ 1.
        run_id, stage, record: The run it belongs to; unique together.
        correlation_id: Follows the work across jobs; the job's own id when empty.
        id: A UUID version 7; made by the ledger when empty.
    """

    task: str
    queue: str
    payload: str = "{}"
    client: str = DEFAULT_CLIENT
    priority: int = 0
    due_at: int | None = None
    key: str | None = None
    max_attempts: int = 1
    source: Source = FROM_API
    run_id: str | None = None
    stage: str | None = None
    record: str | None = None
    correlation_id: str = ""
    id: str = ""


class Claim(NamedTuple):
    """
    One claimed attempt: what a runner needs, and the fence (`attempt`) under which it may write.

    Args:
        given: What a stage's job gets from other stages, as it is stored, where that came with the claim; see
            `arguments.of_records`.

    A named tuple, since a busy daemon makes thousands a second and a frozen dataclass costs five times as much.
    """

    job_id: str
    task: str
    queue: str
    client: str
    attempt: int
    failures: int
    crashes: int
    daemon_deaths: int
    max_attempts: int
    payload: str
    correlation_id: str
    queued_at: int
    started_at: int
    run_id: str | None = None
    stage: str | None = None
    record: str | None = None
    given: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why an attempt failed. The traceback is text, shortened, without secrets."""

    type: str
    message: str
    traceback: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return the contract's `error` object."""
        return {"type": self.type, "message": self.message, "traceback": self.traceback}


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt that is over, or the one that runs (`outcome` is then `running`)."""

    attempt: int
    outcome: str
    daemon: str | None
    started_at: int
    ended_at: int | None
    duration_s: float | None
    error: JobError | None
    facts: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the attempt as `jobs show` gives it."""
        return {
            "attempt": self.attempt,
            "outcome": self.outcome,
            "daemon": self.daemon,
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
            "duration_s": self.duration_s,
            "error": self.error.as_json() if self.error else None,
            "facts": shown(self.facts),
        }


@dataclass(frozen=True, slots=True)
class EventRow:
    """One decision about a job, with the facts it was made on."""

    at: int
    event: str
    reason: str | None
    actor: str
    facts: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the event as `jobs show` gives it."""
        return {
            "at": rfc3339(self.at),
            "event": self.event,
            "reason": self.reason,
            "actor": self.actor,
            "facts": shown(self.facts),
        }


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as it stands. `payload` and `result` are JSON text."""

    id: str
    task: str
    queue: str
    client: str
    status: str
    reason: str | None
    priority: int
    attempt: int
    max_attempts: int
    failures: int
    crashes: int
    daemon_deaths: int
    payload: str
    result: str | None
    error: JobError | None
    key: str | None
    run_id: str | None
    stage: str | None
    record: str | None
    source: Source
    correlation_id: str
    created_at: int
    queued_at: int | None
    due_at: int | None
    started_at: int | None
    finished_at: int | None
    duration_s: float | None
    cancel_requested: bool

    def as_json(self) -> dict[str, Any]:
        """Return the contract's job object."""
        return {
            "id": self.id,
            "task": self.task,
            "queue": self.queue,
            "client": self.client,
            "status": self.status,
            "reason": self.reason,
            "priority": self.priority,
            "attempt": self.attempt,
            "max_attempts": self.max_attempts,
            "payload": value_of(self.payload),
            "result": None if self.result is None else value_of(self.result),
            "error": self.error.as_json() if self.error else None,
            "key": self.key,
            "run_id": self.run_id,
            "stage": self.stage,
            "record": self.record,
            "source": {"kind": self.source.kind, "name": self.source.name},
            "failures": self.failures,
            "crashes": self.crashes,
            "correlation_id": self.correlation_id,
            "created_at": rfc3339(self.created_at),
            "queued_at": rfc3339(self.queued_at),
            "due_at": rfc3339(self.due_at),
            "started_at": rfc3339(self.started_at),
            "finished_at": rfc3339(self.finished_at),
            "duration_s": self.duration_s,
        }


def value_of(text: str) -> Any:
    """Return what a text says; of one that is damaged on disk, that it is."""
    try:
        return json.loads(text)
    except ValueError:
        return {"$damaged": DAMAGED}


def facts_of(text: str) -> dict[str, Any]:
    """Return the facts that a text holds; of one that is damaged on disk, that it is."""
    found = value_of(text)
    return found if isinstance(found, dict) else {"$damaged": DAMAGED}


@dataclass(frozen=True, slots=True)
class JobFilter:
    """
    Which jobs a list shows; None does not filter. Newest first; `after` is the id that the last page ended with.

    Args:
        limit: Rows in a page, 1 to 1000.
    """

    status: str | None = None
    task: str | None = None
    queue: str | None = None
    client: str | None = None
    run: str | None = None
    since: int | None = None
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs; `next` is the `after` of the following page, None at the end."""

    jobs: list[JobRow]
    next: str | None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue as the ledger knows it: counts over all clients. `oldest_queued_at` is None when nothing is queued."""

    name: str
    paused: bool
    waiting: int
    queued: int
    running: int
    oldest_queued_at: int | None

    def as_json(self, now_ms: int) -> dict[str, Any]:
        """Return the queue as `queues list` gives it."""
        age = None if self.oldest_queued_at is None else max(0, now_ms - self.oldest_queued_at) / 1000
        return {
            "queue": self.name,
            "paused": self.paused,
            "waiting": self.waiting,
            "queued": self.queued,
            "running": self.running,
            "oldest_queued_s": age,
        }


@dataclass(frozen=True, slots=True)
class Tally:
    """The conservation counters of one (queue, client, task)."""

    queue: str
    client: str
    task: str
    accepted: int = 0
    waiting: int = 0
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    dead: int = 0
    cancelled: int = 0
    pruned: int = 0

    @property
    def difference(self) -> int:
        """Accepted minus all that became of it: zero, or something vanished or doubled."""
        became = self.waiting + self.queued + self.running + self.succeeded + self.dead + self.cancelled + self.pruned
        return self.accepted - became


@dataclass(frozen=True, slots=True)
class Balance:
    """
    The conservation proof: the sums of the counters, and how far they are from the rows.

    `difference` is the larger of |accepted − all that became of it| and the sum of |counter − rows| over the statuses.
    """

    accepted: int
    by_status: dict[str, int]
    pruned: int
    difference: int
    details: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the balance as `/health` and `doctor` give it."""
        return {
            "accepted": self.accepted,
            **self.by_status,
            "pruned": self.pruned,
            "difference": self.difference,
            "details": self.details,
        }


@dataclass(frozen=True, slots=True)
class DaemonRow:
    """A daemon that has served this ledger."""

    id: str
    pid: int
    host: str
    version: str
    started_at: int
    beat_at: int
    stopped_at: int | None


@dataclass(frozen=True, slots=True)
class ChildRow:
    """A child process on record: written before it gets work, removed when it is gone for certain."""

    pid: int
    start_ticks: int
    pgid: int
    daemon: str
    queue: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token: its name, role and bounds, never its text."""

    id: str
    name: str
    role: str
    client: str | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """How far a running job says it is; `total` is None where nobody knows."""

    done: int
    total: int | None
    started_at: int
    at: int

    def as_json(self) -> dict[str, Any]:
        """Return the progress as `jobs show` gives it."""
        seconds = max(0, self.at - self.started_at) / 1000
        rate = self.done / seconds if seconds else None
        left = None if self.total is None or not rate else round(max(0, self.total - self.done) / rate, 1)
        return {
            "done": self.done,
            "total": self.total,
            "percent": round(100 * self.done / self.total, 1) if self.total else None,
            "rate_per_s": None if rate is None else round(rate, 3),
            "left_s": left,
            "at": rfc3339(self.at),
        }
