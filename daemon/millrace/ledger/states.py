"""
The state machine of a job: one table. The CHECK constraint of the schema, the diagram in the docs and the tests are
derived from it, and `moves` refuses what is not in it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"


FINAL: Final = frozenset({Status.SUCCEEDED, Status.DEAD, Status.CANCELLED})

# Reasons of a waiting job; `breaker` and `rate` carry the name of the service behind a colon.
REASONS: Final = (
    "due",
    "upstream",
    "backoff",
    "breaker",
    "rate",
    "limit",
    "paused",
    "unknown_task",
    "payload",
    "answer",
    "doubt",
)

S = Status
MOVES: Final[dict[str, tuple[frozenset[Status], Status]]] = {
    # move      from                                to
    "promote": (frozenset({S.WAITING}), S.QUEUED),
    "claim": (frozenset({S.QUEUED}), S.RUNNING),
    "succeed": (frozenset({S.RUNNING}), S.SUCCEEDED),
    "retry": (frozenset({S.RUNNING}), S.WAITING),  # costs a failure
    "give_up": (frozenset({S.RUNNING}), S.DEAD),
    "release": (frozenset({S.RUNNING}), S.QUEUED),  # shutdown, lost attempt: costs nothing
    "park": (frozenset({S.RUNNING}), S.WAITING),  # breaker, rate, unknown task: costs nothing
    "hold": (frozenset({S.QUEUED}), S.WAITING),  # limit, paused: lazily, when a claim meets it
    "stop": (frozenset({S.RUNNING}), S.CANCELLED),  # the end of a running job that was cancelled
    "cancel": (frozenset({S.WAITING, S.QUEUED}), S.CANCELLED),
    "abandon": (frozenset({S.WAITING, S.QUEUED}), S.DEAD),  # waited beyond its bound
    "answer": (frozenset({S.WAITING}), S.SUCCEEDED),  # a person's answer is the result
    "requeue": (frozenset({S.DEAD, S.CANCELLED}), S.QUEUED),
    "discard": (frozenset({S.DEAD}), S.CANCELLED),  # somebody decided against it; the history stays
}


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", "    [*] --> queued: accept", "    [*] --> waiting: accept (due later)"]
    for move, (froms, to) in MOVES.items():
        lines += [f"    {source} --> {to}: {move}" for source in sorted(froms)]
    return "\n".join(lines) + "\n"
