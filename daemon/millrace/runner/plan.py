"""From a pipeline, which is code, to the plan that a run of it follows, which is data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.ledger.plan import Gate, Plan, PlanStage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.define.pipeline import Pipeline
    from millrace.define.stage import Stage

LEAST_BOUND = 2


def plan_of(pipeline: Pipeline, *, retries: int, fan_out: int, backlogs: Mapping[str, int]) -> Plan:
    """
    Return the plan that a run follows which starts now.

    Args:
        retries: Of the stages that do not say how many, ≥ 0.
        fan_out: Open jobs of records beyond which a fan-out pauses, ≥ 2.
        backlogs: How many open jobs each queue takes; a fan-out pauses before it fills one by itself.
    Raises: PipelineFlawed.
    """
    graph = pipeline.graph
    stages = tuple(_stage(pipeline, name, retries) for name in graph.order)
    bounds = [backlogs[stage.queue] for stage in stages if stage.fanout is not None and stage.queue in backlogs]
    return Plan(pipeline.name, stages, max(LEAST_BOUND, min([fan_out, *bounds])))


def _stage(pipeline: Pipeline, name: str, retries: int) -> PlanStage:
    stage, graph = pipeline.stages[name], pipeline.graph
    own = stage.policy.retries
    return PlanStage(
        name=name,
        task=stage.name,
        queue=stage.policy.queue,
        max_attempts=(retries if own is None else own) + 1,
        kind=stage.kind,
        fanout=graph.scope[name],
        needs=tuple((need.name, need.required) for need in stage.needs if need.name in pipeline.stages),
        gate=_gate(stage),
        waits=graph.waits[name],
        after_collect=name in graph.after_collect,
        inputs=tuple(need.name for need in stage.needs if need.name in pipeline.inputs),
    )


def _gate(stage: Stage[..., Any]) -> Gate | None:
    gate = stage.gate
    return Gate(gate.route, gate.labels, gate.otherwise) if gate is not None else None
