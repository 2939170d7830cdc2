"""
`/livez`, `/readyz`, `/health`, `/metrics`: for supervisors, load balancers, and people at night. Load balancers often
ask with HEAD, and look at nothing but the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from millrace.observe.metrics import CONTENT_TYPE
from millrace.web.answers import json_answer
from millrace.web.auth import SITE_VIEWER, Caller, may_look
from millrace.web.commit import aside
from millrace.web.openapi import HEALTH, problems, shown_as

if TYPE_CHECKING:
    from millrace.web.house import House

router: Final = APIRouter(tags=["health"])
_FAIL: Final = 503


@router.head("/livez", include_in_schema=False)
@router.get("/livez", summary="Alive", responses=shown_as(200, "The process answers", HEALTH))
async def livez() -> Response:
    """Answer at all. Looks at nothing, so that a full disk does not get the daemon restarted."""
    return json_answer({"status": "pass"})


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Fit to take work",
    responses={**shown_as(200, "Fit", HEALTH), **shown_as(_FAIL, "Starting, stopping, or not able to work", HEALTH)},
)
async def readyz(request: Request) -> Response:
    """Tell whether work should be sent here; why not is told to viewers only."""
    house: House = request.app.state.house
    why = await aside(house.unfit)
    if why is None:
        return json_answer({"status": "pass"})
    details = {"why": why} if may_look(request) else {}
    return json_answer({"status": "fail", **details}, _FAIL)


@router.head("/health", include_in_schema=False)
@router.get(
    "/health",
    summary="Health with figures",
    responses={**shown_as(200, "`pass` or `warn`", HEALTH), **shown_as(_FAIL, "`fail`", HEALTH)},
)
async def health(request: Request) -> Response:
    """Give the worst status of all checks; the checks with their figures and reasons to viewers only."""
    house: House = request.app.state.house
    report = await aside(house.health)
    status = _FAIL if report["status"] == "fail" else 200
    return json_answer(report if may_look(request) else {"status": report["status"]}, status)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    responses={**shown_as(200, "Prometheus text", {"type": "string"}, "text/plain"), **problems()},
)
async def metrics(request: Request, _caller: Annotated[Caller, Depends(SITE_VIEWER)]) -> Response:
    """Give all metrics in Prometheus's text format."""
    house: House = request.app.state.house
    return Response(await aside(house.metrics), media_type=CONTENT_TYPE)
