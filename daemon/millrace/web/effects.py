"""`/api/v1/effects`: what jobs did to the outside world, and saying what became of what is in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation
from pydantic import BaseModel, ConfigDict, Field

from millrace.ledger.rows import DEFAULT_CLIENT
from millrace.web.answers import json_answer
from millrace.web.auth import OPERATOR, VIEWER, Caller
from millrace.web.body import read_body
from millrace.web.commit import aside, committed
from millrace.web.openapi import body_of, problems, ref, shown_as
from millrace.web.query import MAX_PAGE, Name
from millrace.web.settlement import read_settlement

if TYPE_CHECKING:
    from millrace.ledger.ticket import Ticket
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["effects"])
Viewer = Annotated[Caller, Depends(VIEWER)]
Operator = Annotated[Caller, Depends(OPERATOR)]


class EffectQuery(BaseModel):
    """Which effects a list shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    doubt: Annotated[bool, Field(description="Only those of which nobody knows whether they were done")] = False
    client: Annotated[Name, Field(description="For whom the work is done")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="At most so many")] = 50


@router.get(
    "/effects",
    summary="List effects, newest first",
    responses=shown_as(200, "What jobs did with `once`", ref("Effects")) | problems(422),
)
async def effects(request: Request, caller: Viewer, query: Annotated[EffectQuery, Query()]) -> Response:
    """
    Give effects: done, not done, being done, or in doubt.

    Of a result of more than 50,000 bytes the list has the length alone, `{"$large": bytes}`: the job has it whole.
    """
    house: House = request.app.state.house
    client = caller.client_or_own(query.client)

    def look() -> Response:
        rows = house.reads.effects(client=client, doubt=query.doubt, limit=query.limit)
        return json_answer({"effects": [row.as_json() for row in rows]})

    return await aside(look)


@router.post(
    "/effects/settle",
    summary="Say what became of an effect in doubt",
    responses=shown_as(200, "The effect, settled", ref("Effect")) | problems(404, 409, 413, 422),
    openapi_extra=body_of(ref("Settlement")),
)
async def settle(request: Request, caller: Operator) -> Response:
    """Believe what is said; jobs that wait for the effect go on. Of an effect that is done, the result is changed."""
    house: House = request.app.state.house
    body = await read_body(request, house.max_body)

    def hand_in() -> tuple[str, str, Ticket[str]]:
        said = read_settlement(body)
        client = caller.client_or_own(said.client) or DEFAULT_CLIENT
        result = said.result_text() if "result" in said.model_fields_set else None
        move = house.moves.effect_settle
        return client, said.key, move(client, said.key, actor=caller.actor, done=said.outcome == "done", result=result)

    client, key, ticket = await aside(hand_in)
    await committed(ticket)
    return await aside(lambda: json_answer(house.reads.effect(client, key).as_json()))
