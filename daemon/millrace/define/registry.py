"""The tasks of a site, and what of its job files could not be loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millrace.errors import UnknownTask, did_you_mean

if TYPE_CHECKING:
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
    """

    file: str
    line: int | None
    reason: str
    task: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


@dataclass(slots=True)
class Registry:
    """What can be run, by name; `problems` is what cannot, and why."""

    tasks: dict[str, Task[..., Any]] = field(default_factory=dict)
    problems: list[LoadProblem] = field(default_factory=list)

    def find(self, name: str) -> Task[..., Any]:
        """
        Return the task of that name.

        Raises: UnknownTask with a suggestion, or with the reason why the task did not load.
        """
        found = self.tasks.get(name)
        if found is None:
            raise UnknownTask(self._missing(name))
        return found

    def _missing(self, name: str) -> str:
        own = next((problem for problem in self.problems if problem.task == name), None)
        if own is not None:
            return f'task "{name}" did not load: {own}'
        files = [str(problem) for problem in self.problems if problem.task is None]
        broken = f" It may stand in a file that did not load: {files[0]}" if files else ""
        return f'there is no task "{name}".{did_you_mean(name, self.tasks)}{broken}'
