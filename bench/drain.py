"""
Drain: how fast a backlog of jobs that do nothing is worked off, all of it durable, the whole history kept. What is left
is the engine's own cost of a job.

The backlog is put in while the queue is paused. The clock runs from `resume` until the last success is committed; then
the ledger is looked at from outside: as many attempts as jobs, a balance of zero.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Final

import peer
from figure import QUICK_ROUNDS, ROUNDS, Figure, in_child, main, ratio, rivals
from scratch import Ends, check, folder, make_site, serving

from millrace.config.load import load_site
from millrace.queue.submit import Submission

JOBS: Final = 10_000
QUICK_JOBS: Final = 2_000
WORKERS: Final = 4
WARM_UP: Final = 40  # enough for each worker to have its child
LIMIT_S: Final = 60.0
THREAD_TARGET: Final = 4.0
PROCESS_TARGET: Final = 2.0
TASKS: Final = {"thread": "noop", "process": "noop_child"}


def child(place: str, queue: str, jobs: str) -> dict[str, Any]:
    """Drain one backlog in this process."""
    site = load_site(Path(place) / "config.toml", {})
    count, task = int(jobs), TASKS[queue]
    ends = Ends()
    with serving(site, ends) as engine:
        ends.expect(WARM_UP)
        list(engine.submitter.submit_many(Submission(task) for _ in range(WARM_UP)))
        ends.wait(LIMIT_S)
        engine.moves.pause(queue, actor="bench").wait()
        list(engine.submitter.submit_many(Submission(task) for _ in range(count)))
        ends.expect(count)
        began, spent = perf_counter(), process_time()
        engine.moves.resume(queue, actor="bench")
        ends.wait(LIMIT_S)
        took, spent = perf_counter() - began, process_time() - spent
    return {"per_s": count / took, "cpu_us": spent / count * 1e6}


def measured(queue: str, jobs: int) -> float:
    """Return jobs a second of one drain, in a process and a site of its own."""
    with folder() as place:
        site = make_site(place, workers=WORKERS)
        per_s = float(in_child(__file__, place, queue, jobs)["per_s"])
        check(site, jobs + WARM_UP)
        return per_s


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return how we compare with the peer, in both kinds of queue."""
    jobs = QUICK_JOBS if quick else JOBS
    values = rivals(
        QUICK_ROUNDS if quick else ROUNDS,
        {
            "peer": lambda: peer.measured("drain", jobs, WORKERS),
            "thread": lambda: measured("thread", jobs),
            "process": lambda: measured("process", jobs),
        },
    )
    return [
        _figure("thread", THREAD_TARGET, values, jobs),
        _figure("process", PROCESS_TARGET, values, jobs),
    ]


def _figure(queue: str, target: float, values: dict[str, list[float]], jobs: int) -> Figure:
    times = ratio(values[queue], values["peer"])
    per_s = {name: median(found) for name, found in values.items()}
    return Figure(
        f"drain of {jobs:,} no-op jobs, {queue} queue",
        f"≥ {target:g} × peer",
        f"{times:.1f} × ({per_s[queue]:,.0f}/s : {per_s['peer']:,.0f}/s)",
        times >= target,
    )


if __name__ == "__main__":
    main(__doc__, figures, child)
