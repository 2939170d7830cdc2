"""What is wrong between two stages: a name that nobody has, a type that does not fit."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from millrace.define.checks import flaw_of
from millrace.define.fit import fits, type_name, without_none
from millrace.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.define.pipeline import Pipeline
    from millrace.define.stage import Need, Stage
    from millrace.errors import Flaw


def name_flaws(pipeline: Pipeline) -> list[Flaw]:
    """Return each parameter that is neither stage nor input."""
    told = ((stage, _unknown(pipeline, stage, need)) for stage, need in _edges(pipeline))
    return [flaw_of(stage, reason) for stage, reason in told if reason is not None]


def type_flaws(pipeline: Pipeline) -> list[Flaw]:
    """Return each parameter whose type cannot take what it is given."""
    told = ((stage, _misfit(pipeline, need)) for stage, need in _edges(pipeline))
    return [flaw_of(stage, reason) for stage, reason in told if reason is not None]


def _edges(pipeline: Pipeline) -> Iterator[tuple[Stage[..., Any], Need]]:
    for stage in pipeline.declared:
        with suppress(TypeError):  # told with the stage itself
            yield from ((stage, need) for need in stage.needs)


def _unknown(pipeline: Pipeline, stage: Stage[..., Any], need: Need) -> str | None:
    known = {*pipeline.stages, *pipeline.inputs}
    if need.name in known:
        return None
    hint = did_you_mean(need.name, known - {stage.stage})
    if not need.required and not hint.startswith(" Did"):
        hint = " Its default would be its only value: write that into the function"
    return f'parameter {need.name} is neither a stage nor an input of pipeline "{pipeline.name}".{hint}'


def _misfit(pipeline: Pipeline, need: Need) -> str | None:
    source = pipeline.stages.get(need.name)
    if need.name in pipeline.inputs:
        given, who = pipeline.inputs[need.name].annotation, f"the input {need.name}"
    elif source is not None:
        given, who = _returns(source), f"stage {need.name} (line {source.line})"
    else:  # told as a name that nobody has
        return None
    if fits(given, need.of):
        return None
    wanted = f"Results[{type_name(need.of)}]" if need.results else type_name(need.of)
    verb = "yields" if source is not None and source.kind == "fanout" else "is" if source is None else "returns"
    reason = f"parameter {need.name} takes {wanted}, but {who} {verb} {type_name(given)}"
    if fits(without_none(given), need.of):
        return f"{reason}: let it take None as well, or never return None"
    return f"{reason}: change one of the two"


def _returns(stage: Stage[..., Any]) -> Any:
    try:
        return stage.returns
    except TypeError:  # told with that stage
        return Any
