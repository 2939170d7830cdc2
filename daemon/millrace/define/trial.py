"""
`leads.try_it(path="leads.csv")`: a whole pipeline in memory, without daemon, queue or network, and what came of it.

Each job is tried once: a failure is a dead letter here, whatever its retries. Values go from stage to stage as JSON, as
they do through the ledger, so that a trial finds what a run would.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from millrace.define.effects import Kept, MemoryJournal
from millrace.define.payload import result_json
from millrace.define.rehearsal import Rehearsal, TrialDead
from millrace.errors import NotFound, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from millrace.define.pipeline import Pipeline

__all__ = ["Trial", "TrialDead", "try_it"]

_SHOWN: Final = 3  # dead ones in the text of a trial: enough to see what is wrong


class Trial:
    """
    What came of a pipeline that was tried.

    `status` is that of a run: succeeded, partial when records are dead, failed when something is that all depend on.
    `counts` are a run's: for each stage that came up how many of its jobs succeeded, are dead or were skipped;
    `records` is how many good items each fan-out had; `dead` lists the dead ones with their errors.
    """

    def __init__(self, pipeline: Pipeline, inputs: str, played: Rehearsal) -> None:
        self.pipeline = pipeline.name
        self.inputs: dict[str, Any] = json.loads(inputs)
        self.dead: list[TrialDead] = played.dead
        self.counts = {name: count for name in played.graph.order if (count := _told(played, name))}
        self.records = {name: len(played.values[name]) for name in played.items}
        self._played = played
        self._stages = pipeline.stages

    @property
    def status(self) -> str:
        """Return "succeeded", "partial" or "failed"."""
        if any(one.record is None for one in self.dead):
            return "failed"
        return "partial" if self.dead else "succeeded"

    @property
    def skipped(self) -> dict[str, int]:
        """Return how often each stage was skipped; stages that never were are left out."""
        return {name: count["skipped"] for name, count in self.counts.items() if "skipped" in count}

    @property
    def results(self) -> dict[str, Any]:
        """Return the value of each stage; of those that run per record, and of fan-outs, the list of values."""
        return {name: self.value(name) for name in self._played.graph.order if self._played.values[name]}

    def value(self, stage: str) -> Any:
        """
        Return what a stage returned, in its own type; a list in the order of the records, if it runs once for each.

        Raises: NotFound, if there is no such stage, or no value of it since it is dead, was skipped or never came up.
        """
        values = self.by_record(stage)
        if self._played.is_many(stage):
            return list(values.values())  # they came up in the order of the records
        if None not in values:
            raise NotFound(f'stage "{stage}" has no value: {self._why(stage)}')
        return values[None]

    def by_record(self, stage: str) -> dict[int | None, Any]:
        """
        Return the values of a stage by the number of the record; under None, if it runs once.

        Raises: NotFound, if there is no such stage.
        """
        if stage not in self._stages:
            raise NotFound(f'pipeline {self.pipeline} has no stage "{stage}".{did_you_mean(stage, self._stages)}')
        read = self._stages[stage].reading.read
        return {number: _value(read, text) for number, text in self._played.values[stage].items()}

    def __repr__(self) -> str:
        lines = [f"<trial of {self.pipeline}: {self.status}", *(f"  {one}" for one in self.dead[:_SHOWN])]
        more = len(self.dead) - _SHOWN
        return "\n".join([*lines, *([f"  and {more} more dead"] if more > 0 else [])]) + ">"

    def _why(self, stage: str) -> str:
        own = next((str(one) for one in self.dead if one.stage == stage), None)
        if own:
            return own
        if stage in self.skipped:
            return "it was skipped, as its branch was not taken or it needs a stage that was skipped"
        return "something that it needs is dead" + (f", first of all {self.dead[0]}" if self.dead else "")


def try_it(pipeline: Pipeline, inputs: Mapping[str, Any]) -> Trial:
    """
    Run a pipeline in memory. Never raises for what its stages do, but for KeyboardInterrupt.

    Args:
        inputs: Python values by name.
    Raises: PipelineFlawed; PayloadError that names the input which does not fit; ResultNotJSON.
    """
    played = Rehearsal(pipeline)
    text = pipeline.check_inputs(payload=json.loads(result_json(dict(inputs))))
    with Kept(MemoryJournal()):
        played.play(text)
    return Trial(pipeline, text, played)


def _value(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError:  # its JSON is for people, and no stage asks for it
        return json.loads(text)


def _told(played: Rehearsal, stage: str) -> dict[str, int]:
    """Return the counts of one stage; a fan-out counts as one job that succeeded, beside its dead items."""
    bad = sum(one.stage == stage for one in played.dead)
    done = len(played.values[stage]) if stage not in played.items else int(stage in played.ended)
    counts = {"succeeded": done, "dead": bad, "skipped": len(played.skipped[stage])}
    return {status: count for status, count in counts.items() if count}
