"""How often each stage runs: once in a run, or once for each record of one fan-out. And what is refused about that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.define.checks import flaw_of, needed
from millrace.define.fit import type_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from millrace.define.stage import Need, Stage
    from millrace.errors import Flaw

    Stages = Mapping[str, Stage[..., Any]]
    Scopes = Mapping[str, tuple[str, ...]]


def scopes_of(stages: Stages, order: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """
    Return the fan-outs for whose records each stage runs: none, or one, or more when it is refused.

    Args:
        stages: By their short names.
        order: Each after all that it needs.
    """
    scopes: dict[str, tuple[str, ...]] = {}
    for name in order:
        stage = stages[name]
        taken = [*_values(stage), stage.gate.route] if stage.gate else _values(stage)
        scopes[name] = tuple(dict.fromkeys(fanout for one in taken for fanout in value_scope(one, stages, scopes)))
    return scopes


def value_scope(name: str, stages: Stages, scopes: Scopes) -> tuple[str, ...]:
    """Return of which records there is a value each: a fan-out runs once, but has one value for each of its records."""
    return (name,) if stages[name].kind == "fanout" else scopes[name][:1]


def collected(stages: Stages, order: Sequence[str]) -> frozenset[str]:
    """Return the collects, and all that hangs on one."""
    found: set[str] = set()
    for name in order:
        if stages[name].kind == "collect" or not found.isdisjoint(needed(stages[name])):
            found.add(name)
    return frozenset(found)


def scope_flaws(stages: Stages, scopes: Scopes, after_collect: frozenset[str]) -> list[Flaw]:
    """Return what is refused, for now: stages whose records would be those of two sources, or of a collected one."""
    flaws = []
    for name, stage in stages.items():
        reasons = [*_results(stage, stages, scopes), *_sources(name, stages, scopes)]
        reasons += _late(name, stages, scopes, after_collect)
        flaws += [flaw_of(stage, reason) for reason in reasons]
    return flaws


def _values(stage: Stage[..., Any]) -> list[str]:
    return [need.name for need in stage.needs if not need.results and need.name not in stage.pipeline.inputs]


def _results(stage: Stage[..., Any], stages: Stages, scopes: Scopes) -> Iterator[str]:
    taken = [need for need in stage.needs if need.results]
    if stage.kind != "collect":
        for need in taken:
            yield f"parameter {need.name} is a Results, which only a collect takes: decorate it with .collect"
        return
    if not taken:
        yield f"collects nothing: give it a parameter such as {_example(stages, scopes)}, or make it a .stage"
    for need in taken:
        if need.name in stage.pipeline.inputs:
            yield f"parameter {need.name} is an input, which has one value: write {need.name}: {type_name(need.of)}"
        elif not value_scope(need.name, stages, scopes):
            yield f"{_once(need, stages)}: ask for it by its type, {need.name}: {_kind(need, stages)}"


def _once(need: Need, stages: Stages) -> str:
    return f"stage {need.name} (line {stages[need.name].line}) runs once in a run, so there is one value"


def _kind(need: Need, stages: Stages) -> str:
    """Return the type of one value of the stage that is asked for: as that says, or else as the parameter does."""
    returns = stages[need.name].returns
    return type_name(need.of if returns is Any else returns)


def _example(stages: Stages, scopes: Scopes) -> str:
    name = next((name for name in stages if value_scope(name, stages, scopes)), "points")
    kind = type_name(stages[name].returns) if name in stages else "int"
    return f"{name}: Results[{kind}]"


def _sources(name: str, stages: Stages, scopes: Scopes) -> Iterator[str]:
    stage, sources = stages[name], scopes[name]
    if stage.kind == "collect":
        for need in stage.needs:
            if need.name in stages and not need.results and value_scope(need.name, stages, scopes):
                kind = _kind(need, stages)
                yield f"parameter {need.name} has one value for each record: write {need.name}: Results[{kind}]"
    elif stage.kind == "fanout" and sources:
        yield f"fans out for each record of {sources[0]}, and a fan-out inside a fan-out cannot run: {_FLAT}"
    elif len(sources) > 1:
        yield f"would run for the records of {' and of '.join(sources)}, and these have nothing in common: {_JOIN}"


_FLAT = "return a list, or yield the inner items from the outer stage"
_JOIN = "collect one of them first"


def _late(name: str, stages: Stages, scopes: Scopes, after_collect: frozenset[str]) -> Iterator[str]:
    stage = stages[name]
    late = [one for one in needed(stage) if one in after_collect and not value_scope(one, stages, scopes)]
    if stage.kind == "fanout" and late:
        yield f"fans out after a collect ({late[0]}), which cannot run: make it a pipeline of its own"
    elif stage.kind != "collect" and scopes[name] and late:
        yield (
            f"runs for each record of {scopes[name][0]} and needs {late[0]}, which is there only when all records are"
            " through: make what follows the collect a stage that runs once, or a pipeline of its own"
        )
