"""`/api/v1/clients`: for whom the work is done, and how much of it there is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation

from millrace.config.settings import ClientSettings
from millrace.web.answers import json_answer
from millrace.web.auth import VIEWER, Caller
from millrace.web.commit import aside
from millrace.web.openapi import problems, ref, shown_as

if TYPE_CHECKING:
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["site"])
Viewer = Annotated[Caller, Depends(VIEWER)]
_STATUSES: Final = ("waiting", "queued", "running", "succeeded", "dead", "cancelled")


@router.get(
    "/clients", summary="List clients", responses=shown_as(200, "The clients of this site", ref("Clients")) | problems()
)
async def clients(request: Request, caller: Viewer) -> Response:
    """
    Give the clients of config.toml, and those that left it and still have jobs, with the jobs that there are of each.

    Their settings are not told. A token that is bound to a client sees that one alone.
    """
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        counts = _counts(house)
        left = {name for name, of in counts.items() if any(of.values())}
        names = sorted(house.settings.client_names() | left)
        listed = [_client(house, name, counts[name]) for name in names if caller.client in (None, name)]
        return {"clients": listed}

    return json_answer(await aside(look))


def _counts(house: House) -> defaultdict[str, dict[str, int]]:
    """Return how many jobs each client has in each status, by the counters."""
    found: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_STATUSES, 0))
    for one in house.reads.tallies():
        for status in _STATUSES:
            found[one.client][status] += getattr(one, status)
    return found


def _client(house: House, name: str, counts: dict[str, int]) -> dict[str, Any]:
    settings = house.settings.clients.get(name) or ClientSettings()
    return {
        "client": name,
        "name": settings.name,
        "timezone": settings.timezone or house.settings.site.timezone,
        "weight": settings.weight,
        "configured": name in house.settings.client_names(),
        "counts": counts,
        "open": counts["waiting"] + counts["queued"] + counts["running"],
        "finished": counts["succeeded"] + counts["dead"] + counts["cancelled"],
    }
