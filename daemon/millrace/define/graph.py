"""The graph of a pipeline: who needs whom, in which order, and which stages run once for each record. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from millrace.define.branches import branch_flaws
from millrace.define.checks import needed, stage_flaws
from millrace.define.edges import name_flaws, type_flaws
from millrace.define.scopes import collected, scope_flaws, scopes_of
from millrace.errors import Flaw, PipelineFlawed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from millrace.define.pipeline import Pipeline
    from millrace.define.stage import Stage


@dataclass(frozen=True, slots=True)
class Graph:
    """
    How the stages of one pipeline hang together, by their short names.

    Args:
        order: Topological: each stage after all that it waits for.
        scope: The fan-out for whose records a stage runs; None when it runs once, as a fan-out itself does.
        after_collect: Collects, and what hangs on one: what runs again in another edition.
        waits: What must be settled before a stage: what it needs, the route whose branch it is, and for a fan-out the
            stages of run scope that its record stages need.
    """

    order: list[str]
    scope: dict[str, str | None]
    after_collect: frozenset[str]
    waits: dict[str, tuple[str, ...]]


def build(pipeline: Pipeline) -> Graph:
    """
    Return the graph of a pipeline.

    Raises: PipelineFlawed with everything that is wrong, but for what can only be judged when the rest is right: how
        often a stage runs that stands in a circle, nobody knows.
    """
    stages = pipeline.stages
    flaws = stage_flaws(pipeline) + name_flaws(pipeline)
    waits = {name: needed(stage) for name, stage in stages.items()}
    try:
        order = _sorted(waits)
    except CycleError as error:
        flaws.append(_circle(stages, error.args[1]))
    misfits = type_flaws(pipeline)
    if flaws:
        _refuse(flaws + misfits)
    scope, after_collect = scopes_of(stages, order), collected(stages, order)
    flaws = scope_flaws(stages, scope, after_collect)
    lines = {(flaw.file, flaw.line) for flaw in flaws}
    # Who asks for one value instead of all, or the other way round, is told that and not to change the type.
    _refuse(flaws + [flaw for flaw in misfits if (flaw.file, flaw.line) not in lines])
    only = {name: next(iter(scopes), None) for name, scopes in scope.items()}
    _refuse(branch_flaws(stages, order, only))
    waits |= {name: _before(name, waits, only) for name, stage in stages.items() if stage.kind == "fanout"}
    return Graph(_sorted(waits), only, after_collect, waits)


def _refuse(flaws: Iterable[Flaw]) -> None:
    found = sorted(dict.fromkeys(flaws), key=lambda flaw: (flaw.file, flaw.line))
    if found:
        raise PipelineFlawed(found)


def _sorted(waits: Mapping[str, Iterable[str]]) -> list[str]:
    """Sort by what waits for what. A name that is no stage has a flaw of its own and stands in no one's way."""
    return list(
        TopologicalSorter({name: [o for o in others if o in waits] for name, others in waits.items()}).static_order()
    )


def _circle(stages: Mapping[str, Stage[..., Any]], path: list[str]) -> Flaw:
    """Tell of a circle, from the stage in it that is written first."""
    ring = path[:0:-1]  # each needs the next one; the last is the first again
    start = ring.index(min(ring, key=lambda name: (stages[name].file, stages[name].line)))
    ring = ring[start:] + ring[: start + 1]
    first = stages[ring[0]]
    if len(path) == 2:  # noqa: PLR2004 - itself and itself
        reason = f'stage "{first.stage}" needs itself: a parameter of that name asks for its own value'
    else:
        steps = ", ".join(f"{one} needs {other}" for one, other in pairwise(ring))
        reason = f"the stages need each other in a circle: {steps}. Take one of these parameters out"
    return Flaw(first.file, first.line, reason)


def _before(fanout: str, waits: Mapping[str, tuple[str, ...]], scope: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return what a fan-out waits for: records that already exist must not wait for a stage that runs once."""
    inner = [other for name, others in waits.items() if scope[name] == fanout for other in others]
    once = [other for other in inner if other != fanout and scope[other] is None]
    return tuple(dict.fromkeys([*waits[fanout], *once]))
