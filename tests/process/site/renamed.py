"""Pipelines whose code a test changes while a run of them is open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from millrace import Pipeline, Results


def weights(name: str, **options: Any) -> Pipeline:
    """Return a pipeline whose two names a test changes: `weight` and `double`."""
    flow = Pipeline(name, inputs={"source": str, "unit": (str, "kg")}, **options)

    @flow.stage
    def number(source: str) -> Iterator[int]:
        yield from range(3)

    @flow.stage
    def weight(number: int) -> int:
        return number * 10

    @flow.stage(queue="side")
    def double(number: int, weight: int) -> int:
        return weight * 2

    @flow.stage(queue="side")
    def late(source: str) -> int:
        return 1

    @flow.collect
    def total(weight: Results[int], late: int, unit: str) -> str:
        return f"{sum(weight) + late} {unit}"

    @flow.collect
    def doubled(double: Results[int]) -> int:
        return sum(double)

    return flow


threads = weights("threads", queue="io")
processes = weights("processes")
