"""A pipeline twice, for threads and for processes, whose jobs leave marks: two branches, a join, a route, a barrier."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from millrace import GiveUp, Pipeline, Results, context

from .marks import alone

SOURCE = "source.shifted"  # what is in it is added to every number of the source
CURE = "cured"
PACE_S = 0.01  # for a few items
HUGE = 50 * 2**20


@contextmanager
def marked() -> Iterator[None]:
    """Leave marks around a stage's job."""
    with alone(int(context().job_id.replace("-", ""), 16) % 2**62):
        yield


def pause(n: int) -> None:
    """Take some milliseconds, for some records."""
    if n % 5 == 0:
        threading.Event().wait(n % 7 / 1000)


def build(name: str, queue: str) -> Pipeline:  # noqa: C901 - a list of stages, each a function of few lines
    """
    Return the pipeline, all of it in one queue. Its inputs: how many records; of how many one is given up in `left`
    until there is a cure, 0 for none; of which one the result is huge.
    """
    inputs = {"count": int, "ill": (int, 0), "huge": (int, 0)}
    flow = Pipeline(name, inputs=inputs, queue=queue, retries=50, backoff="1ms..20ms", timeout="60s")

    @flow.stage
    def part(count: int) -> Iterator[int]:
        with marked():
            shift = Path(SOURCE)
            by = int(shift.read_text()) if shift.exists() else 0
            for n in range(1, count + 1):
                if n % 4 == 0:
                    threading.Event().wait(PACE_S)
                yield n + by

    @flow.stage
    def left(part: int, ill: int) -> int:
        with marked():
            if ill and part % ill == 0 and not Path(CURE).exists():
                raise GiveUp(f"{part} is ill")
            pause(part)
            return 2 * part

    @flow.stage
    def right(part: int, huge: int) -> int:
        with marked():
            pause(part + 1)
            return "x" * HUGE if part == huge else 3 * part  # type: ignore[return-value] # on purpose

    @flow.stage
    def joined(part: int, left: int, right: int) -> int:
        with marked():
            if (left, right) != (2 * part, 3 * part):
                raise GiveUp(f"{part} met {left} and {right}")
            return left + right

    @flow.route
    def way(joined: int) -> str:
        with marked():
            return "odd" if joined % 2 else "even"

    @way.to("odd")
    def odd(joined: int) -> int:
        with marked():
            return joined

    @way.otherwise
    def even(joined: int) -> int:
        with marked():
            pause(joined)
            return -joined

    @flow.stage
    def met(odd: int = 0, even: int = 0) -> int:
        with marked():
            return odd + even

    @flow.collect
    def total(met: Results[int], way: Results[str]) -> dict[str, Any]:
        with marked():
            threading.Event().wait(0.1)
            found: dict[str, list[Any]] = {str(record): [value] for record, value in met.records()}
            for record, label in way.records():
                found[str(record)].append(label)
            threading.Event().wait(0.1)
            return {"found": found, "dead": met.dead}

    @flow.stage
    def told(total: dict[str, Any]) -> int:
        with marked():
            return len(total["found"])

    return flow


in_threads = build("in_threads", "io")
in_processes = build("in_processes", "default")
