"""One pipeline twice, for threads and for processes: it does what the items of its source say."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from millrace import Pipeline, Results, context, rules, track


class Lead(BaseModel):
    """One item; `do` is what a stage is told to do with it: nothing, or `<stage>:fail`, `<stage>:once` and others."""

    n: int
    do: str = ""


def _wait_for(name: str) -> None:
    while not Path(name).exists():
        context().check()
        threading.Event().wait(0.01)


def _obey(stage: str, lead: Lead) -> None:
    """Do what the item wants of this stage."""
    told, _, what = lead.do.partition(":")
    if told != stage:
        return
    if what == "fail" and not Path("cured").exists():
        raise RuntimeError(f"no {stage} for {lead.n}")
    if what == "kill" and context().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hold":
        Path(f"{stage}-{lead.n}.running").touch()
        _wait_for(f"{stage}-{lead.n}.go")


def _lines(source: str) -> Iterator[Any]:
    """Yield the items; a line `!fail` is done, `!kill` once, and `!raw` is an item that is no JSON."""
    for line in Path(source).read_text().splitlines():
        if line == "!fail":
            raise OSError("the source broke off")
        if line == "!kill" and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif line == "!raw":
            yield {"n": object()}
        elif not line.startswith("!"):
            yield json.loads(line)


def build(name: str, queue: str) -> Pipeline:  # noqa: C901 - a list of stages, each a function of few lines
    """Return the pipeline, all of it in one queue but for `company`, whose queue a test may pause."""
    flow = Pipeline(name, inputs={"source": str, "bonus": (int, 0)}, queue=queue, retries=1, backoff="0s..0s")

    @flow.stage
    def lead(source: str) -> Iterator[Lead]:
        yield from track(_lines(source))

    @flow.stage(queue="side")
    def company(lead: Lead) -> str:
        _obey("company", lead)
        return f"company {lead.n}"

    @flow.stage
    def points(lead: Lead, bonus: int) -> int:
        _obey("points", lead)
        if lead.do == "points:object":
            return object()  # type: ignore[return-value] # on purpose
        if lead.do == "points:large":
            return "x" * 9_000_000  # type: ignore[return-value] # on purpose
        if lead.do == "points:none":
            return None  # type: ignore[return-value] # on purpose
        return lead.n * 10 + bonus

    @flow.route
    def segment(lead: Lead, company: str, points: int) -> str:
        _obey("segment", lead)
        assert company == f"company {lead.n}"
        if lead.do == "segment:odd":
            return 7  # type: ignore[return-value] # on purpose
        return str(rules("segment").first({"points": points}))

    @segment.to("big")
    def call(lead: Lead, points: int) -> str:
        _obey("call", lead)
        return f"called {lead.n} with {points}"

    @segment.otherwise
    def mail(lead: Lead) -> str:
        return f"wrote to {lead.n}"

    @flow.stage
    def done(lead: Lead, call: str = "", mail: str = "") -> str:
        _obey("done", lead)
        return call or mail or "nothing"

    @flow.collect
    def summary(points: Results[int], done: Results[str], segment: Results[str]) -> dict[str, Any]:
        return {
            "sum": sum(points),
            "again": sum(points),
            "done": list(done),
            "records": [number for number, _ in segment.records()],
            "dead": [points.dead, segment.dead, done.dead],
            "labels": sorted(set(segment)),
        }

    @flow.stage
    def report(summary: dict[str, Any], source: str) -> str:
        return f"{Path(source).name}: {summary['sum']}"

    return flow


threads = build("threads", "io")
processes = build("processes", "default")
