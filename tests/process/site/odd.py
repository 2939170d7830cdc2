"""Small pipelines in which something is missing or does not fit, each for threads and for processes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from millrace import GiveUp, Pipeline, Results, context


class Mode(Enum):
    """What a route answers."""

    ON = "on"
    OFF = "off"


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


def spare(name: str, queue: str) -> Pipeline:
    """A fan-out in a branch that is not taken, collected with defaults."""
    spare = Pipeline(name, inputs={"source": str}, queue=queue, retries=0)

    @spare.route
    def mode(source: str) -> Mode:
        return Mode.OFF

    @mode.to("on")
    def item(source: str) -> Iterator[int]:
        yield 1

    @spare.stage
    def twice(item: int) -> int:
        return 2 * item

    @mode.to("off")
    def off() -> str:
        return "off"

    @spare.collect
    def total(
        mode: Mode,
        twice: Results[int] | None = None,
        item: Annotated[Results[int] | None, "with a default"] = None,
    ) -> Any:
        return [mode.value, twice, item]

    @spare.collect
    def sum_up(twice: Results[int] = None) -> Any:  # type: ignore[assignment] # as many would write it
        return twice

    @spare.collect
    def never(item: Results[int]) -> Any:
        return sum(item)

    return spare


def lost(name: str, queue: str) -> Pipeline:  # noqa: C901 - a list of stages, each a function of few lines
    """One need is dead and the other one skipped; the fan-out waits for what its records need of the run."""
    lost = Pipeline(name, inputs={"source": str}, queue=queue, retries=0)

    @lost.stage
    def rate(source: str) -> int:
        raise GiveUp("no rate")

    @lost.stage
    def priced() -> Iterator[int]:
        yield 1

    @lost.stage
    def price(priced: int, rate: int) -> int:
        return priced * rate

    @lost.stage
    def item() -> Iterator[int]:
        yield from (1, 2)

    @lost.route
    def way(item: int) -> str:
        return "left"

    @way.to("right")
    def right(item: int) -> int:
        return item

    @way.otherwise
    def dies(item: int) -> int:
        if item == 2:
            raise GiveUp("no")
        return item

    @lost.stage
    def half(item: int) -> int:
        if item == 2:
            raise GiveUp("no half")
        return item

    @lost.stage
    def needs(right: int, half: int) -> int:
        return right + half

    return lost


def broken(name: str, queue: str) -> Pipeline:
    """A source that ends the program after two items."""
    broken = Pipeline(name, inputs={"source": str}, queue=queue, retries=0)

    @broken.stage
    def item(source: str) -> Iterator[int]:
        yield 1
        yield 2
        sys.exit("no more")

    @broken.stage
    def twice(item: int) -> int:
        return 2 * item

    return broken


def slow(name: str, queue: str) -> Pipeline:
    """A collect that goes on until it is ended while a record is not cured; its file tells when it was at work."""
    slow = Pipeline(name, inputs={"source": str}, queue=queue, retries=0)

    @slow.stage
    def item(source: str) -> Iterator[int]:
        yield from (1, 2)

    @slow.stage
    def cured(item: int) -> int:
        if item == 2 and not Path("cured").exists():
            raise GiveUp("not yet")
        return item

    @slow.collect
    def total(cured: Results[int]) -> int:
        _note(f"begins with {len(cured)}")
        try:
            while cured.dead:
                context().check()
                threading.Event().wait(0.01)
        finally:
            _note(f"ends with {len(cured)}")
        return len(cured)

    return slow


def _note(line: str) -> None:
    with Path("notes").open("a") as file:
        file.write(f"{line}\n")


threads_slow, processes_slow = slow("threads-slow", "io"), slow("processes-slow", "default")
threads_spare, processes_spare = spare("threads-spare", "io"), spare("processes-spare", "default")
threads_lost, processes_lost = lost("threads-lost", "io"), lost("processes-lost", "default")
threads_broken, processes_broken = broken("threads-broken", "io"), broken("processes-broken", "default")
threads_misfit, processes_misfit = misfit("threads-misfit", "io"), misfit("processes-misfit", "default")
