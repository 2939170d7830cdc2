"""
The walk of a trial: each stage in the order of the graph, once or for every record, by the rules of a run. What a run
keeps in the ledger is held in memory here, in the same form: JSON text.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from millrace.define.payload import result_json
from millrace.define.results import MAX_RESULT, Results
from millrace.define.stage import label_of
from millrace.define.steps import trying
from millrace.errors import BadItem, BadResult, MillraceError

if TYPE_CHECKING:
    from millrace.define.pipeline import Pipeline
    from millrace.define.stage import Need, Stage

Record = int | None  # the number of an item, from 1; None stands for the run as a whole


@dataclass(frozen=True, slots=True)
class TrialDead:
    """
    What a run would have among its dead letters.

    Args:
        stage: Its short name.
        record: The number of the record; None when it runs once for all.
        error: What was raised, as in "ValueError: no such lead", or what is wrong with the item.
        item: The item of the source, when it is no good itself.
        exception: What was raised, with its traceback.
    """

    stage: str
    record: Record
    error: str
    item: Any = None
    exception: BaseException | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        where = self.stage if self.record is None else f"{self.stage}, record {self.record}"
        return f"{where} is dead: {self.error}"


class ResultTooLarge(MillraceError):
    """What a stage returned is more than the ledger takes."""


_SKIP: Final = "skip"
_NEVER: Final = "never"


class Rehearsal:
    """
    One walk through a pipeline.

    `values` holds JSON text by stage and record, `skipped` the records by stage, `items` how many items each fan-out
    had, good and bad; `ended` names the fan-outs that came to their end.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.graph = pipeline.graph
        self.stages = pipeline.stages
        self.values: dict[str, dict[Record, str]] = {name: {} for name in self.stages}
        self.skipped: dict[str, set[Record]] = {name: set() for name in self.stages}
        self.items: dict[str, int] = {}
        self.ended: set[str] = set()
        self.dead: list[TrialDead] = []
        self._inputs: dict[str, str] = {}

    def play(self, inputs: str) -> None:
        """Run every stage; `inputs` is the JSON text of all inputs."""
        self._inputs = {name: result_json(value) for name, value in json.loads(inputs).items()}
        for name in self.graph.order:
            scope = self.graph.scope[name]
            if scope is not None and None in self.skipped[scope]:  # with its fan-out, once for all
                self.skipped[name].add(None)
            for record in self._records(scope):
                self._visit(self.stages[name], record)

    def is_many(self, stage: str) -> bool:
        """Whether a stage has a value for each record."""
        return self.graph.scope[stage] is not None or self.stages[stage].kind == "fanout"

    def _records(self, scope: str | None) -> list[Record]:
        return [None] if scope is None else list(self.values[scope])

    def _visit(self, stage: Stage[..., Any], record: Record) -> None:
        verdict = self._verdict(stage, record)
        if verdict == _SKIP:
            self.skipped[stage.stage].add(record)
        elif verdict is None:
            try:
                with trying():
                    self._run(stage, record)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - job code: SystemExit is a failed job, not the end of a test
                self.dead.append(TrialDead(stage.stage, record, f"{type(error).__name__}: {error}", exception=error))

    # ------------------------------------------------------------------------------------------------ whether it runs

    def _verdict(self, stage: Stage[..., Any], record: Record) -> str | None:
        """
        Say why a stage does not run for a record, if so: something it needs was skipped, or is missing for good.

        What was skipped decides, as in a run: whatever becomes of the rest, the stage is passed by.
        """
        said = [self._gate(stage, record), *(self._needed(need, record) for need in stage.needs)]
        if stage.kind == "fanout":  # it waits for what its records will need of the run, but passes none of that on
            said += [_NEVER for name in self.graph.waits[stage.stage] if self._state(name, None) == _NEVER]
        return _SKIP if _SKIP in said else _NEVER if _NEVER in said else None

    def _gate(self, stage: Stage[..., Any], record: Record) -> str | None:
        if stage.gate is None:
            return None
        route = stage.gate.route
        state = self._state(route, record)
        if state is not None:
            return state
        label = json.loads(self.values[route][self._place(route, record)])
        taken = label not in self._labels(route) if stage.gate.otherwise else label in stage.gate.labels
        return None if taken else _SKIP

    def _labels(self, route: str) -> set[str]:
        gates = [one.gate for one in self.stages.values() if one.gate is not None]
        return {label for gate in gates if gate.route == route for label in gate.labels}

    def _needed(self, need: Need, record: Record) -> str | None:
        if need.name in self._inputs:
            return None
        state = self._whole(need.name) if need.results else self._state(need.name, record)
        return None if state == _SKIP and not need.required else state

    def _state(self, stage: str, record: Record) -> str | None:
        place = self._place(stage, record)
        if place in self.values[stage]:
            return None
        return _SKIP if place in self.skipped[stage] else _NEVER

    def _whole(self, stage: str) -> str | None:
        """Whether the barrier over a stage opens: when its fan-out came to its end."""
        source = self._source(stage)
        if source in self.ended:
            return None
        return _SKIP if None in self.skipped[source] else _NEVER

    def _source(self, stage: str) -> str:
        return self.graph.scope[stage] or stage

    def _place(self, stage: str, record: Record) -> Record:
        return record if self.is_many(stage) else None

    # ------------------------------------------------------------------------------------------------- how it is run

    def _run(self, stage: Stage[..., Any], record: Record) -> None:
        value = stage.fn(**self._arguments(stage, record))
        if stage.kind == "fanout":
            self._take_items(stage, value)
            return
        value = label_of(value) if stage.kind == "route" else value
        text = result_json(value)
        if len(text) > MAX_RESULT:
            raise ResultTooLarge(f"{_too_large(text)}: keep it in a file and return its path")
        if problems := stage.misfit(value, text):
            raise BadResult("; ".join(map(str, problems)))
        self.values[stage.stage][record] = text

    def _arguments(self, stage: Stage[..., Any], record: Record) -> dict[str, Any]:
        plain = [need for need in stage.needs if not need.results and self._needs_value(need, record)]
        texts = [f"{json.dumps(need.name)}:{self._text(need.name, record)}" for need in plain]
        arguments = stage.arguments(f"{{{','.join(texts)}}}")
        for need in stage.needs:
            if need.results and self._whole(need.name) is None:
                arguments[need.name] = self._results(need)
        return arguments

    def _needs_value(self, need: Need, record: Record) -> bool:
        return need.name in self._inputs or self._state(need.name, record) is None

    def _text(self, name: str, record: Record) -> str:
        return self._inputs[name] if name in self._inputs else self.values[name][self._place(name, record)]

    def _results(self, need: Need) -> Results[Any]:
        values = self.values[need.name]
        numbered = sorted((number, text) for number, text in values.items() if number is not None)
        skipped = len(self.skipped[need.name])
        dead = self.items[self._source(need.name)] - len(numbered) - skipped

        def fetch(after: int, limit: int) -> list[tuple[int, str]]:
            start = bisect_right(numbered, after, key=itemgetter(0))
            return numbered[start : start + limit]

        return Results(fetch, len(numbered), dead=dead, skipped=skipped, of=need.of, stage=need.name)

    def _take_items(self, stage: Stage[..., Any], source: Any) -> None:
        self.items[stage.stage] = 0
        for number, raw in enumerate(source, 1):
            self.items[stage.stage] = number
            text, problems = stage.validate_item(raw)
            if text is None or len(text) > MAX_RESULT:
                error = "; ".join(map(str, problems)) or f"item: {_too_large(text or '')}"
                self.dead.append(TrialDead(stage.stage, number, f"{BadItem.__name__}: {error}", item=raw))
            else:
                self.values[stage.stage][number] = text
        self.ended.add(stage.stage)


def _too_large(text: str) -> str:
    return f"has {len(text)} characters, more than {MAX_RESULT}"
