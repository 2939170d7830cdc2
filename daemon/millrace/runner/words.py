"""The daemon's end of a child's socket: what is said is sent as the child takes it, what is heard waits in an inbox."""

from __future__ import annotations

import select
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from millrace.runner.protocol import CHUNK, MAX_LINE, Lines, ProtocolError, encode

if TYPE_CHECKING:
    import socket

    from millrace.runner.protocol import Message


class Words:
    """
    The conversation with one child. It outlives the child: what was said before its death can still be heard.

    Args:
        sock: A stream that does not block.
        poller: Where the stream is watched for its end and, while there is more to send, for room. It is not watched
            for words: the child rings.
    """

    def __init__(self, sock: socket.socket, poller: select.poll) -> None:
        self._inbox: deque[bytes] = deque()  # lines that were read and are to be heard
        self.ended = False
        self.nonsense = ""  # why what it says is no conversation
        self._sock = sock
        self._poller = poller
        self._lines = Lines(MAX_LINE)
        self._unsent = memoryview(b"")
        poller.register(sock, 0)

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self._sock.fileno()

    def say(self, message: Message) -> None:
        """Send a message, now or as soon as the child takes it: it may be stopped or busy, and nobody must wait."""
        self.say_line(encode(message))

    def say_line(self, line: bytes) -> None:
        """Send a message that is encoded already."""
        self._unsent = memoryview(bytes(self._unsent) + line)
        self.flush()

    def flush(self) -> None:
        """Send what is left to be sent, as far as the child takes it."""
        with suppress(BlockingIOError):
            try:
                while self._unsent:
                    self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except ConnectionError:  # it has closed; reading will tell
                self._unsent = memoryview(b"")
        self._poller.modify(self._sock, select.POLLOUT if self._unsent else 0)

    def next(self) -> bytes | None:
        """Return the next line; None when there is none for now, nor will be if it has `ended` or talks `nonsense`."""
        if not self._inbox and not self.nonsense:
            self._read()
        return self._inbox.popleft() if self._inbox else None

    def _read(self) -> None:
        try:
            while data := self._sock.recv(CHUNK):
                self._inbox += self._lines.feed(data)
                if len(data) < CHUNK:  # that was the last piece
                    return
            self.ended = True
        except BlockingIOError:
            return
        except ConnectionResetError:  # it died with words of ours unread
            self.ended = True
        except ProtocolError as error:
            self.nonsense = str(error)
