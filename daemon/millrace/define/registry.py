"""The tasks and pipelines of a site, and what of its job files could not be loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millrace.errors import UnknownTask, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.define.pipeline import Pipeline
    from millrace.define.stage import Stage
    from millrace.define.task import Task


@dataclass(frozen=True, slots=True)
class LoadProblem:
    """
    One thing that did not load.

    Args:
        file: The site's file, as seen from the folder of config.toml.
        line: The line in it, from 1; None when it is the whole file.
        reason: What is wrong and what would be right.
        task: The task that is missing for it, when the file has others that loaded.
        pipeline: The pipeline that is missing for it.
    """

    file: str
    line: int | None
    reason: str
    task: str | None = None
    pipeline: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


@dataclass(slots=True)
class Registry:
    """What can be run, by name; `problems` is what cannot, and why. A stage is found through its pipeline."""

    tasks: dict[str, Task[..., Any]] = field(default_factory=dict)
    problems: list[LoadProblem] = field(default_factory=list)
    pipelines: dict[str, Pipeline] = field(default_factory=dict)

    def find(self, name: str) -> Task[..., Any]:
        """
        Return the task or the stage (`leads.points`) of that name: what a job can run.

        Raises: UnknownTask with a suggestion, or with the reason why it did not load.
        """
        found = self._found(name)
        if found is None:
            raise UnknownTask(self._missing(name))
        return found

    def knows(self, name: str) -> bool:
        """Return whether there is a task or a stage of that name."""
        return self._found(name) is not None

    def task(self, name: str) -> Task[..., Any]:
        """
        Return the task of that name: what can be submitted. A stage runs within its pipeline only.

        Raises: UnknownTask with a suggestion, or with the reason why it did not load, or why it cannot be submitted.
        """
        found = self.tasks.get(name)
        if found is not None:
            return found
        stage = self._stage(name)
        pipeline = name if name in self.pipelines else stage.pipeline.name if stage is not None else None
        if pipeline is None:
            raise UnknownTask(self._missing(name))
        what = f"a stage of pipeline {pipeline}" if stage is not None else "a pipeline, not a task"
        raise UnknownTask(f'"{name}" is {what}: millrace run {pipeline}')

    def find_pipeline(self, name: str) -> Pipeline:
        """
        Return the pipeline of that name.

        Raises: UnknownTask (its field is `pipeline`) with a suggestion, or with the reason why it did not load.
        """
        found = self.pipelines.get(name)
        if found is None:
            raise UnknownTask(self._missing_pipeline(name), field="pipeline")
        return found

    def runnable(self) -> Iterator[Task[..., Any]]:
        """Yield every task and every stage."""
        yield from self.tasks.values()
        for pipeline in self.pipelines.values():
            yield from pipeline.stages.values()

    def _found(self, name: str) -> Task[..., Any] | None:
        return self.tasks.get(name) or self._stage(name)

    def _stage(self, name: str) -> Stage[..., Any] | None:
        holder, _, short = name.rpartition(".")
        pipeline = self.pipelines.get(holder)
        return pipeline.stages.get(short) if pipeline is not None else None

    def _missing(self, name: str) -> str:
        own = next((problem for problem in self.problems if problem.task == name), None)
        if own is not None:
            return f'task "{name}" did not load: {own}'
        holder, _, short = name.rpartition(".")
        if holder in self.pipelines:
            return f'pipeline {holder} has no stage "{short}".{did_you_mean(short, self.pipelines[holder].stages)}'
        if any(problem.pipeline == holder for problem in self.problems):
            return self._missing_pipeline(holder)
        return f'there is no task "{name}".{did_you_mean(name, self.tasks)}{self._broken()}'

    def _missing_pipeline(self, name: str) -> str:
        own = next((problem for problem in self.problems if problem.pipeline == name), None)
        if own is not None:
            return f'pipeline "{name}" did not load: {own}'
        if name in self.tasks:
            return f'"{name}" is a task, not a pipeline: millrace submit {name}'
        return f'there is no pipeline "{name}".{did_you_mean(name, self.pipelines)}{self._broken()}'

    def _broken(self) -> str:
        """Name a file that did not load at all: what is looked for may stand in it."""
        files = [problem for problem in self.problems if problem.task is None and problem.pipeline is None]
        return f" It may stand in a file that did not load: {files[0]}" if files else ""
