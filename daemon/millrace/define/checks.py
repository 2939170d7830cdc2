"""What is wrong with the stages of a pipeline, each looked at by itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from millrace.define.fit import fits, listed, type_name
from millrace.define.signature import Parameter
from millrace.errors import Flaw, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.define.pipeline import Pipeline
    from millrace.define.stage import Stage


def needed(stage: Stage[..., Any]) -> tuple[str, ...]:
    """Return what a stage waits for by name: its parameters that are no inputs, and the route whose branch it is."""
    try:
        names = [need.name for need in stage.needs if need.name not in stage.pipeline.inputs]
    except TypeError:  # it has a flaw of its own
        names = []
    return tuple(dict.fromkeys([*names, stage.gate.route] if stage.gate else names))


def flaw_of(stage: Stage[..., Any], reason: str) -> Flaw:
    """Return a flaw of a stage."""
    return Flaw(stage.file, stage.line, f'stage "{stage.stage}": {reason}')


def stage_flaws(pipeline: Pipeline) -> list[Flaw]:
    """Return what is wrong with the inputs, and with each stage by itself: its name, its signature, its branches."""
    flaws = [Flaw(pipeline.file, pipeline.line, reason) for reason in _own(pipeline)]
    for stage in pipeline.declared:
        reasons = [*_name(pipeline, stage), *_signature(stage), *_branches(pipeline, stage)]
        flaws += [flaw_of(stage, reason) for reason in reasons]
    return flaws


def _own(pipeline: Pipeline) -> Iterator[str]:
    if not pipeline.declared:
        yield f'pipeline "{pipeline.name}" has no stages: put @….stage above the functions that are its steps'
    try:
        _ = pipeline.given.shape
    except TypeError as error:
        yield f'pipeline "{pipeline.name}": {error}'


def _name(pipeline: Pipeline, stage: Stage[..., Any]) -> Iterator[str]:
    first = pipeline.stages[stage.stage]
    if first is not stage:
        yield f"there is another stage of that name, at line {first.line}: rename one"
    if stage.stage in pipeline.inputs:
        yield "there is an input of that name, so a parameter could mean either: rename one"


def _signature(stage: Stage[..., Any]) -> Iterator[str]:
    try:
        _ = stage.needs, stage.shape
        _refuse_results(stage)
    except TypeError as error:
        yield str(error)
        return
    try:
        _ = stage.returns
        if stage.kind == "fanout":
            _ = stage.items
    except TypeError as error:
        yield str(error)
        return
    if stage.kind in {"route", "collect"} and stage.streams:
        yield f"is a {stage.kind} and yields, but only a stage fans out: return {_ONE[stage.kind]}"


def _refuse_results(stage: Stage[..., Any]) -> None:
    """Raise TypeError if values of a type that stands within Results cannot be checked: it would be each time."""
    taken = [Parameter(need.name, need.of, required=True) for need in stage.needs if need.results]
    if taken:
        from millrace.define.shape import Shape

        Shape(stage.name, taken)


_ONE = {"route": "one label", "collect": "one value"}


def _branches(pipeline: Pipeline, route: Stage[..., Any]) -> Iterator[str]:
    if route.kind != "route":
        return
    gates = [(one, one.gate) for one in pipeline.declared if one.gate is not None and one.gate.route == route.stage]
    if not gates:
        yield f'has no branches: put @{route.stage}.to("label") or @{route.stage}.otherwise above what follows it'
    if sum(gate.otherwise for _, gate in gates) > 1:
        lines = [str(one.line) for one, gate in gates if gate.otherwise]
        yield f"has more than one .otherwise, at lines {' and '.join(lines)}: keep one"
    yield from _labels(route, [(label, one) for one, gate in gates for label in gate.labels])


def _labels(route: Stage[..., Any], taken: list[tuple[str, Stage[..., Any]]]) -> Iterator[str]:
    for label, times in Counter(label for label, _ in taken).items():
        if times > 1:
            where = " and ".join(f"{one.stage} (line {one.line})" for mine, one in taken if mine == label)
            yield f'label "{label}" stands above {where}: let one stage have it, and the other need that stage'
    try:
        returns = route.returns
    except TypeError:
        return
    if not fits(returns, str):
        yield f"returns {type_name(returns)}, but a route returns a label: -> str"
    known = listed(returns)
    for label, one in taken:
        if known is not None and label not in known:
            hint = did_you_mean(label, [str(each) for each in known])
            yield f'never returns "{label}", the label of {one.stage} (line {one.line}).{hint}'
