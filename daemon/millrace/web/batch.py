"""
`POST /api/v1/jobs/batch`: one submission per JSON line in, one verdict per JSON line out.

Lines are submitted while the body arrives, in chunks of one commit each. The answers are kept in a file until all is
read: a client that sends everything before it reads anything would otherwise wait for us while we wait for it.
"""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse

from millrace.errors import MillraceError, PayloadError, Problem, TooLarge
from millrace.web.answers import json_line
from millrace.web.api import envelope
from millrace.web.auth import OPERATOR, Caller
from millrace.web.body import chunks, drain, too_large
from millrace.web.commit import aside
from millrace.web.openapi import LINES, LINES_BODY, problems, shown_as
from millrace.web.problems import document_of
from millrace.web.submission import Envelope, read_submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import IO

    from millrace.ledger.accept import Accepted
    from millrace.queue.submit import Submission, Submitter
    from millrace.web.house import House

router: Final = APIRouter(prefix="/api/v1", tags=["jobs"])
Operator = Annotated[Caller, Depends(OPERATOR)]
CHUNK: Final = 500
CHUNK_BYTES: Final = 4_000_000  # of lines that wait together: read, checked and written, they take many times as much
MAX_LINES: Final = 1_000_000
_IN_MEMORY: Final = 1_000_000
_PIECE: Final = 65_536


@router.post(
    "/jobs/batch",
    summary="Submit many jobs",
    responses=shown_as(200, "One verdict per line, in order", {"type": "string"}, LINES) | problems(422),
    openapi_extra=LINES_BODY,
)
async def batch(request: Request, caller: Operator) -> Response:
    """
    Take one submission per line, as for a single job; answer with one JSON line for each that is not blank.

    `{"line", "status": 202 or 200, "id"}` for a job that is on disk, else `{"line", "status", "problem": {…}}`: each
    line is all or nothing, and a bad one does not stop the others. Keys belong into the lines, not into the header.
    """
    house: House = request.app.state.house
    around = envelope(request, caller)
    if around.key is not None:
        hint = 'give each line its own "key"'
        raise PayloadError([Problem("Idempotency-Key", "cannot be shared by the lines of a batch", hint)])
    answers = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by `_sent`, or here below
    try:
        async for lines in _groups(request, house.max_body):
            await aside(lambda lines=lines: _submit(house.submitter, lines, around, answers))  # type: ignore[misc]
        answers.seek(0)
    except BaseException:
        answers.close()
        raise
    return StreamingResponse(_sent(answers), media_type=LINES)


Line = tuple[int, bytes | TooLarge]


async def _groups(request: Request, limit: int) -> AsyncIterator[list[Line]]:
    """Yield the lines of the body with their numbers, some at a time."""
    group: list[Line] = []
    number = size = 0
    async for text in _lines(request, limit):
        number += 1
        if number > MAX_LINES:
            await drain(request)
            group.append((number, TooLarge(f"a batch has at most {MAX_LINES:,} lines; from here on nothing was read")))
            break
        if isinstance(text, TooLarge) or text.strip():
            group.append((number, text))
            size += 0 if isinstance(text, TooLarge) else len(text)
        if len(group) >= CHUNK or size >= CHUNK_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


async def _lines(request: Request, limit: int) -> AsyncIterator[bytes | TooLarge]:
    """Yield the lines of the body, each at most `limit` bytes; the rest of a longer one is skipped."""
    rest = b""
    skipping = False
    async for chunk in chunks(request):
        *whole, rest = (rest + chunk).split(b"\n")
        for text in whole:
            if skipping or len(text) > limit:
                yield too_large(limit, "the line")
                skipping = False
            else:
                yield text
        if len(rest) > limit:
            skipping, rest = True, b""
    if skipping:
        yield too_large(limit, "the line")
    elif rest:
        yield rest


def _submit(submitter: Submitter, lines: list[Line], around: Envelope, answers: IO[bytes]) -> None:
    """Submit some lines and keep their verdicts; runs in a thread that may wait."""
    read = [_read(text, around) for _, text in lines]
    verdicts: list[Accepted | MillraceError] = []
    try:
        for some in submitter.submit_many(read):
            verdicts += some
    except MillraceError as error:  # the ledger itself: the same verdict for all that it has not answered
        verdicts += [error] * (len(read) - len(verdicts))
    answers.write(b"".join(_verdict(number, found) for (number, _), found in zip(lines, verdicts, strict=True)))


def _read(text: bytes | TooLarge, around: Envelope) -> Submission | MillraceError:
    if isinstance(text, TooLarge):
        return text
    try:
        return read_submission(text, around)
    except MillraceError as error:
        return error


def _verdict(number: int, found: Accepted | MillraceError) -> bytes:
    if isinstance(found, MillraceError):
        line: dict[str, Any] = {"line": number, "status": found.http_status, "problem": document_of(found)}
        # ASCII only: a line separator of Unicode, quoted from the payload, would be a line break to many readers.
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"
    return json_line({"line": number, "status": 200 if found.existed else 202, "id": found.id}) + b"\n"


def _sent(answers: IO[bytes]) -> Iterator[bytes]:
    with answers:
        while piece := answers.read(_PIECE):
            yield piece
