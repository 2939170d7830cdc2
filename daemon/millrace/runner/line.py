"""The child's end of the protocol: how job code in a child reaches its supervisor."""

from __future__ import annotations

import select
import threading
from socket import MSG_DONTWAIT
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import SYSTEM
from millrace.errors import LostClaim, MillraceError, Parked
from millrace.runner.protocol import CHUNK, ORDERS, EngineError, Lines, Message, Unsupported, decode, encode
from millrace.runner.stop import INTERRUPTED, StopJob
from millrace.runner.tray import IN_WORDS, RING_S

if TYPE_CHECKING:
    import socket

    from millrace.runner.tray import Orders

_REFUSALS: Final = {error.type: error for error in (LostClaim, Unsupported, EngineError)}


class SocketLine:
    """The way to the supervisor. Questions are asked one at a time, from whichever thread of the job."""

    def __init__(self, sock: socket.socket, orders: Orders) -> None:
        self._sock = sock
        self._orders = orders
        self._woken = 0.0  # when one side woke the other last, on the monotonic clock
        self._lines = Lines()
        self._inbox: list[Message] = []
        self._lock = threading.RLock()
        self.asked: str | None = None
        self.cut_off = False  # a question has no answer yet; for good, if an exception of the job ended its wait

    def next_order(self) -> Message | None:
        """Return the next order; None when the supervisor has closed. It is only woken if there is none at hand."""
        data = self._orders.take()
        if data is None:
            self._ring()
            data = self._orders.wait()
            self._woken = SYSTEM.monotonic()
        elif SYSTEM.monotonic() - self._woken > RING_S:
            self._ring()
        if data == IN_WORDS:
            return self.receive()
        return decode(data, ORDERS) if data else None

    def await_reader(self) -> None:
        """Wait until the supervisor has read all output: what the pipe holds must be of one job only."""
        self._ring()
        while (message := self.receive()) is not None and message["m"] != "read":
            pass

    def receive(self) -> Message | None:
        """Return the next message of the socket; None when the supervisor has closed."""
        while not self._inbox:
            data = self._sock.recv(CHUNK)
            if not data:
                return None
            self._inbox += [decode(line, ORDERS) for line in self._lines.feed(data)]
        return self._inbox.pop(0)

    def send(self, message: Message) -> None:
        """Leave a message where it outlives this process. The supervisor reads it when it is woken."""
        self._send(encode(message))

    def _send(self, line: bytes) -> None:
        data = memoryview(line)
        while data:
            try:
                data = data[self._sock.send(data, MSG_DONTWAIT) :]
            except BlockingIOError:
                self._ring()
                select.select([], [self._sock], [])

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        """See `context.Line`."""
        with self._lock:
            if self.cut_off:
                raise MillraceError(
                    "an exception has cut an earlier step, effect or look at results off from its answer: whether that"
                    " was done is not known, so that this attempt can ask nothing more"
                )
            question = encode({"m": kind, **body})  # what is no JSON is not asked, and has no answer to be cut off from
            self.cut_off = True
            self._send(question)
            self._ring()
            while (reply := self.receive()) is not None:
                if reply["m"] == "answer":
                    self.cut_off = False
                    return _unpacked(reply)
                self._heed(reply)
        raise ConnectionError("the supervisor has gone")

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        """See `context.Line`."""
        with self._lock:
            self.send({"m": kind, **body})
            self._ring()

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

    def _ring(self) -> None:
        self._orders.ring()
        self._woken = SYSTEM.monotonic()

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
