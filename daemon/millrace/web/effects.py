"""`/api/v1/effects`: what jobs did to the outside world, and saying what became of what is in doubt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation
from pydantic import BaseModel, ConfigDict, Field, model_validator

from millrace.ledger.rows import DEFAULT_CLIENT
from millrace.web.answers import json_answer
from millrace.web.auth import OPERATOR, VIEWER, Caller
from millrace.web.commit import aside, committed
from millrace.web.openapi import problems, ref, shown_as
from millrace.web.query import MAX_PAGE, Name

if TYPE_CHECKING:
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


class Settlement(BaseModel):
    """What became of an effect in doubt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, Field(min_length=1, max_length=200, description="The effect's key")]
    client: Annotated[Name, Field(description="Whose it is; the token's own client, or `default`, when left out")] = (
        None
    )
    outcome: Annotated[Literal["done", "not_done"], Field(description="Whether it was done")]
    result: Annotated[Any, Field(description="What the call would have returned; null when left out")] = None

    @model_validator(mode="after")
    def _result_of_what_was_done(self) -> Self:
        if self.outcome == "not_done" and "result" in self.model_fields_set:
            raise ValueError("what was not done has no result")
        self.result_text().encode()  # NaN and halves of surrogates are read, but cannot be kept
        return self

    def result_text(self) -> str:
        """Return the result as JSON text."""
        return json.dumps(self.result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@router.get(
    "/effects",
    summary="List effects, newest first",
    responses=shown_as(200, "What jobs did with `once`", ref("Effects")) | problems(422),
)
async def effects(request: Request, caller: Viewer, query: Annotated[EffectQuery, Query()]) -> Response:
    """Give effects: done, not done, being done, or in doubt."""
    house: House = request.app.state.house
    client = caller.client_or_own(query.client)
    rows = await aside(lambda: house.reads.effects(client=client, doubt=query.doubt, limit=query.limit))
    return json_answer({"effects": [row.as_json() for row in rows]})


@router.post(
    "/effects/settle",
    summary="Say what became of an effect in doubt",
    responses=shown_as(200, "The effect, settled", ref("Effect")) | problems(404, 409, 422),
)
async def settle(request: Request, caller: Operator, said: Settlement) -> Response:
    """Believe what is said; jobs that wait for the effect go on. Of an effect that is done, the result is changed."""
    house: House = request.app.state.house
    client = caller.client_or_own(said.client) or DEFAULT_CLIENT
    result = said.result_text() if "result" in said.model_fields_set else None
    move = house.moves.effect_settle
    await committed(move(client, said.key, actor=caller.actor, done=said.outcome == "done", result=result))
    row = await aside(lambda: house.reads.effect(client, said.key))
    return json_answer(row.as_json())
