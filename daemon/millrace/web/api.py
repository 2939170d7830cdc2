"""`/api/v1/jobs` and `/api/v1/dead`: submitting jobs, looking at them, steering them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation

from millrace.clock import MS, parse_duration, parse_time
from millrace.errors import NotFound, ParameterError, Problem
from millrace.ledger.names import unknown_to_jobs
from millrace.ledger.rows import JobFilter
from millrace.ledger.run_view import with_arguments
from millrace.ledger.states import Status
from millrace.web.answers import json_answer
from millrace.web.auth import OPERATOR, VIEWER, Caller
from millrace.web.body import read_body
from millrace.web.commit import aside, committed
from millrace.web.openapi import BODY, JOB, JOB_DETAILS, PAGE, problems, shown_as
from millrace.web.query import JobQuery, ReasonQuery  # noqa: TC001 - FastAPI reads the annotations
from millrace.web.submission import Envelope, read_submission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from millrace.ledger.accept import Accepted
    from millrace.ledger.names import Unknown
    from millrace.ledger.rows import JobRow
    from millrace.ledger.ticket import Ticket
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["jobs"])
SMALL: Final = 16_384  # bytes of a body that is read in the event loop
Viewer = Annotated[Caller, Depends(VIEWER)]
Operator = Annotated[Caller, Depends(OPERATOR)]


@router.post(
    "/jobs",
    summary="Submit a job",
    status_code=202,
    responses={
        **shown_as(202, "Accepted and on disk; `Location` is its address", JOB),
        **shown_as(200, "The idempotency key is known: the job that has it", JOB),
        **problems(409, 413, 422, 503, 507),
    },
    openapi_extra=BODY,
)
async def submit(request: Request, caller: Operator) -> Response:
    """
    Answer once the job is on disk.

    An idempotency key (the field `key` or the header `Idempotency-Key`) makes it safe to send again: the same
    submission returns the job that exists, another one is refused. `X-Correlation-Id` is kept with the job.
    """
    house: House = request.app.state.house
    body = await read_body(request, house.max_body)
    around = envelope(request, caller)

    def hand_in() -> Ticket[list[Accepted]]:
        return house.submitter.hand_in(read_submission(body, around))

    # Checking a small payload and looking up a row by its id take microseconds, a change of threads ten times as long.
    ticket = hand_in() if len(body) <= SMALL else await aside(hand_in)
    accepted = (await committed(ticket))[0]

    def answer() -> Response:
        location = {"Location": f"/api/v1/jobs/{accepted.id}"}
        return json_answer(house.reads.job(accepted.id).as_json(), 200 if accepted.existed else 202, location)

    # One that existed may have a large result.
    return answer() if len(body) <= SMALL and not accepted.existed else await aside(answer)


@router.get("/jobs", summary="List jobs, newest first", responses=shown_as(200, "A page of jobs", PAGE) | problems(422))
async def jobs(request: Request, caller: Viewer, query: Annotated[JobQuery, Query()]) -> Response:
    """
    Give a page of `limit` jobs. Its `next` is the `after` of the page that follows, null at the end.

    Of a payload or result of more than 50,000 bytes a page has the length alone, `{"$large": bytes}`: the job itself
    has it whole.
    """
    return await _page(request, caller, query, query.status)


@router.get(
    "/dead", summary="List dead letters, newest first", responses=shown_as(200, "A page of jobs", PAGE) | problems(422)
)
async def dead(request: Request, caller: Viewer, query: Annotated[JobQuery, Query()]) -> Response:
    """Give a page of the jobs that are dead: out of retries, or not worth retrying."""
    if query.status not in (None, Status.DEAD):
        raise ParameterError([Problem("status", "is always dead here", "GET /api/v1/jobs filters by status")])
    return await _page(request, caller, query, Status.DEAD)


@router.get(
    "/jobs/{job_id}",
    summary="Show a job",
    responses=shown_as(200, "The job with its attempts and events", JOB_DETAILS) | problems(404),
)
async def job(request: Request, caller: Viewer, job_id: str) -> Response:
    """Give a job by its id, or by a unique start of it, with all that happened to it."""
    house: House = request.app.state.house

    def look() -> Response:
        found = with_arguments(house.reads, find(house, caller, job_id))
        progress = house.reads.progress(found.id)
        shown = {
            **found.as_json(),
            "progress": progress.as_json() if progress else None,
            "attempts": [attempt.as_json() for attempt in house.reads.attempts(found.id)],
            "events": [event.as_json() for event in house.reads.events(found.id)],
            "effects": [effect.as_json() for effect in house.reads.effects_of(found.id)],
        }
        return json_answer(shown)

    return await aside(look)


@router.post(
    "/jobs/{job_id}/retry",
    summary="Put a dead or cancelled job back",
    responses=shown_as(200, "The job, queued again", JOB) | problems(404, 409),
)
async def retry(request: Request, caller: Operator, job_id: str) -> Response:
    """Queue the job again, with a clean account of failures; its history stays."""
    house: House = request.app.state.house
    return await _steer(house, caller, job_id, lambda id_: committed(house.moves.requeue(id_, actor=caller.actor)))


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel a job",
    responses={
        **shown_as(200, "The job, cancelled", JOB),
        **shown_as(202, "The job still runs; it is asked to end, then made to", JOB),
        **problems(404, 409),
    },
)
async def cancel(request: Request, caller: Operator, job_id: str) -> Response:
    """Cancel a job that waits, is queued, or runs."""
    house: House = request.app.state.house
    return await _steer(house, caller, job_id, lambda id_: committed(house.moves.cancel(id_, actor=caller.actor)))


@router.post(
    "/jobs/{job_id}/discard",
    summary="Decide that a dead job stays undone",
    responses=shown_as(200, "The job, cancelled", JOB) | problems(404, 409),
)
async def discard(request: Request, caller: Operator, job_id: str, query: Annotated[ReasonQuery, Query()]) -> Response:
    """Take a job out of the dead letters; its history stays."""
    house: House = request.app.state.house
    move = house.moves.discard
    return await _steer(
        house, caller, job_id, lambda id_: committed(move(id_, actor=caller.actor, reason=query.reason))
    )


def envelope(request: Request, caller: Caller) -> Envelope:
    """Return what stands around the submissions of a request."""
    headers = request.headers
    return Envelope(caller, headers.get("idempotency-key"), headers.get("x-correlation-id", ""))


def find(house: House, caller: Caller, job_id: str) -> JobRow:
    """
    Return a job that the caller may see.

    Raises: NotFound, in the same words for a job of another client: whether it exists is none of the caller's business.
    """
    nothing = NotFound(f'no job "{job_id}"')
    try:
        found = house.reads.job(job_id)
    except NotFound:
        if caller.client is None:
            raise
        raise nothing from None
    if caller.client not in (None, found.client):
        raise nothing
    return found


async def _steer(house: House, caller: Caller, job_id: str, move: Callable[[str], Awaitable[Status]]) -> Response:
    known = await aside(lambda: find(house, caller, job_id))
    await move(known.id)

    def answer() -> Response:
        now = house.reads.job(known.id)
        return json_answer(now.as_json(), 202 if now.status == Status.RUNNING else 200)

    return await aside(answer)


async def _page(request: Request, caller: Caller, query: JobQuery, status: Status | None) -> Response:
    house: House = request.app.state.house
    wanted = JobFilter(
        status=status,
        task=query.task,
        queue=query.queue,
        client=caller.client_or_own(query.client),
        since=since(query.since, house.clock.now_ms()),
        limit=query.limit,
        after=query.after,
    )

    def look() -> Response:
        _check_names(house, query)
        run = None if query.run is None else _run_id(house, caller, query.run)
        page = house.reads.jobs(replace(wanted, run=run))
        return json_answer({"jobs": [row.as_json() for row in page.jobs], "next": page.next})

    return await aside(look)


def since(text: str | None, now_ms: int) -> int | None:
    """Return the moment that `since` means: a time, or a duration before now."""
    if text is None:
        return None
    try:
        return now_ms - round(parse_duration(text) * MS)
    except ValueError:
        try:
            # A plus sign that was not escaped arrives as a space.
            return parse_time(text.replace(" ", "+") if text.count(":") > 1 and " " in text[11:] else text)
        except ValueError:
            hint = 'write for example "24h" or "2026-12-01T06:00:00Z"'
            raise ParameterError([Problem("since", f'"{text}" is neither a duration nor a time', hint)]) from None


def _run_id(house: House, caller: Caller, run: str) -> str:
    """Return the id of the run that jobs are filtered by; one of another client is as one that is not there."""
    nothing = f'there is no run "{run}"'
    try:
        found = house.reads.run(run)
    except NotFound as error:
        raise ParameterError([Problem("run", str(error) if caller.client is None else nothing)]) from None
    if caller.client not in (None, found.client):
        raise ParameterError([Problem("run", nothing)])
    return found.id


def _check_names(house: House, query: JobQuery) -> None:
    """Refuse names that neither the site nor any old job has: a typing error must not look like an empty list."""
    known = {
        "task": {task.name for task in house.registry.runnable()},
        "queue": set(house.settings.queues),
        "client": set(house.settings.client_names()),
    }
    refuse_unknown(unknown_to_jobs(house.reads, {kind: getattr(query, kind) for kind in known}, known))


def refuse_unknown(names: Sequence[Unknown]) -> None:
    """Raise ParameterError if there are any."""
    if names:
        raise ParameterError([Problem(one.kind, str(one._replace(close="")), one.close or None) for one in names])
