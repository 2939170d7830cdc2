"""What is wrong with a pipeline among the others of a site: names that are taken, queues that are not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.define.checks import flaw_of
from millrace.errors import Flaw, PipelineFlawed, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from millrace.define.pipeline import Pipeline


_NOWHERE: Final = "is not in config.toml"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What a pipeline meets in its site.

    Args:
        queues: The queues of config.toml.
        tasks: Where each plain task stands, by name.
        broken: The files that did not load.
        root: The folder of config.toml.
    """

    queues: Collection[str]
    tasks: Mapping[str, str]
    broken: Collection[str]
    root: Path


def pipeline_flaws(pipeline: Pipeline, others: Sequence[Pipeline], around: Surroundings) -> list[Flaw]:
    """Return why a pipeline cannot be run; nothing when it can."""
    flaws = [*_twins(pipeline, others, around), *_clashes(pipeline, around), *_queues(pipeline, around)]
    flaws += _lost(pipeline, around)
    try:
        _ = pipeline.graph
    except PipelineFlawed as error:
        flaws += error.flaws
    return sorted(dict.fromkeys(flaws), key=lambda flaw: (flaw.file, flaw.line))


def _twins(pipeline: Pipeline, others: Sequence[Pipeline], around: Surroundings) -> Iterator[Flaw]:
    for other in others:
        if other is not pipeline and other.name == pipeline.name:
            where = f"{_seen(other.file, around.root)}:{other.line}"
            reason = f'there is a second pipeline "{pipeline.name}" at {where}: rename one'
            yield Flaw(pipeline.file, pipeline.line, reason)


def _clashes(pipeline: Pipeline, around: Surroundings) -> Iterator[Flaw]:
    for stage in pipeline.stages.values():
        if stage.name in around.tasks:
            where = around.tasks[stage.name]
            yield flaw_of(stage, f'its jobs run as "{stage.name}", the name of the task at {where}: rename one')


def _queues(pipeline: Pipeline, around: Surroundings) -> Iterator[Flaw]:
    own = pipeline.defaults.get("queue")
    if own is not None and own not in around.queues:
        hint = did_you_mean(own, around.queues)
        yield Flaw(pipeline.file, pipeline.line, f'queue "{own}" of pipeline "{pipeline.name}" {_NOWHERE}.{hint}')
    for stage in pipeline.declared:
        queue = stage.policy.queue
        if queue not in {*around.queues, own}:
            yield flaw_of(stage, f'queue "{queue}" {_NOWHERE}.{did_you_mean(queue, around.queues)}')


def _lost(pipeline: Pipeline, around: Surroundings) -> Iterator[Flaw]:
    """A file that failed half-way may have left stages here, and others not: what is known of the graph is not true."""
    for file in dict.fromkeys(stage.file for stage in pipeline.declared):
        if _seen(file, around.root) in around.broken:
            reason = f'pipeline "{pipeline.name}" has stages in {_seen(file, around.root)}, which did not load'
            yield Flaw(pipeline.file, pipeline.line, reason)


def _seen(file: str, root: Path) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file
