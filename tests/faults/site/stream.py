"""A pipeline that does little for many records, in threads and in processes: its daemon and children get killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from millrace import Pipeline, Results


def build(name: str, queue: str) -> Pipeline:  # noqa: C901 - a list of stages, each a function of few lines
    """Return the pipeline, all of it in one queue."""
    flow = Pipeline(name, inputs={"count": int}, queue=queue, retries=20, backoff="1ms..20ms")

    @flow.stage
    def item(count: int) -> Iterator[dict[str, int]]:
        for n in range(1, count + 1):
            if n % 10 == 0:
                threading.Event().wait(0.005)  # long enough to be killed in its midst
            yield {"n": n if n % 50 else "bad"}  # type: ignore[dict-item] # on purpose

    @flow.stage
    def left(item: dict[str, int]) -> int:
        return item["n"]

    @flow.stage
    def right(item: dict[str, int]) -> int:
        return -item["n"]

    @flow.route
    def joined(left: int, right: int) -> str:
        assert left == -right
        return "odd" if left % 2 else "even"

    @joined.to("odd")
    def odd(left: int) -> int:
        return left

    @joined.otherwise
    def even(left: int) -> int:
        return left

    @flow.stage
    def met(odd: int = 0, even: int = 0) -> int:
        return odd or even

    @flow.collect
    def total(met: Results[int], joined: Results[str]) -> dict[str, Any]:
        return {"met": list(met), "odd": sum(one == "odd" for one in joined), "dead": met.dead}

    @flow.stage
    def told(total: dict[str, Any]) -> int:
        return len(total["met"])

    return flow


threads = build("threads", "io")
processes = build("processes", "default")
