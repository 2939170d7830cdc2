"""The child's end of the protocol: how job code in a child reaches its supervisor."""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import LostClaim, MillraceError, Parked
from millrace.runner.protocol import CHUNK, ORDERS, Lines, Message, Unsupported, decode, encode
from millrace.runner.stop import INTERRUPTED, StopJob

if TYPE_CHECKING:
    import socket

_REFUSALS: Final = {LostClaim.type: LostClaim, Unsupported.type: Unsupported}


class SocketLine:
    """The way to the supervisor. Questions are asked one at a time, from whichever thread of the job."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lines = Lines()
        self._inbox: list[Message] = []
        self._lock = threading.RLock()
        self.asked: str | None = None

    def receive(self) -> Message | None:
        """Return the next message; None when the supervisor has closed."""
        while not self._inbox:
            data = self._sock.recv(CHUNK)
            if not data:
                return None
            self._inbox += [decode(line, ORDERS) for line in self._lines.feed(data)]
        return self._inbox.pop(0)

    def send(self, message: Message) -> None:
        """Send one message."""
        self._sock.sendall(encode(message))

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        """See `context.Line`."""
        with self._lock:
            self.send({"m": kind, **body})
            while (reply := self.receive()) is not None:
                if reply["m"] == "answer":
                    return _unpacked(reply)
                self._heed(reply)
        raise ConnectionError("the supervisor has gone")

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        """See `context.Line`."""
        with self._lock:
            self.send({"m": kind, **body})

    def check(self) -> None:
        """See `context.Line`."""
        with self._lock:
            while self.asked is None and select.select([self._sock], [], [], 0)[0]:
                order = self.receive()
                if order is None:
                    raise ConnectionError("the supervisor has gone")
                self._heed(order)
        if self.asked is not None:
            raise StopJob(self.asked)

    def _heed(self, order: Message) -> None:
        if order["m"] == "stop":
            self.asked = str(order.get("why", INTERRUPTED))


def _unpacked(reply: Message) -> Any:
    if "no" not in reply:
        return reply.get("ok")
    kind, message, *more = reply["no"]
    if kind == "parked":
        raise Parked(message, more[0] if more else None)
    raise _REFUSALS.get(kind, MillraceError)(message)
