"""A submission of a job or a run as JSON: strictly read, each wrong field named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import parse_time
from millrace.define.payload import shown, strict_json
from millrace.errors import PayloadError, Problem, did_you_mean
from millrace.ledger.rows import Source
from millrace.queue.runs import RunSubmission
from millrace.queue.submit import Submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.web.auth import Caller

FIELDS: Final = ("task", "payload", "client", "queue", "priority", "due_at", "key")
RUN_FIELDS: Final = ("inputs", "client", "priority", "key")
MAX_CORRELATION: Final = 128
_BODY: Final = "body"
_TEXTS: Final = ("task", "client", "queue", "due_at", "key")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around a submission: who sends it, and the headers that belong to it."""

    caller: Caller
    key: str | None = None
    correlation_id: str = ""


def read_submission(text: bytes, around: Envelope) -> Submission:
    """
    Return the submission that a JSON text asks for. The payload itself is checked by the one door in, against its task.

    Raises: PayloadError that names each wrong field; NotPermitted if the token is bound to another client.
    """
    document = read_object(text, 'such as {"task": "name", "payload": {}}')
    problems = _unknown(document, FIELDS, "a submission")
    if document.get("task") is None:
        problems.append(Problem("task", "is missing", "the name of a task: see GET /api/v1/tasks"))
    problems += [*_mistyped(document), *_headers(document, around)]
    due_at = _due_at(document, problems)
    if problems:
        raise PayloadError(problems)
    return Submission(
        document["task"],
        payload=document.get("payload", {}),
        client=around.caller.client_or_own(document.get("client")),
        queue=document.get("queue"),
        priority=document.get("priority") or 0,
        due_at=due_at,
        key=document.get("key") or around.key,
        source=Source("api", around.caller.name),
        correlation_id=around.correlation_id,
    )


def read_run(pipeline: str, text: bytes, around: Envelope) -> RunSubmission:
    """
    Return the run that a JSON text asks for; the inputs are checked by the door for runs, against the pipeline.

    Raises: PayloadError that names each wrong field; NotPermitted if the token is bound to another client.
    """
    document = read_object(text, 'such as {"inputs": {}}')
    problems = [
        *_unknown(document, RUN_FIELDS, "a request for a run"),
        *_mistyped(document),
        *_headers(document, around),
    ]
    if problems:
        raise PayloadError(problems)
    return RunSubmission(
        pipeline,
        payload=document.get("inputs", {}),
        client=around.caller.client_or_own(document.get("client")),
        priority=document.get("priority") or 0,
        key=document.get("key") or around.key,
        source=Source("api", around.caller.name),
        correlation_id=around.correlation_id,
    )


def read_object(text: bytes, example: str) -> dict[str, Any]:
    """
    Return the JSON object that a body is.

    Raises: PayloadError, with the example if it is something else.
    """
    try:
        document = strict_json(text, where=_BODY, around=1)
    except PayloadError as error:
        raise PayloadError([_inside(problem) for problem in error.problems]) from None
    if not isinstance(document, dict):
        raise PayloadError([Problem(_BODY, f"must be a JSON object, not {shown(document)}", example)])
    return document


def _inside(problem: Problem) -> Problem:
    """Return the problem with the path as the caller sees it: `payload.month`, not `body.payload.month`."""
    return Problem(problem.field.removeprefix(f"{_BODY}."), problem.reason, problem.suggestion)


def _unknown(document: Mapping[str, Any], fields: tuple[str, ...], what: str) -> list[Problem]:
    return [
        Problem(name, f"is no field of {what}", did_you_mean(name, fields).strip())
        for name in document
        if name not in fields
    ]


def _mistyped(document: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for name in _TEXTS:
        value = document.get(name)
        if value is not None and not (isinstance(value, str) and value):
            problems.append(Problem(name, f"must be text, got {shown(value)}", None))
    priority = document.get("priority")
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, int)):
        problems.append(Problem("priority", f"must be a whole number, got {shown(priority)}", "higher comes first"))
    return problems


def _headers(document: Mapping[str, Any], around: Envelope) -> list[Problem]:
    problems = []
    key = document.get("key")
    if key is not None and around.key is not None and key != around.key:
        problems.append(Problem("key", "differs from the header Idempotency-Key", "send one of them"))
    if len(around.correlation_id) > MAX_CORRELATION or not around.correlation_id.isprintable():
        reason = f"must have at most {MAX_CORRELATION} printable characters"
        problems.append(Problem("X-Correlation-Id", reason))
    return problems


def _due_at(document: Mapping[str, Any], problems: list[Problem]) -> int | None:
    value = document.get("due_at")
    if not isinstance(value, str) or not value:
        return None
    try:
        return parse_time(value)
    except ValueError as error:
        problems.append(Problem("due_at", str(error)))
        return None
