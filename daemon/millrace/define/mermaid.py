"""A pipeline drawn as text: `flowchart TD` for Mermaid, which GitHub, GitLab and many editors show as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.define.pipeline import Pipeline
    from millrace.define.stage import Gate, Stage

# The shape says what a stage is: a box runs, a double box makes many records, a hexagon chooses, a tray collects.
_SHAPES: Final = {
    "stage": '["{}"]',
    "fanout": '[["{}<br/>one record per item"]]',
    "route": '{{{{"{}"}}}}',
    "collect": '[/"{}<br/>when all records are through"\\]',
}


def mermaid(pipeline: Pipeline) -> str:
    """
    Return the graph of a pipeline as Mermaid text; there is no line end after the last line.

    Inputs are round, what runs for each record of a fan-out stands in a box of its own, a thick arrow is a barrier, a
    dotted one a parameter with a default, and the arrows of a route carry their labels.

    Raises: PipelineFlawed, if the pipeline has no graph.
    """
    graph, stages = pipeline.graph, pipeline.stages
    lines = ["flowchart TD", *(f'    in_{name}(["{_text(name)}"])' for name in pipeline.inputs)]
    for name in graph.order:
        if graph.scope[name] is None:
            lines.append(f"    {_node(stages[name])}")
        if stages[name].kind == "fanout":
            inner = [other for other in graph.order if graph.scope[other] == name]
            lines += _box(name, [stages[other] for other in inner])
    lines += [f"    {arrow}" for name in graph.order for arrow in _arrows(stages[name])]
    return "\n".join(lines)


def _box(fanout: str, inner: list[Stage[..., Any]]) -> list[str]:
    if not inner:
        return []
    nodes = [f"        {_node(stage)}" for stage in inner]
    return [f'    subgraph per_{fanout}["for each {_text(fanout)}"]', *nodes, "    end"]


def _node(stage: Stage[..., Any]) -> str:
    return _id(stage.stage) + _SHAPES[stage.kind].format(_text(stage.stage))


def _arrows(stage: Stage[..., Any]) -> Iterator[str]:
    mine = _id(stage.stage)
    for need in stage.needs:
        source = f"in_{need.name}" if need.name in stage.pipeline.inputs else _id(need.name)
        arrow = "==>" if need.results else "-->" if need.required else "-.->"
        yield f"{source} {arrow} {mine}"
    if stage.gate is not None:
        yield f'{_id(stage.gate.route)} -- "{_label(stage.gate)}" --> {mine}'


def _label(gate: Gate) -> str:
    return "otherwise" if gate.otherwise else _text(" or ".join(gate.labels))


def _id(name: str) -> str:
    """Return an id that is no word of Mermaid's own, such as `end`."""
    return f"st_{name}"


def _text(text: str) -> str:
    """Write what Mermaid would take for markup as the entities that it reads."""
    return "".join(one if one.isalnum() or one in " _-.,:/" else f"#{ord(one)};" for one in text)
