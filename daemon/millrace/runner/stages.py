"""
What a stage of a pipeline does differently from a task when it is called: its results are handed in, its generator is
gone through, its label is checked. The same in a child and in a thread; what it needs of the ledger it asks for.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from millrace.define.results import Results
from millrace.define.stage import Stage, label_of
from millrace.errors import BadItem
from millrace.runner.context import context
from millrace.runner.emission import fan_out
from millrace.runner.protocol import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.define.results import Piece
    from millrace.define.stage import Need
    from millrace.define.task import Task
    from millrace.runner.context import Line


def bound(task: Task[..., Any], payload: str) -> Callable[[], Any]:
    """
    Return the call that a job stands for.

    Raises: PayloadError, if the payload does not fit.
    """
    if not isinstance(task, Stage):
        return partial(task.fn, **task.arguments(payload))
    if task.kind == "fanout" and context().record is not None:
        return partial(_item, task, json.loads(payload)["item"])
    return partial(_call, task, task.arguments(payload))


def _call(stage: Stage[..., Any], arguments: dict[str, Any]) -> Any:
    line = _line()
    for need in stage.needs:
        if need.results and (results := _results(need, line)) is not None:
            arguments[need.name] = results
    if stage.kind == "fanout":
        return fan_out(stage, stage.fn(**arguments), line)
    value = stage.fn(**arguments)
    return label_of(value) if stage.kind == "route" else value


def _item(stage: Stage[..., Any], raw: object) -> Any:
    """Check an item that was bad once more: the stage, or the item, may have been put right."""
    text, problems = stage.validate_item(raw)
    if text is None:
        raise BadItem("; ".join(map(str, problems)))
    return json.loads(text)


def _results(need: Need, line: Line) -> Results[Any] | None:
    """Return the results that a parameter takes; None if its default stands for them, as all of it was skipped."""

    def fetch(after: int, limit: int) -> Piece:
        line.check()
        piece = line.ask("results", {"stage": need.name, "after": after, "limit": limit})
        return [(number, text) for number, text in piece]

    head = line.ask("results.head", {"stage": need.name})
    if head is None:
        return None
    return Results(fetch, head["count"], dead=head["dead"], skipped=head["skipped"], of=need.of, stage=need.name)


def _line() -> Line:
    line = context().line
    if line is None:
        raise Unsupported("a stage runs in a run of its pipeline; outside one, call its function, or try_it")
    return line
