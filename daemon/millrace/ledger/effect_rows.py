"""What goes into the effects journal, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.clock import rfc3339
from millrace.ledger.rows import value_of

if TYPE_CHECKING:
    from millrace.ledger.rows import JobError


class Intent(NamedTuple):
    """
    What a job is about to do to the outside world.

    Args:
        key: Unique among the effects of a client, across all its jobs.
        call: What is called, by its name and a digest of what it is given.
        park: Whether a person decides if it is in doubt; otherwise the caller finds out by itself.
    """

    key: str
    call: str
    park: bool = False


class EffectEnd(NamedTuple):
    """
    How a call ended.

    Args:
        key: Of the effect.
        status: done, not_done (for certain) or doubt.
        result: JSON text of what the call returned, if it did and that has a JSON form.
        error: What it raised; of one that is done, why there is no result.
    """

    key: str
    status: str
    result: str | None = None
    error: JobError | None = None


@dataclass(frozen=True, slots=True)
class EffectRow:
    """
    One effect.

    Args:
        status: begun (an attempt that is alive does it), doubt, done or not_done.
        call: What is called. What a person has settled holds for whatever call. None in rows that a person settled
            before this was kept.
        result: JSON text.
        job_id: The job that has begun it, or took it over while it was in doubt; `attempt` is its attempt.
        at: When the intent was written, in UTC epoch milliseconds; `ended_at` when the outcome was.
        doubt_at: When it was found to be in doubt, if it ever was; `told_at` since when it waited for a person.
        settled_by: Who decided, if a person did.
    """

    client: str
    key: str
    status: str
    call: str | None
    result: str | None
    error: JobError | None
    job_id: str
    attempt: int
    at: int
    ended_at: int | None
    doubt_at: int | None
    told_at: int | None
    settled_by: str | None

    @property
    def what(self) -> str:
        """What is called, by name alone."""
        return self.call.rpartition(" ")[0] if self.call else ""

    def as_json(self) -> dict[str, Any]:
        """Return the effect as `effects list` and the HTTP interface give it."""
        return {
            "key": self.key,
            "client": self.client,
            "status": self.status,
            "call": self.what or None,
            "result": None if self.result is None else value_of(self.result),
            "error": self.error.as_json() if self.error else None,
            "job_id": self.job_id,
            "attempt": self.attempt,
            "at": rfc3339(self.at),
            "ended_at": _time(self.ended_at),
            "doubt_at": _time(self.doubt_at),
            "told_at": _time(self.told_at),
            "settled_by": self.settled_by,
        }


class EffectCounts(NamedTuple):
    """How many effects are in doubt now, and how many of those only a person will settle."""

    in_doubt: int
    for_a_person: int


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
