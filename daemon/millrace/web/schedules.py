"""`/api/v1/schedules` and `/api/v1/today`: what runs when, and expected against happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation

from millrace.errors import NotFound, did_you_mean
from millrace.triggers.acts import fire_now, fired_as_json
from millrace.triggers.board import board
from millrace.triggers.timetable import timetable
from millrace.triggers.today import today as look_back
from millrace.web.answers import json_answer
from millrace.web.auth import OPERATOR, VIEWER, Caller
from millrace.web.commit import aside, committed
from millrace.web.openapi import FIRED, SCHEDULES, TODAY, problems, shown_as

if TYPE_CHECKING:
    from millrace.triggers.schedule import Schedule
    from millrace.triggers.timetable import Timetable
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["schedules"])
Viewer = Annotated[Caller, Depends(VIEWER)]
Operator = Annotated[Caller, Depends(OPERATOR)]


@router.get(
    "/schedules",
    summary="List schedules",
    responses=shown_as(200, "The schedules of this site", SCHEDULES) | problems(),
)
async def schedules(request: Request, caller: Viewer) -> Response:
    """Give what runs when, in words, with the next three times, the last fire, and why one cannot run."""
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        found = _timetable(house)
        return _shown(house, found, _seen(found, caller))

    return json_answer(await aside(look))


@router.get(
    "/today",
    summary="Show expected against happened",
    responses=shown_as(200, "The gaps, and a line for each schedule", TODAY) | problems(422),
)
async def today(request: Request, caller: Viewer, hours: Annotated[float, Query(gt=0, le=24 * 31)] = 24.0) -> Response:
    """Give what schedules should have done in the last 24 `hours` against what happened; the gaps come first."""
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        now = house.clock.now_ms()
        return look_back(_timetable(house), house.reads, now, span_s=hours * 3600, client=caller.client).as_json()

    return json_answer(await aside(look))


@router.post(
    "/schedules/{name}/pause",
    summary="Pause a schedule",
    responses=shown_as(200, "The schedules of that name", SCHEDULES) | problems(404),
)
async def pause(request: Request, caller: Operator, name: str) -> Response:
    """Let a schedule submit nothing more: its times are kept as skipped. Pausing twice is no error."""
    house: House = request.app.state.house
    for schedule in await aside(lambda: _wanted(house, caller, name)):
        await committed(house.moves.pause_schedule(schedule.key, actor=caller.actor))
    return json_answer(await aside(lambda: _now(house, caller, name)))


@router.post(
    "/schedules/{name}/resume",
    summary="Resume a schedule",
    responses=shown_as(200, "The schedules of that name", SCHEDULES) | problems(404),
)
async def resume(request: Request, caller: Operator, name: str) -> Response:
    """Let a paused schedule go on; what has passed meanwhile is not made up for. Resuming twice is no error."""
    house: House = request.app.state.house
    for schedule in await aside(lambda: _wanted(house, caller, name)):
        await committed(house.moves.resume_schedule(schedule.key, actor=caller.actor))
    return json_answer(await aside(lambda: _now(house, caller, name)))


@router.post(
    "/schedules/{name}/fire",
    summary="Fire a schedule now",
    status_code=202,
    responses=shown_as(202, "The jobs or runs; null for one that waits for the run before", FIRED)
    | problems(404, 409, 422),
)
async def fire(request: Request, caller: Operator, name: str, *, anyway: bool = False) -> Response:
    """
    Submit what a schedule of this name wants, for each of its clients, now. Its own times stay as they are.

    `anyway` starts it also while the run before is not over; else `overlap` decides: 409 for `skip`, and then none of
    its clients' is started.
    """
    house: House = request.app.state.house
    wanted = await aside(lambda: _wanted(house, caller, name))
    now = house.clock.now_ms()
    ticket = fire_now(wanted, house.submitter, house.moves, now=now, actor=caller.actor, anyway=anyway)
    fired = await committed(ticket)
    return json_answer({"fired": fired_as_json(wanted, fired)}, 202)


def _timetable(house: House) -> Timetable:
    return timetable(house.settings, house.registry)


def _seen(found: Timetable, caller: Caller) -> list[Schedule]:
    return [one for one in found.schedules.values() if caller.client in (None, one.client)]


def _wanted(house: House, caller: Caller, name: str) -> list[Schedule]:
    """
    Return the schedules of a name that the caller may touch.

    Raises: NotFound, in the same words for those of other clients.
    """
    seen = _seen(_timetable(house), caller)
    wanted = [one for one in seen if name in (one.key, one.name)]
    if not wanted:
        raise NotFound(f'no schedule "{name}".{did_you_mean(name, {one.name for one in seen})}')
    return wanted


def _now(house: House, caller: Caller, name: str) -> dict[str, Any]:
    return _shown(house, _timetable(house), _wanted(house, caller, name))


def _shown(house: House, found: Timetable, wanted: list[Schedule]) -> dict[str, Any]:
    return {"schedules": board(found, wanted, house.reads, now=house.clock.now_ms())}
