"""
A bound for open connections. Uvicorn counts requests; a client that connects and says nothing is not asked for one, and
would hold a descriptor for ever. Who was silent longest goes when somebody new comes.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

_ARRIVALS: Final = count()


class Bounded(H11Protocol):
    """A connection that knows whether it may go. There are fewer than `limit_concurrency` of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrival = next(_ARRIVALS)

    @property
    def idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr] # None before the first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as Uvicorn has it
        """See asyncio; let the longest silent go if there are too many, this one if all others are busy."""
        super().connection_made(transport)
        there = [each for each in self.connections if isinstance(each, Bounded) and not each.transport.is_closing()]
        if self.limit_concurrency is not None and len(there) >= self.limit_concurrency:
            min((each for each in there if each.idle), key=lambda each: each._arrival).transport.close()  # noqa: SLF001
