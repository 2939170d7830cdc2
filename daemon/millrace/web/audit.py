"""`/api/v1/audit`: who did what, for administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation

from millrace.web.answers import json_answer
from millrace.web.auth import SITE_ADMIN, Caller
from millrace.web.commit import aside
from millrace.web.openapi import problems, ref, shown_as
from millrace.web.query import AuditQuery  # noqa: TC001 - FastAPI reads the annotations

if TYPE_CHECKING:
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["site"])
Admin = Annotated[Caller, Depends(SITE_ADMIN)]


@router.get(
    "/audit",
    summary="List who did what, newest first",
    responses=shown_as(200, "A page of the audit log", ref("AuditPage")) | problems(422),
)
async def audit(request: Request, _caller: Admin, query: Annotated[AuditQuery, Query()]) -> Response:
    """
    Give a page of `limit` decisions of people and programs. Its `next` is the `after` of the page that follows.

    Submitted jobs and started runs are not among them: each names its own `source`. For admins of the whole site.
    """
    house: House = request.app.state.house

    def look() -> dict[str, Any]:
        found = house.reads.audit_newest(query.limit + 1, before=query.after)  # one more tells whether there is more
        rows = found[: query.limit]
        return {"audit": [row.as_json() for row in rows], "next": rows[-1].id if len(found) > query.limit else None}

    return json_answer(await aside(look))
