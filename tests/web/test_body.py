"""What a request brings is read for those who may bring it, and never without a bound."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

MB = 1_000_000
PIECE = b"1" * 50_000
SETTLE = "/api/v1/effects/settle"


class Sender:
    """A caller that sends an endless body without a line end, and counts what is taken of it."""

    def __init__(self, path: str, token: str | None) -> None:
        self.taken = 0
        self.status = 0
        self.answer = b""
        headers = [(b"content-type", b"application/json")]
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        self._scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
            "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers,
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip

    def send_to(self, app: FastAPI, most: int) -> Sender:
        """Ask the application; end the body once so many bytes of it were taken."""

        async def receive() -> dict[str, Any]:
            if self.taken >= most:  # all is sent: the caller waits for its answer
                await asyncio.Event().wait()
            self.taken += len(PIECE)
            return {"type": "http.request", "body": PIECE, "more_body": self.taken < most}

        async def send(message: dict[str, Any]) -> None:
            self.status = message.get("status", self.status)
            self.answer += message.get("body", b"")

        asyncio.run(app(self._scope, receive, send))  # type: ignore[arg-type]
        return self


def posts(app: FastAPI) -> Iterator[tuple[str, bool]]:
    """Yield the addresses that take POST, and whether they say that they take a body."""
    for path, verbs in app.openapi()["paths"].items():
        if "post" in verbs:
            yield path.format(name="flow", job_id="0199", run_id="0199"), "requestBody" in verbs["post"]


def test_nothing_of_a_body_is_read_for_a_caller_without_a_token(rig: Any) -> None:
    """Whoever reaches the port could fill the daemon's memory otherwise."""
    asked = [path for path, _ in posts(rig.app)]
    assert SETTLE in asked
    for path in asked:
        for token in (None, "mr_wrong", rig.tokens["viewer"]):
            sender = Sender(path, token).send_to(rig.app, 2 * MB)
            assert (path, sender.status, sender.taken) == (path, 403 if token == rig.tokens["viewer"] else 401, 0)


def test_a_body_above_the_bound_is_refused_by_every_route_that_takes_one(rig: Any) -> None:
    """The length may be announced or not; a batch, which has no length, answers so for the line."""
    asked = [path for path, takes_body in posts(rig.app) if takes_body]
    assert {"/api/v1/jobs", "/api/v1/jobs/batch", SETTLE} <= set(asked)
    for path in asked:
        sender = Sender(path, rig.tokens["operator"]).send_to(rig.app, 2 * MB)
        verdict = json.loads(sender.answer)
        assert (path, verdict["status"]) == (path, 413)
        assert sender.status == (200 if path.endswith("/batch") else 413)


def test_no_route_leaves_its_body_to_the_framework(rig: Any) -> None:
    """It reads all of it before it asks who sends it: a parameter of a route must never be one."""
    routes = [route for route in rig.app.routes if isinstance(route, APIRoute)]
    rooms = [one for route in rig.app.routes for one in getattr(getattr(route, "original_router", None), "routes", ())]
    found = [route for route in [*routes, *rooms] if isinstance(route, APIRoute)]
    assert SETTLE in {route.path for route in found}
    assert [route.path for route in found if route.body_field is not None] == []
