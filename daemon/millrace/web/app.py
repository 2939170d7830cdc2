"""The HTTP interface as one ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads the annotation
from fastapi.routing import APIRoute

from millrace.web import (
    api,
    audit,
    batch,
    catalog,
    clients,
    effects,
    explain,
    health,
    openapi,
    problems,
    runs,
    schedules,
)
from millrace.web.answers import json_answer

if TYPE_CHECKING:
    from millrace.web.house import House

VERSION: Final = "1"
# The routes of `/jobs/batch` come before those of `/jobs/{id}`, which would take "batch" for an id.
_ROOMS: Final = (batch, api, runs, effects, explain, schedules, catalog, clients, audit, health)
# What FastAPI would measure and send elsewhere when its environment says so: our own events do that.
_TELEMETRY: Final[Any] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def create_app(house: House) -> FastAPI:
    """Return the application that answers from the rooms of a house."""
    app = FastAPI(
        title="Millrace",
        summary="The automation daemon: submit jobs, watch them, steer them",
        version=VERSION,
        openapi_url=None,  # FastAPI's own route would answer in another form of JSON than all others
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_TELEMETRY,
    )
    app.state.house = house
    for room in _ROOMS:
        app.include_router(room.router)
    problems.install(app, house.emit, lambda path: _methods(app, path))
    described = app.openapi

    def with_schemas() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.with_ours(described())
        return app.openapi_schema

    app.openapi = with_schemas  # type: ignore[method-assign]

    @app.get("/api/openapi.json", include_in_schema=False)
    async def description() -> Response:
        return json_answer(with_schemas())

    return app


def _methods(app: FastAPI, path: str) -> set[str]:
    """Return all methods that an address takes: each route knows its own alone."""
    routes = [route for room in _ROOMS for route in room.router.routes] + app.routes
    found = [route for route in routes if isinstance(route, APIRoute) and route.path_regex.match(path)]
    return {method for route in found for method in route.methods or ()}
