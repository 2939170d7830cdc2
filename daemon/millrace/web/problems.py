"""Every error leaves as `application/problem+json` (RFC 9457), with a `type` that scripts may hold on to."""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from millrace.define.payload import shown
from millrace.define.wording import plain_reason
from millrace.errors import (
    KeyConflict,
    LedgerBusy,
    MillraceError,
    NotAuthenticated,
    Overloaded,
    PayloadError,
    Problem,
    UnknownTask,
)
from millrace.events import RequestFailed
from millrace.web.answers import json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from fastapi import FastAPI, Request
    from fastapi.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from millrace.events import Emit

MEDIA_TYPE: Final = "application/problem+json"
URN: Final = "urn:millrace:problem:"
BUSY_RETRY_S: Final = 1
TITLES: Final = {
    "error": "It did not work",
    "bug": "An error in the daemon",
    "ledger": "The ledger could not be used",
    "ledger-busy": "The ledger is busy",
    "disk-full": "The disk is full",
    "ledger-foreign": "The ledger is of another version",
    "not-found": "There is no such thing",
    "unknown-task": "The site has no such task, pipeline, queue or client",
    "wrong-status": "Its status does not allow it",
    "key-conflict": "The idempotency key belongs to another submission",
    "payload": "The submission does not fit",
    "parameter": "A parameter does not fit",
    "too-large": "Too large",
    "too-slow": "The request took too long to arrive",
    "not-authenticated": "A valid token is needed",
    "not-permitted": "The token does not allow it",
    "overloaded": "The queue is full",
    "unreachable": "An outside party does not answer",
    "no-route": "There is nothing at this address",
    "method-not-allowed": "This address takes other methods",
    "http": "The request cannot be answered",
}
_NOT_ALLOWED: Final = 405
_HTTP_TYPES: Final = {404: "no-route", 405: "method-not-allowed", 408: "too-slow", 413: "too-large"}


def document(type_: str, status: int, detail: str, errors: Iterable[Problem] = (), **more: Any) -> dict[str, Any]:
    """Return a problem document."""
    found: dict[str, Any] = {
        "type": URN + type_,
        "title": TITLES.get(type_, TITLES["error"]),
        "status": status,
        "detail": detail,
        **more,
    }
    listed = [{"field": one.field, "reason": one.reason, "suggestion": one.suggestion} for one in errors]
    return {**found, "errors": listed} if listed else found


def document_of(error: MillraceError) -> dict[str, Any]:
    """Return the problem document of one of our own errors."""
    match error:
        case PayloadError():
            return document(error.type, error.http_status, str(error), error.problems)
        case UnknownTask():
            reason, _, hint = str(error).partition(" Did you mean")
            problem = Problem(error.field, reason, f"Did you mean{hint}" if hint else None)
            return document(error.type, error.http_status, str(error), [problem])
        case KeyConflict():
            holder = {"job_id": error.job_id, "run_id": error.run_id}
            named: dict[str, Any] = {name: id_ for name, id_ in holder.items() if id_ is not None}
            return document(error.type, error.http_status, str(error), **named)
        case _:
            return document(error.type, error.http_status, str(error))


def answer(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem document as a response."""
    return json_answer(problem, problem["status"], headers, MEDIA_TYPE)


def answer_of(error: MillraceError) -> Response:
    """Return one of our own errors as a response, with the headers that belong to it."""
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    elif isinstance(error, LedgerBusy):
        headers["Retry-After"] = str(BUSY_RETRY_S)
    elif isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="millrace"'
    return answer(document_of(error), headers)


def install(app: FastAPI, emit: Emit, methods: Callable[[str], Collection[str]]) -> None:
    """
    Let all errors of an app leave as problem documents.

    Args:
        methods: All that a path takes: the header `Allow` of a 405 must name each.
    """

    async def http(request: Request, error: Exception) -> Response:
        return _http(request, error, methods)

    app.add_exception_handler(MillraceError, _ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, _parameters)
    app.add_middleware(Guard, emit=emit)


class Guard:
    """The outermost layer: what no handler took is a bug. It is logged with its traceback, and the caller sees none."""

    def __init__(self, app: ASGIApp, emit: Emit) -> None:
        self._app = app
        self._emit = emit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return  # the caller has gone in the middle of its own request: nobody is there to be answered
        except Exception as error:
            method, path = scope.get("method", ""), scope.get("path", "")
            text = "".join(traceback.format_exception(error))
            self._emit(RequestFailed(method, path, f"{type(error).__name__}: {error}", text))
            if started:
                raise  # the server closes the connection: half an answer must not look like a whole one
            detail = "This is a bug: the daemon's log has the details."
            await answer(document("bug", 500, detail))(scope, receive, send)


async def _ours(_request: Request, error: Exception) -> Response:
    return answer_of(error) if isinstance(error, MillraceError) else answer(document("bug", 500, "This is a bug."))


def _http(request: Request, error: Exception, methods: Callable[[str], Collection[str]]) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    type_ = _HTTP_TYPES.get(status, "http")
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == _NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(methods(request.url.path)))
    told = {
        "no-route": f"there is nothing at {request.url.path}: see /api/openapi.json",
        "method-not-allowed": f"{request.url.path} does not take {request.method}: see /api/openapi.json",
    }
    return answer(document(type_, status, told.get(type_, str(getattr(error, "detail", "")))), headers)


async def _parameters(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [Problem(".".join(map(str, one["loc"][1:])) or str(one["loc"][0]), _reason(one)) for one in found]
    return answer(document("parameter", 422, "; ".join(map(str, problems)), problems))


def _reason(found: Mapping[str, Any]) -> str:
    """Say what is wrong with a parameter: `must be greater than or equal to 1, got "0"`."""
    if found["type"] == "extra_forbidden":
        return "is no parameter here: see /api/openapi.json"
    if found["type"] == "string_pattern_mismatch":  # the one that has a pattern is `after`
        return f"must be the id of a job in full, got {shown(found['input'])}"
    return f"{plain_reason(found['msg'].partition(', unable')[0])}, got {shown(found['input'])}"
