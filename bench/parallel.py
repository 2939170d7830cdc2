"""Parallel: 500 jobs that sleep 50 ms, with 50 threads. Ideal is half a second; more is what the engine adds."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

from figure import QUICK_ROUNDS, ROUNDS, Figure, in_child, main
from scratch import Ends, check, folder, make_site, serving

from millrace.config.load import load_site
from millrace.queue.submit import Submission

JOBS: Final = 500
NAP_MS: Final = 50
THREADS: Final = 50
IDEAL_S: Final = JOBS * NAP_MS / 1000 / THREADS
TARGET: Final = 1.25
LIMIT_S: Final = 30.0


def child(place: str, rounds: str) -> dict[str, Any]:
    """Take all rounds in this process, on one daemon; the first is not counted."""
    site, ends, took = load_site(Path(place) / "config.toml", {}), Ends(), []
    with serving(site, ends) as engine:
        for _ in range(int(rounds) + 1):
            engine.moves.pause("thread", actor="bench").wait()
            list(engine.submitter.submit_many(Submission("nap", payload={"ms": NAP_MS}) for _ in range(JOBS)))
            ends.expect(JOBS)
            began = perf_counter()
            engine.moves.resume("thread", actor="bench")
            ends.wait(LIMIT_S)
            took.append(perf_counter() - began)
    return {"s": took[1:]}


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return how far from the ideal we are."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with folder() as place:
        site = make_site(place, workers=THREADS)
        took = in_child(__file__, place, rounds)["s"]
        check(site, JOBS * (rounds + 1))
    times = median(took) / IDEAL_S
    return [
        Figure(
            f"{JOBS} jobs of {NAP_MS} ms with {THREADS} threads",
            f"≤ {TARGET:g} × {IDEAL_S:g} s",
            f"{times:.2f} × ({median(took):.3f} s, worst {max(took):.3f} s)",
            times <= TARGET,
        )
    ]


if __name__ == "__main__":
    main(__doc__, figures, child)
