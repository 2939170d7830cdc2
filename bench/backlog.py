"""
Backlog: whether half a million queued jobs slow down those who submit and those who claim. Two ledgers in one process,
one empty and one full, are used in turns, a chunk of submits, claims and ends each.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

from figure import Figure, in_child, main
from scratch import folder

from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob

QUEUED: Final = 500_000
QUICK_QUEUED: Final = 50_000
FILL: Final = 1_000
TURNS: Final = 40
QUICK_TURNS: Final = 10
SUBMITS: Final = 100
SLOTS: Final = 10
TARGET: Final = 0.2
QUEUE: Final = "thread"
LIMIT_S: Final = 170.0
PAYLOAD: Final = '{"company":"Analytical Engines Ltd","email":"ada@example.com","employees":1850}'


def _job() -> NewJob:
    return NewJob("noop", QUEUE, PAYLOAD)


def _chunk(ledger: Ledger) -> tuple[float, float]:
    """Submit one by one, then claim as many, some at a time; return the seconds of both. Ending them is not timed."""
    began = perf_counter()
    for _ in range(SUBMITS):
        ledger.moves.accept([_job()]).wait()
    submitted = perf_counter()
    claims = [held for _ in range(SUBMITS // SLOTS) for held in ledger.moves.claim(QUEUE, SLOTS).wait()]
    claimed = perf_counter()
    for ticket in [ledger.moves.succeed(held, "null", duration_s=0.0) for held in claims]:
        ticket.wait()
    if len(claims) != SUBMITS:
        raise RuntimeError(f"{len(claims)} of {SUBMITS} claimed")
    return submitted - began, claimed - submitted


def child(place: str, queued: str, turns: str) -> dict[str, Any]:
    """Fill one ledger and take all turns in this process."""
    ledgers = {name: Ledger(Path(place) / f"{name}.db") for name in ("empty", "full")}
    for ledger in ledgers.values():
        ledger.moves.daemon = "bench"
    tickets = [ledgers["full"].moves.accept([_job() for _ in range(FILL)]) for _ in range(int(queued) // FILL)]
    for ticket in tickets:
        ticket.wait()
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in ledgers}
    for turn in range(int(turns) + 1):
        for name in sorted(ledgers, reverse=bool(turn % 2)):
            values[name].append(_chunk(ledgers[name]))
    if ledgers["full"].reads.depth(QUEUE) != int(queued):
        raise RuntimeError("the backlog is not what it was")
    for ledger in ledgers.values():
        ledger.close()
    return {name: found[1:] for name, found in values.items()}


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return what a backlog costs."""
    queued, turns = (QUICK_QUEUED, QUICK_TURNS) if quick else (QUEUED, TURNS)
    with folder() as place:
        values = in_child(__file__, place, queued, turns, limit_s=LIMIT_S)
    found = []
    for place_, what, count in ((0, "submits", SUBMITS), (1, "claims", SUBMITS)):
        empty, full = (median(chunk[place_] for chunk in values[name]) for name in ("empty", "full"))
        slower = median(b[place_] / a[place_] for a, b in zip(values["empty"], values["full"], strict=True)) - 1
        found.append(
            Figure(
                f"{what} with {queued:,} jobs queued",
                f"< {TARGET:.0%} slower than with none",
                f"{slower:+.0%} ({count / full:,.0f}/s : {count / empty:,.0f}/s)",
                slower < TARGET,
            )
        )
    return found


if __name__ == "__main__":
    main(__doc__, figures, child)
