"""
A plan made ready for looking up: who follows whom, what a barrier stands on, which branch a label takes. Pure; made
once per plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.ledger.plan import Gate, Plan, PlanStage

if TYPE_CHECKING:
    from collections.abc import Callable

# By the ids of plans. These never change, so that what was made of one holds for as long as the process lives.
_NETS: Final[dict[str, Net]] = {}
_MOST_NETS: Final = 200


class Node(NamedTuple):
    """
    One stage of a plan, with what its jobs wait for.

    Args:
        stage: The stage itself.
        inner: What it waits for within its record; the fan-out alone where nothing else of the record does.
        outer: What it waits for in run scope.
        required: The stages without which it is skipped.
        gate: The branch that it stands in.
        edited: Whether it runs once in each edition.
    """

    stage: PlanStage
    inner: tuple[str, ...]
    outer: tuple[str, ...]
    required: frozenset[str]
    gate: Gate | None
    edited: bool

    @property
    def name(self) -> str:
        """The name of the stage."""
        return self.stage.name


class Net:
    """
    The graph of a plan. `nodes` are in topological order, as all that is made of them; `given` has for each stage those
    whose values it is called with, and whether they come as the results of all records.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._stages = {stage.name: stage for stage in plan.stages}
        self._waits = {stage.name: _waits(stage) for stage in plan.stages}
        self.nodes = {stage.name: self._node(stage) for stage in plan.stages}
        self.of_run = tuple(node for node in self.nodes.values() if node.stage.fanout is None)
        self.of_fanout: dict[str, tuple[Node, ...]] = {
            stage.name: tuple(node for node in self.nodes.values() if node.stage.fanout == stage.name)
            for stage in plan.stages
            if stage.kind == "fanout"
        }
        self._named: dict[str, frozenset[str]] = {}
        for node in self.nodes.values():
            if node.gate is not None:
                route = node.gate.route
                self._named[route] = self._named.get(route, frozenset()) | frozenset(node.gate.labels)
        self.given = {stage.name: self._given(stage) for stage in plan.stages}
        self.behind = {name: self._behind(name) for name in self.nodes}
        self.editions_after = {name: self._editions_after(name) for name in self.nodes}

    def fanout_of(self, name: str) -> str | None:
        """Return the fan-out to whose records a stage belongs: itself, its scope, or None for run scope."""
        stage = self._stages[name]
        return name if stage.kind == "fanout" else stage.fanout

    def takes(self, gate: Gate, label: str) -> bool:
        """Return whether a route that answered `label` takes the branch of a gate."""
        return label in gate.labels or (gate.otherwise and label not in self._named[gate.route])

    def _node(self, stage: PlanStage) -> Node:
        waits = self._waits[stage.name]
        if stage.kind == "fanout":  # before the first record, so that no record ever waits for the run
            below = (other for other in self._stages.values() if other.fanout == stage.name)
            waits |= {name: None for other in below for name in self._waits[other.name] if not self.fanout_of(name)}
        inner: tuple[str, ...] = ()
        if stage.fanout is not None:
            inner = tuple(name for name in waits if self.fanout_of(name) == stage.fanout)
            inner = tuple(name for name in inner if name != stage.fanout) or inner
        outer = tuple(name for name in waits if stage.fanout is None or self.fanout_of(name) is None)
        required = frozenset(name for name, required in stage.needs if required)
        gate = Gate(*stage.gate) if stage.gate else None
        edited = stage.fanout is None and (stage.kind == "collect" or stage.after_collect)
        return Node(stage, inner, outer, required, gate, edited)

    def _given(self, stage: PlanStage) -> dict[str, bool]:
        """Return the stages whose values a stage is given, and for each whether they are those of all records."""
        return {name: stage.fanout is None and self.fanout_of(name) is not None for name, _ in stage.needs}

    def _behind(self, name: str) -> tuple[str, ...]:
        """Return a stage of a record and all stages of that record before it, its fan-out among them."""
        fanout = self.fanout_of(name)
        if fanout is None:
            return ()
        found = dict.fromkeys((name, fanout))
        for wait in self.nodes[name].inner:
            if wait != fanout:
                found |= dict.fromkeys(self._behind(wait))
        return tuple(found)

    def _editions_after(self, name: str) -> tuple[str, ...]:
        """Return the stages that run anew, in another edition, when a record of this one is put back."""
        reached = {name}
        for node in self.nodes.values():
            if reached & {*node.inner, *node.outer, *self._waits[node.name]}:
                reached.add(node.name)
        return tuple(node.name for node in self.of_run if node.edited and node.name in reached)


def net_of(plan_id: str, text: Callable[[], str]) -> Net:
    """
    Return the net of a plan.

    Args:
        text: Looks the plan up, if it is not known yet.
    """
    net = _NETS.get(plan_id)
    if net is None:
        if len(_NETS) >= _MOST_NETS:
            _NETS.clear()
        net = _NETS[plan_id] = Net(Plan.from_json(text()))
    return net


def _waits(stage: PlanStage) -> dict[str, None]:
    route = (stage.gate[0],) if stage.gate else ()
    return dict.fromkeys((*stage.waits, *(name for name, _ in stage.needs), *route))
