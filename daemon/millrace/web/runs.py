"""`/api/v1/runs`, and the runs of a pipeline: starting them, looking at them, steering them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation

from millrace.errors import NotFound, WrongStatus
from millrace.ledger.names import unknown_to_runs
from millrace.ledger.run_rows import RunFilter
from millrace.ledger.run_view import view_run
from millrace.web.answers import json_answer
from millrace.web.api import SMALL, envelope, refuse_unknown, since
from millrace.web.auth import OPERATOR, VIEWER, Caller
from millrace.web.body import read_body
from millrace.web.catalog import known_pipeline
from millrace.web.commit import aside, committed
from millrace.web.openapi import RUN, RUN_BODY, RUN_DETAILS, RUN_PAGE, problems, shown_as
from millrace.web.query import RunQuery  # noqa: TC001 - FastAPI reads the annotations
from millrace.web.submission import read_run

if TYPE_CHECKING:
    from millrace.ledger.run_rows import RunRow, Started
    from millrace.ledger.ticket import Ticket
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["runs"])
Viewer = Annotated[Caller, Depends(VIEWER)]
Operator = Annotated[Caller, Depends(OPERATOR)]


@router.post(
    "/pipelines/{name}/runs",
    summary="Start a run",
    status_code=202,
    responses={
        **shown_as(202, "Started and on disk; `Location` is its address", RUN),
        **shown_as(200, "The idempotency key is known: the run that has it", RUN),
        **problems(404, 409, 413, 422, 503, 507),
    },
    openapi_extra=RUN_BODY,
)
async def start(request: Request, caller: Operator, name: str) -> Response:
    """
    Answer once the run is on disk.

    An idempotency key (the field `key` or the header `Idempotency-Key`) makes it safe to send again: the same inputs
    return the run that exists, others are refused. `X-Correlation-Id` is kept with the run and its jobs.
    """
    house: House = request.app.state.house
    body = await read_body(request, house.max_body)
    around = envelope(request, caller)
    known_pipeline(house, name)

    def hand_in() -> Ticket[Started]:
        return house.submitter.hand_in_run(read_run(name, body, around))

    ticket = hand_in() if len(body) <= SMALL else await aside(hand_in)
    started = await committed(ticket)

    def answer() -> Response:
        location = {"Location": f"/api/v1/runs/{started.id}"}
        return json_answer(house.reads.run(started.id).as_json(), 200 if started.existed else 202, location)

    return await aside(answer)


@router.get(
    "/runs", summary="List runs, newest first", responses=shown_as(200, "A page of runs", RUN_PAGE) | problems(422)
)
async def runs(request: Request, caller: Viewer, query: Annotated[RunQuery, Query()]) -> Response:
    """
    Give a page of `limit` runs. Its `next` is the `after` of the page that follows, null at the end.

    Of inputs of more than 50,000 bytes a page has the length alone, `{"$large": bytes}`: the run itself has them whole.
    """
    house: House = request.app.state.house
    wanted = RunFilter(
        pipeline=query.pipeline,
        client=caller.client_or_own(query.client),
        status=query.status,
        since=since(query.since, house.clock.now_ms()),
        limit=query.limit,
        after=query.after,
    )

    def look() -> Response:
        _check_names(house, query)
        page = house.reads.runs(wanted)
        return json_answer({"runs": [row.as_json() for row in page.runs], "next": page.next})

    return await aside(look)


@router.get(
    "/runs/{run_id}",
    summary="Show a run",
    responses=shown_as(200, "The run with its stages, what it works on, and what died", RUN_DETAILS) | problems(404),
)
async def run(request: Request, caller: Viewer, run_id: str) -> Response:
    """Give a run by its id, or by a unique start of it: how far each stage is, from counters."""
    house: House = request.app.state.house

    def look() -> Response:
        found = find_run(house, caller, run_id)
        return json_answer(view_run(house.reads, found.id).as_json())

    return await aside(look)


@router.post(
    "/runs/{run_id}/cancel",
    summary="Cancel a run",
    responses={
        **shown_as(200, "The run, cancelled", RUN),
        **shown_as(202, "Jobs of the run have yet to be cancelled or stopped", RUN),
        **problems(404, 409),
    },
)
async def cancel(request: Request, caller: Operator, run_id: str) -> Response:
    """Cancel what waits and stop what runs. What has succeeded stays; a cancelled run can be resumed."""
    house: House = request.app.state.house
    known = await aside(lambda: find_run(house, caller, run_id))
    await committed(house.moves.cancel_run(known.id, actor=caller.actor))
    return await _now(house, known.id)


@router.post(
    "/runs/{run_id}/resume",
    summary="Put back what died in a run, or was cancelled",
    responses=shown_as(202, "The run, which goes on", RUN) | problems(404, 409),
)
async def resume(request: Request, caller: Operator, run_id: str) -> Response:
    """Queue the dead and cancelled jobs of a run again. What has succeeded is not done again."""
    house: House = request.app.state.house
    known = await aside(lambda: find_run(house, caller, run_id))
    begun = house.clock.now_ms()  # what dies again meanwhile is left for the next request
    count = 0
    while True:  # in small transactions: a run may have 300,000 dead
        asked = house.moves.resume_run(known.id, actor=caller.actor, before=begun, goes_on=count > 0)
        status, some = await committed(asked)
        if not some:
            break
        count += some
    if not count and status == known.status:
        raise WrongStatus(f"run {known.id} is {status}: nothing in it is dead or cancelled that was not discarded")
    return await _now(house, known.id)


def find_run(house: House, caller: Caller, run_id: str) -> RunRow:
    """
    Return a run that the caller may see.

    Raises: NotFound, in the same words for a run of another client.
    """
    nothing = NotFound(f'no run "{run_id}"')
    try:
        found = house.reads.run(run_id)
    except NotFound:
        if caller.client is None:
            raise
        raise nothing from None
    if caller.client not in (None, found.client):
        raise nothing
    return found


async def _now(house: House, run_id: str) -> Response:
    def answer() -> Response:
        run = house.reads.run(run_id)
        return json_answer(run.as_json(), 202 if run.status == "running" else 200)

    return await aside(answer)


def _check_names(house: House, query: RunQuery) -> None:
    """Refuse names that neither the site nor any old run has: a typing error must not look like an empty list."""
    known = {"pipeline": set(house.registry.pipelines), "client": set(house.settings.client_names())}
    refuse_unknown(unknown_to_runs(house.reads, {kind: getattr(query, kind) for kind in known}, known))
