"""Reading what a request brings, bounded while it arrives: a length that was announced may be a lie."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from millrace.errors import TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request

SILENCE_S: Final = 30.0  # the longest pause within a body
_DRAIN: Final = 10_000_000
_DRAIN_S: Final = 2.0


async def chunks(request: Request) -> AsyncIterator[bytes]:
    """
    Yield the body as it arrives.

    Raises: HTTPException 408 if it stops arriving; ClientDisconnect if the caller has gone.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await request.receive()
        except TimeoutError:
            raise HTTPException(408, f"nothing of the body arrived for {SILENCE_S:g} s") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]


async def read_body(request: Request, limit: int) -> bytes:
    """
    Return the body.

    Args:
        limit: The most bytes that are taken.
    Raises: TooLarge as soon as it is.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        await drain(request)
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks(request):
        size += len(chunk)
        if size > limit:
            await drain(request)
            raise too_large(limit)
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(limit: int, what: str = "the body") -> TooLarge:
    """Return the error of a body or a line that is above the limit."""
    return TooLarge(f"{what} has more than {limit:,} bytes, which is the most that this site takes ([web] max_body)")


async def drain(request: Request) -> None:
    """
    Let a caller that is refused finish sending, within bounds.

    Many clients read no answer before they have sent all, and would see a broken connection instead of the reason.
    """
    seen = 0
    try:
        async with asyncio.timeout(_DRAIN_S):
            while seen < _DRAIN:
                message = await request.receive()
                if not message.get("more_body", False):
                    return
                seen += len(message.get("body", b""))
    except TimeoutError:
        return
