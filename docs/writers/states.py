"""The page of a job's states: from the table of moves."""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.ledger.states import FINAL, MOVES, REASONS, Status, diagram

if TYPE_CHECKING:
    from collections.abc import Iterator


STATUSES: Final = {
    Status.WAITING: "for a time or a cause; `reason` says for what",
    Status.QUEUED: "for a worker",
    Status.RUNNING: "an attempt is under way",
    Status.SUCCEEDED: "its function has returned; the result is kept",
    Status.DEAD: "out of attempts, or not worth another: a dead letter, kept until somebody decides",
    Status.CANCELLED: "somebody decided against it",
}
WAITS: Final = {
    "due": ("for its time (`--in`, `--at`, `due_at`)", True),
    "upstream": ("for the stages before it", False),
    "backoff": ("for its next attempt", True),
    "breaker": ("for an outside service that is down", False),
    "rate": ("for an outside service's limit", False),
    "limit": ("for room: no process could be had, or a limit is reached", True),
    "paused": ("for its queue to be resumed", False),
    "unknown_task": ("for its task, which no job file has; looked at when the daemon starts", True),
    "payload": ("for a payload that fits: the task has changed; looked at when the daemon starts", True),
    "answer": ("for a person", False),
    "doubt": ("for a person to say whether an effect has happened", False),
}
MOVES_MEAN: Final = {
    "promote": "its time has come, or its cause is gone",
    "claim": "a worker takes it; a new attempt begins",
    "succeed": "the function has returned",
    "retry": "the attempt failed and there are more: costs a failure",
    "give_up": "the attempt failed and there are no more, or another would not help",
    "release": "handed back at shutdown, or taken back from a daemon that died: costs nothing",
    "park": "has to wait for something: costs nothing",
    "hold": "a claim met a limit",
    "stop": "it ran and was cancelled",
    "cancel": "somebody cancelled it before it ran",
    "abandon": "it waited beyond its bound",
    "answer": "a person's answer is its result",
    "requeue": "somebody put it back, with a clean account of failures",
    "discard": "somebody decided that it stays undone",
}


def states() -> Iterator[str]:
    """Yield the page of the state machine."""
    _same("statuses", STATUSES, Status)
    _same("reasons", WAITS, REASONS)
    _same("moves", MOVES_MEAN, MOVES)
    yield "# States of a job\n"
    yield f"```mermaid\n{diagram()}```\n"
    yield "| status | open or over | meaning |\n|---|---|---|"
    for status in Status:
        yield f"| `{status.value}` | {'over' if status in FINAL else 'open'} | {STATUSES[status]} |"
    yield "\n## Moves\n"
    yield "Nothing else can happen to a job: what is not in this table is refused with the job's status (exit 5,"
    yield "HTTP 409).\n"
    yield "| move | from | to | when |\n|---|---|---|---|"
    for move, (sources, to) in MOVES.items():
        before = ", ".join(f"`{one.value}`" for one in sorted(sources))
        yield f"| `{move}` | {before} | `{to.value}` | {MOVES_MEAN[move]} |"
    yield "\n## Reasons of a waiting job\n"
    yield "Those marked *later* belong to parts of Millrace that do not exist yet; no job has them.\n"
    yield "| reason | waits | |\n|---|---|---|"
    for reason in REASONS:
        meaning, now = WAITS[reason]
        yield f"| `{reason}` | {meaning} | {'' if now else 'later'} |"


def _same(what: str, told: Any, known: Any) -> None:
    if set(told) != set(known):
        raise ValueError(f"{what}: docs/generate.py must explain {sorted(set(told) ^ set(known))}")
