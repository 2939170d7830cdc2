"""Small pipelines in which something is missing or does not fit, each for threads and for processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from millrace import Pipeline, Results


def misfit(name: str, queue: str) -> Pipeline:
    """One record's value is no number, and the next stage takes one."""
    misfit = Pipeline(name, inputs={"source": str}, queue=queue, retries=0)

    @misfit.stage
    def item(source: str) -> Iterator[int]:
        yield from (1, 2, 3)

    @misfit.stage
    def told(item: int) -> Any:
        return "two" if item == 2 else item

    @misfit.stage
    def twice(told: int) -> int:
        return 2 * told

    @misfit.collect
    def total(twice: Results[int]) -> list[int]:
        return [sum(twice), twice.dead]

    return misfit


threads_misfit, processes_misfit = misfit("threads-misfit", "io"), misfit("processes-misfit", "default")
