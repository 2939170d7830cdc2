"""Stages that could never run: what they need stands in branches of a route of which only one is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.define.checks import flaw_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from millrace.define.stage import Stage
    from millrace.errors import Flaw

    Branches = dict[str, list[str]]  # by route: the stages that stand in its branches, of which each has its own

_CURE: Final = "give the parameter a default, which holds when that one was skipped"


def branch_flaws(
    stages: Mapping[str, Stage[..., Any]], order: Sequence[str], scope: Mapping[str, str | None]
) -> list[Flaw]:
    """
    Return each stage that would be skipped in every run; not those that hang on such a one.

    Args:
        stages: By their short names.
        order: Each after all that it needs.
        scope: The fan-out for whose records each stage runs.
    """
    behind: dict[str, Branches] = {}
    flaws = []
    for name in order:
        stage = stages[name]
        behind[name] = _behind(stage, scope, behind)
        for route, taken in behind[name].items():
            if len(taken) > 1:
                flaws.append(flaw_of(stage, _reason(name, route, taken)))
                del taken[1:]  # told here: what hangs on this one is all right by itself
    return flaws


def _behind(stage: Stage[..., Any], scope: Mapping[str, str | None], behind: Mapping[str, Branches]) -> Branches:
    """Return the branches that are all taken when a stage runs."""
    found: Branches = {}
    for source in _sources(stage, scope):
        for route, taken in behind[source].items():
            known = found.setdefault(route, [])
            known += [one for one in taken if one not in known]
    if stage.gate is not None:
        found.setdefault(stage.gate.route, []).append(stage.stage)
    return found


def _sources(stage: Stage[..., Any], scope: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the stages without which a stage is skipped: of results the fan-out, as a barrier opens for no records."""
    if stage.gate is not None:
        yield stage.gate.route
    for need in stage.needs:
        if need.required and need.name not in stage.pipeline.inputs:
            yield (scope[need.name] or need.name) if need.results else need.name


def _reason(name: str, route: str, taken: Sequence[str]) -> str:
    if name in taken:
        other = next(one for one in taken if one != name)
        return f"could never run: it needs {other}, which stands in another branch of {route}: {_CURE}"
    return f"could never run: it needs {' and '.join(taken)}, of which {route} takes only one: {_CURE}"
