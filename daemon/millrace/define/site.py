"""What is wrong with a pipeline among the others of a site: names that are taken, queues that are not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.define.checks import flaw_of
from millrace.errors import Flaw, PipelineFlawed, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from millrace.define.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What a pipeline meets in its site.

    Args:
        queues: The queues of config.toml.
        tasks: Where each plain task stands, by name.
        root: The folder of config.toml.
    """

    queues: Collection[str]
    tasks: Mapping[str, str]
    root: Path


def pipeline_flaws(pipeline: Pipeline, others: Sequence[Pipeline], around: Surroundings) -> list[Flaw]:
    """Return why a pipeline cannot be run; nothing when it can."""
    flaws = [*_twins(pipeline, others, around), *_clashes(pipeline, around), *_queues(pipeline, around)]
    try:
        _ = pipeline.graph
    except PipelineFlawed as error:
        flaws += error.flaws
    return sorted(dict.fromkeys(flaws), key=lambda flaw: (flaw.file, flaw.line))


def _twins(pipeline: Pipeline, others: Sequence[Pipeline], around: Surroundings) -> Iterator[Flaw]:
    for other in others:
        if other is not pipeline and other.name == pipeline.name:
            where = f"{_seen(other.file, around.root)}:{other.line}"
            yield Flaw(
                pipeline.file, pipeline.line, f'there is a second pipeline "{pipeline.name}" at {where}: rename one'
            )


def _clashes(pipeline: Pipeline, around: Surroundings) -> Iterator[Flaw]:
    for stage in pipeline.stages.values():
        if stage.name in around.tasks:
            reason = (
                f'its jobs run task "{stage.name}", and {around.tasks[stage.name]} has a task of that name: rename one'
            )
            yield flaw_of(stage, reason)


def _queues(pipeline: Pipeline, around: Surroundings) -> Iterator[Flaw]:
    for stage in pipeline.declared:
        queue = stage.policy.queue
        if queue not in around.queues:
            yield flaw_of(stage, f'queue "{queue}" is not in config.toml.{did_you_mean(queue, around.queues)}')


def _seen(file: str, root: Path) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file
