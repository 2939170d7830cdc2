"""
The plan of a run: the graph of its pipeline as data. It goes into the ledger when the run starts, so that whoever makes
a move of one of its jobs (the daemon, a command that loads no job code) can tell what follows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, NamedTuple

KINDS: Final = ("stage", "fanout", "route", "collect")


class Gate(NamedTuple):
    """
    The branch of a route that a stage stands in.

    Args:
        route: The route's stage.
        labels: Taken when the route answers one of these.
        otherwise: Taken when it answers what no other branch of it names.
    """

    route: str
    labels: tuple[str, ...] = ()
    otherwise: bool = False


class PlanStage(NamedTuple):
    """
    One stage of a plan.

    Args:
        name: Its short name.
        task: The task that its jobs run, `<pipeline>.<stage>`.
        queue: Where its jobs wait.
        max_attempts: How many failures make a job of it dead, ≥ 1.
        kind: stage, fanout, route or collect.
        fanout: The fan-out whose records it runs for; None is run scope, a fan-out itself among them.
        needs: The stages that its parameters name, and whether each is required.
        gate: The branch of a route that it stands in.
        waits: The stages that must be settled before it runs: needs, the gate's route, and for a fan-out what its
            record stages need of run scope.
        after_collect: Whether it hangs on a collect, so that it runs once in each edition.
        inputs: The inputs of the run that its parameters name: who looks at its job is shown no others.
    """

    name: str
    task: str
    queue: str
    max_attempts: int = 1
    kind: str = "stage"
    fanout: str | None = None
    needs: tuple[tuple[str, bool], ...] = ()
    gate: Gate | None = None
    waits: tuple[str, ...] = ()
    after_collect: bool = False
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """
    The graph that a run follows.

    Args:
        pipeline: Its name.
        stages: In topological order.
        bound: Open jobs of records beyond which a fan-out pauses, ≥ 2; it goes on when there are fewer than half.
    """

    pipeline: str
    stages: tuple[PlanStage, ...]
    bound: int = 50_000

    def to_json(self) -> str:
        """Return the plan as canonical JSON text."""
        return json.dumps([self.pipeline, self.stages, self.bound], separators=(",", ":"), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Plan:
        """Return the plan that `to_json` wrote."""
        pipeline, stages, bound = json.loads(text)
        return Plan(pipeline, tuple(_stage(row) for row in stages), bound)

    @cached_property
    def id(self) -> str:
        """The plan's hash, 32 hex digits: runs of the same graph share one row."""
        return blake2b(self.to_json().encode(), digest_size=16).hexdigest()


def _stage(row: list[Any]) -> PlanStage:
    name, task, queue, max_attempts, kind, fanout, needs, gate, waits, after_collect, inputs = row
    return PlanStage(
        name, task, queue, max_attempts, kind, fanout, tuple((need, required) for need, required in needs),
        Gate(gate[0], tuple(gate[1]), gate[2]) if gate else None, tuple(waits), after_collect, tuple(inputs),
    )  # fmt: skip
