"""`/api/v1/tasks`, `/pipelines` and `/queues`: what can be run, and the lanes it waits in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation

from millrace.errors import NotFound, did_you_mean
from millrace.ledger.rows import QueueRow
from millrace.web.answers import json_answer
from millrace.web.auth import SITE_OPERATOR, SITE_VIEWER, VIEWER, Caller
from millrace.web.commit import aside, committed
from millrace.web.openapi import PIPELINE, PIPELINES, QUEUE, QUEUES, TASKS, problems, shown_as

if TYPE_CHECKING:
    from millrace.define.pipeline import Pipeline
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["site"])
Viewer = Annotated[Caller, Depends(VIEWER)]
SiteViewer = Annotated[Caller, Depends(SITE_VIEWER)]
SiteOperator = Annotated[Caller, Depends(SITE_OPERATOR)]


@router.get("/tasks", summary="List tasks", responses=shown_as(200, "The tasks of this site", TASKS) | problems())
async def tasks(request: Request, _caller: Viewer) -> Response:
    """Give what can be run, with parameters and schemas, and which job files did not load, and why."""
    house: House = request.app.state.house

    def look() -> dict[str, Any]:  # a schema is made when it is first asked for
        found = [house.registry.tasks[name].describe() for name in sorted(house.registry.tasks)]
        return {"tasks": found, "problems": _broken(house)}

    return json_answer(await aside(look))


@router.get(
    "/pipelines",
    summary="List pipelines",
    responses=shown_as(200, "The pipelines of this site", PIPELINES) | problems(),
)
async def pipelines(request: Request, _caller: Viewer) -> Response:
    """Give the graphs that can be run, with inputs and stages, and which job files did not load, and why."""
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        found = [house.registry.pipelines[name].describe() for name in sorted(house.registry.pipelines)]
        return {"pipelines": found, "problems": _broken(house)}

    return json_answer(await aside(look))


@router.get(
    "/pipelines/{name}",
    summary="Show a pipeline",
    responses=shown_as(200, "The pipeline", PIPELINE) | problems(404),
)
async def pipeline(request: Request, _caller: Viewer, name: str) -> Response:
    """Give a pipeline: its inputs, its stages and what each of them needs, and the graph for Mermaid."""
    house: House = request.app.state.house
    return json_answer(await aside(lambda: known_pipeline(house, name).describe()))


@router.get("/queues", summary="List queues", responses=shown_as(200, "The queues", QUEUES) | problems())
async def queues(request: Request, _caller: SiteViewer) -> Response:
    """Give the queues of config.toml, and those that left it and still have jobs."""
    house: House = request.app.state.house
    return json_answer({"queues": await aside(lambda: _queues(house))})


@router.post(
    "/queues/{name}/pause", summary="Pause a queue", responses=shown_as(200, "The queue", QUEUE) | problems(404)
)
async def pause(request: Request, caller: SiteOperator, name: str) -> Response:
    """Let a queue give out no more work; what runs goes on, and jobs are still accepted. Pausing twice is no error."""
    house: House = request.app.state.house
    await aside(lambda: _queue(house, name))
    await committed(house.moves.pause(name, actor=caller.actor))
    return json_answer(await aside(lambda: _queue(house, name)))


@router.post(
    "/queues/{name}/resume", summary="Resume a queue", responses=shown_as(200, "The queue", QUEUE) | problems(404)
)
async def resume(request: Request, caller: SiteOperator, name: str) -> Response:
    """Let a paused queue give out work again. Resuming one that is not paused is no error."""
    house: House = request.app.state.house
    await aside(lambda: _queue(house, name))
    await committed(house.moves.resume(name, actor=caller.actor))
    return json_answer(await aside(lambda: _queue(house, name)))


def known_pipeline(house: House, name: str) -> Pipeline:
    """
    Return the pipeline of an address.

    Raises: NotFound: what stands in the path is an address that is not there, not a field that does not fit.
    """
    try:
        return house.registry.find_pipeline(name)
    except NotFound as error:
        raise NotFound(str(error)) from None


def _broken(house: House) -> list[dict[str, Any]]:
    return [
        {"file": one.file, "line": one.line, "reason": one.reason, "task": one.task} for one in house.registry.problems
    ]


def _queues(house: House) -> list[dict[str, Any]]:
    now_ms = house.clock.now_ms()
    found = {row.name: row for row in house.reads.queues()}
    listed = []
    for name in sorted({*found, *house.settings.queues}):
        row = found.get(name) or QueueRow(name, paused=False, waiting=0, queued=0, running=0, oldest_queued_at=None)
        settings = house.settings.queues.get(name)
        bounds = {bound: getattr(settings, bound, None) for bound in ("kind", "workers", "max_workers", "max_backlog")}
        listed.append({**row.as_json(now_ms), **bounds})
    return listed


def _queue(house: House, name: str) -> dict[str, Any]:
    known = {queue["queue"]: queue for queue in _queues(house)}
    if name not in known:
        raise NotFound(f'no queue "{name}".{did_you_mean(name, known)}')
    return known[name]
