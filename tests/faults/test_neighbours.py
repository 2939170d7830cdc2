"""
Many callers at once, some of whom are refused, so that good and bad units meet in the same commits.

Proved: one failing unit does not fail its neighbours; every caller hears its own verdict; what was accepted is there
once, what was refused is not there at all, and the counters agree.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.faults.referee import Referee

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.process.scratch import Scratch

CALLERS = 8
CALLS = 150
EXPECTED = {"good": 202, "keyed": 202, "again": 200, "conflict": 409, "unknown": 422, "wrong": 422, "missing": 404}


def call(kind: str, n: int) -> tuple[str, dict[str, Any] | None]:
    """Return path and body of a call of a kind; `n` is a number that no other call has."""
    if kind == "missing":
        return f"/api/v1/jobs/01a00000-0000-7000-8000-{n:012d}/cancel", None
    good: dict[str, Any] = {"task": "mark", "queue": "io", "payload": {"n": n}}
    return "/api/v1/jobs", {
        "good": good,
        "keyed": good | {"key": f"k{n}"},
        "again": good | {"key": "shared", "payload": {"n": 0}},
        "conflict": good | {"key": "shared"},
        "unknown": good | {"task": "mork"},
        "wrong": good | {"payload": {"n": "one"}},
    }[kind]


def test_refused_submissions_leave_their_neighbours_alone(
    site: Scratch, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int]
) -> None:
    """Key conflicts fail inside the transaction, beside units of others that must be committed with it."""
    daemon = site.serve()
    referee = Referee(site, tmp_path / "acks.log")
    first = site.ask("POST", "/api/v1/jobs", json=call("again", 0)[1])
    assert first.status_code == 202
    shared = first.json()["id"]
    calls = rounds(CALLS)

    def caller(number: int) -> list[tuple[str, int, str | None]]:
        chance = random.Random(seeds[number])
        heard = []
        with site.client() as client:
            for turn in range(calls):
                kind = chance.choice(tuple(EXPECTED))
                path, body = call(kind, 1 + number * calls + turn)
                answer = client.post(path, json=body)
                heard.append((kind, answer.status_code, answer.json().get("id")))
        return heard

    seeds = [dice.random() for _ in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        heard = [item for items in pool.map(caller, range(CALLERS)) for item in items]
    wrong = Counter((kind, code) for kind, code, _ in heard if code != EXPECTED[kind])
    assert not wrong, wrong
    assert {job for kind, _, job in heard if kind == "again"} == {shared}
    accepted = [job for kind, _, job in heard if kind in {"good", "keyed"}]
    assert len(set(accepted)) == len(accepted)
    referee.await_rest(30)
    referee.acks.write_text("".join(f"{job} 0\n" for job in accepted))
    referee.judge()
    assert referee.rows("SELECT count(*) FROM job") == [(len(accepted) + 1,)], "something was refused and yet accepted"
    assert daemon.stop() == 0


def test_refused_lines_of_a_batch_leave_the_others_alone(site: Scratch, tmp_path: Path) -> None:
    """All or nothing is a matter of each line."""
    daemon = site.serve()
    referee = Referee(site, tmp_path / "acks.log")
    assert site.ask("POST", "/api/v1/jobs", json=call("again", 0)[1]).status_code == 202
    kinds = [kind for _ in range(300) for kind in ("good", "keyed", "again", "conflict", "unknown", "wrong")]
    lines = [json.dumps(call(kind, n + 1)[1]) for n, kind in enumerate(kinds)]
    answer = site.ask("POST", "/api/v1/jobs/batch", content="\n".join(lines).encode())
    assert answer.status_code == 200
    verdicts = [json.loads(line) for line in answer.text.splitlines()]
    assert [verdict["line"] for verdict in verdicts] == list(range(1, len(kinds) + 1))
    assert [verdict["status"] for verdict in verdicts] == [EXPECTED[kind] for kind in kinds]
    referee.await_rest(30)
    referee.judge()
    assert referee.rows("SELECT count(*) FROM job") == [(601,)]
    assert daemon.stop() == 0
