"""`/api/v1/…/explain`: why a job, a run, a schedule or a queue is as it is, and what would change that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation

from millrace.errors import NotFound, did_you_mean
from millrace.observe import explain_look
from millrace.observe.explain import Around
from millrace.observe.explain_disk import disk_of
from millrace.triggers.board import board
from millrace.triggers.timetable import timetable
from millrace.web.answers import json_answer
from millrace.web.api import find
from millrace.web.auth import SITE_VIEWER, VIEWER, Caller
from millrace.web.commit import aside
from millrace.web.openapi import EXPLANATION, problems, shown_as
from millrace.web.runs import find_run

if TYPE_CHECKING:
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["explain"])
Viewer = Annotated[Caller, Depends(VIEWER)]
SiteViewer = Annotated[Caller, Depends(SITE_VIEWER)]
_ANSWERS: Final = shown_as(200, "Why, and what would change it", EXPLANATION) | problems(404)


@router.get("/jobs/{job_id}/explain", summary="Explain a job", responses=_ANSWERS)
async def job(request: Request, caller: Viewer, job_id: str) -> Response:
    """Say why a job waits and until when, why it ran twice, or why it is dead, in codes and in sentences."""
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        found = explain_look.job(house.reads, find(house, caller, job_id), _around(house))
        return _own(found.as_json(), caller)

    return json_answer(await aside(look))


@router.get("/runs/{run_id}/explain", summary="Explain a run", responses=_ANSWERS)
async def run(request: Request, caller: Viewer, run_id: str) -> Response:
    """Say what a run still waits for, or which stages and records have no result."""
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        return explain_look.run(house.reads, find_run(house, caller, run_id), _around(house)).as_json()

    return json_answer(await aside(look))


@router.get("/queues/{name}/explain", summary="Explain a queue", responses=_ANSWERS)
async def queue(request: Request, _caller: SiteViewer, name: str) -> Response:
    """Say how deep a queue is, who paused it, and what its workers do."""
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        known = {row.name for row in house.reads.queues()} | set(house.settings.queues)
        if name not in known:
            raise NotFound(f'no queue "{name}".{did_you_mean(name, known)}')
        return explain_look.queue(house.reads, name, _around(house)).as_json()

    return json_answer(await aside(look))


@router.get("/schedules/{name}/explain", summary="Explain a schedule", responses=_ANSWERS)
async def schedule(request: Request, caller: Viewer, name: str) -> Response:
    """Say why a schedule did not fire, fired late or was passed over. The name may carry a client: `name@client`."""
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        found = timetable(house.settings, house.registry)
        wanted = [one for one in found.named(name) if caller.client in (None, one.client)]
        if not wanted:
            raise NotFound(f'no schedule "{name}".')
        around = _around(house)
        rows = board(found, wanted, house.reads, now=around.now_ms)
        return explain_look.schedule(house.reads, name, rows, around).as_json()

    return json_answer(await aside(look))


def _around(house: House) -> Around:
    return Around(
        house.clock.now_ms(),
        served=True,
        queues=house.settings.queues,
        knows=house.registry.knows,
        disk=disk_of(None, house.troubles()),
    )


def _own(found: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Leave out what a token that is bound to a client must not learn: what other clients have in the queue."""
    line = found["facts"].get("queue")
    if caller.client is not None and line is not None:
        found["facts"]["queue"] = {name: line[name] for name in ("paused_by", "ahead")}
        hidden = {"queued.behind_clients", "queued.limit"}
        kept = [one for one in found["because"] if one["code"] not in hidden]
        if len(kept) < len(found["because"]):
            kept.append({"at": None, "code": "queued.shared", "text": "It shares the queue's workers with others."})
        found["because"] = kept
        found["code"] = "queued.shared" if found["code"] in hidden else found["code"]
    return found
