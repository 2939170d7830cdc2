"""What may stand behind the question mark, typed and bounded; another name is refused, for it would filter nothing."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from millrace.ledger.states import Status

MAX_PAGE: Final = 1000
_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
Name = Annotated[str | None, Field(min_length=1, max_length=200)]


class JobQuery(BaseModel):
    """Which jobs a list shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Annotated[Status | None, Field(description="Where the job stands")] = None
    task: Annotated[Name, Field(description="The task's name")] = None
    queue: Annotated[Name, Field(description="The queue's name")] = None
    client: Annotated[Name, Field(description="For whom the work is done")] = None
    run: Annotated[Name, Field(description="The run it belongs to: its id, or a unique start of it")] = None
    since: Annotated[Name, Field(description="Created since a time (RFC 3339), or within a duration such as 24h")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="Jobs in a page")] = 50
    after: Annotated[
        str | None, Field(pattern=_UUID, description="The `next` of the page before: the id that it ended with")
    ] = None


RunStatus = Literal["running", "succeeded", "partial", "failed", "cancelled"]


class RunQuery(BaseModel):
    """Which runs a list shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Annotated[RunStatus | None, Field(description="What the run came to")] = None
    pipeline: Annotated[Name, Field(description="The pipeline's name")] = None
    client: Annotated[Name, Field(description="For whom the work is done")] = None
    since: Annotated[Name, Field(description="Created since a time (RFC 3339), or within a duration such as 24h")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="Runs in a page")] = 50
    after: Annotated[
        str | None, Field(pattern=_UUID, description="The `next` of the page before: the id that it ended with")
    ] = None


class AuditQuery(BaseModel):
    """Which rows of the audit log a list shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="Rows in a page")] = 50
    after: Annotated[
        int | None, Field(ge=1, le=1 << 62, description="The `next` of the page before: the number that it ended with")
    ] = None


class ReasonQuery(BaseModel):
    """Why a person decides so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[str | None, Field(max_length=1000, description="Why, for whoever reads its history")] = None
