"""Who asks, and whether they may: bearer tokens with roles, as a dependency of each route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.requests import Request  # noqa: TC002 - FastAPI reads the annotation
from fastapi.security.base import SecurityBase

from millrace.errors import NotAuthenticated, NotPermitted
from millrace.web.tokens import PREFIX, Role, hash_of

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.ledger.reads import Reads
    from millrace.web.house import House

_SCHEME: Final = "bearer"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever shows a valid token; `client` is the only one they may see and submit for, None means all."""

    name: str
    role: Role
    client: str | None

    @property
    def actor(self) -> str:
        """Who it is, in the events of a job."""
        return f"api:{self.name}"

    def client_or_own(self, wanted: str | None) -> str | None:
        """
        Return the client that a request is for: the one it names, else the token's own, else None.

        Raises: NotPermitted if the token is bound to another.
        """
        if self.client is not None and wanted not in (None, self.client):
            msg = f'this token is bound to client "{self.client}" and may not act for "{wanted}"'
            raise NotPermitted(msg)
        return wanted or self.client


def caller_of(authorization: str | None, reads: Reads, clock: Clock) -> Caller:
    """
    Return who shows a token. The work is the same for a good token and a bad one.

    Args:
        authorization: The header, as it came.
    Raises: NotAuthenticated, in the same words for a token that is unknown, expired or revoked.
    """
    if authorization is None:
        msg = f"a token is needed: send the header `Authorization: Bearer {PREFIX}…`"
        raise NotAuthenticated(msg)
    scheme, _, text = authorization.partition(" ")
    row = reads.token_by_hash(hash_of(text.strip()))
    if scheme.lower() != _SCHEME or row is None or row.revoked_at is not None:
        raise NotAuthenticated("this token is not valid")
    if row.expires_at is not None and row.expires_at <= clock.now_ms():
        raise NotAuthenticated("this token is not valid")
    return Caller(row.name, Role[row.role.upper()], row.client)


class Needs(SecurityBase):
    """
    The dependency of a route that wants at least a role.

    Args:
        role: The least role.
        whole_site: Whether the route tells or changes what concerns all clients: not for a token bound to one.
    """

    def __init__(self, role: Role, *, whole_site: bool = False) -> None:
        self.role = role
        self.whole_site = whole_site
        self.model = BearerModel(
            bearerFormat=f"{PREFIX}…",
            description="A token of this site: the first one is in `admin.token` in its state folder",
        )
        self.scheme_name = "token"

    async def __call__(self, request: Request) -> Caller:
        """Return the caller; runs in the event loop, since it is one look by an indexed key."""
        house: House = request.app.state.house
        caller = caller_of(request.headers.get("authorization"), house.reads, house.clock)
        if caller.role < self.role:
            msg = f"this needs the role {self.role.name.lower()}; the token has {caller.role.name.lower()}"
            raise NotPermitted(msg)
        if self.whole_site and caller.client is not None:
            msg = f'this concerns the whole site; the token is bound to client "{caller.client}"'
            raise NotPermitted(msg)
        return caller


def may_look(request: Request) -> bool:
    """Return whether an open route may give its details: to whoever may look at the whole site."""
    house: House = request.app.state.house
    try:
        return caller_of(request.headers.get("authorization"), house.reads, house.clock).client is None
    except NotAuthenticated:
        return False


VIEWER: Final = Needs(Role.VIEWER)
OPERATOR: Final = Needs(Role.OPERATOR)
SITE_VIEWER: Final = Needs(Role.VIEWER, whole_site=True)
SITE_OPERATOR: Final = Needs(Role.OPERATOR, whole_site=True)
SITE_ADMIN: Final = Needs(Role.ADMIN, whole_site=True)
