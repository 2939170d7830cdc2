"""
The tray between a worker thread and its child: orders that were handed over and have not begun. Both sides can take one
out, and whoever does owns it. So a job that has begun and one that has not are told apart by the kernel, at the moment
when it matters, also when the child has just died.

Orders are numbered. The daemon takes them back one by one, from the front, and meanwhile the child may take one that
stands behind: it sees by the number that some are missing before it, and drops it. So what a child has is always what
was put first, and how many came back tells which.

It is a pair of packet sockets. Of the child's end the daemon keeps a duplicate, to take orders back. In the other
direction the tray is the bell: words of a child lie in their own socket, which nobody polls, until the child rings. To
wake another thread costs more than a small job, and this way a child that has more orders at hand wakes nobody.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

MOST: Final = 10  # orders at once; the kernel's usual bound on packets in a socket (net.unix.max_dgram_qlen)
LARGEST: Final = 16 * 1024  # bytes of an order in a packet; the buffer of each read is made anew
IN_WORDS: Final = b"\n"  # in place of an order too large for a packet: it follows in the socket of words
_NUMBERS: Final = 256  # one byte before each order; far more than a tray holds
RING_S: Final = 0.005  # how long finished jobs may lie unread while the child goes on
_RING: Final = b"!"
_NOW: Final = socket.MSG_DONTWAIT  # a flag of each call, not of the socket: the duplicates share those


class Tray:
    """The daemon's side. Owned by one thread at a time."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._number = 0  # of the next order

    def fileno(self) -> int:
        """Return what is readable after the child has rung."""
        return self._ours.fileno()

    def put(self, order: bytes) -> bool:
        """Hand over an order; False when it does not fit in."""
        try:
            self._ours.send(bytes((self._number,)) + order, _NOW)
        except OSError:  # full for now, or the packet is larger than the kernel allows
            return False
        self._number = (self._number + 1) % _NUMBERS
        return True

    def recall(self) -> int:
        """Take back all orders that the child has not taken; return how many. They are those handed over last."""
        first = self._take_back()
        if first is None:
            return 0
        while self._take_back() is not None:
            pass
        count = (self._number - first) % _NUMBERS  # also those that the child took behind it: it has dropped them
        self._number = first
        return count

    def _take_back(self) -> int | None:
        """Take back the order in front; return its number, None when there is none."""
        try:
            data = self.theirs.recv(1, _NOW)
        except BlockingIOError:
            return None
        return data[0] if data else None

    def answer_bell(self) -> None:
        """Take notice of the bell, before the words are read."""
        with suppress(BlockingIOError):
            self._ours.recv(1, _NOW)

    def close(self) -> None:
        """Give back the descriptors."""
        self._ours.close()
        self.theirs.close()


class Orders:
    """The child's side."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._number = 0  # of the order that comes next

    def take(self) -> bytes | None:
        """Return the next order if one is at hand."""
        try:
            return self._receive(_NOW)
        except BlockingIOError:
            return None

    def wait(self) -> bytes:
        """Return the next order, b"" when the daemon has gone."""
        return self._receive(0)

    def _receive(self, flags: int) -> bytes:
        while data := self._sock.recv(1 + LARGEST, flags):
            if data[0] == self._number:
                self._number = (self._number + 1) % _NUMBERS
                return data[1:]
            # The daemon is about to take all back, and has taken one that stood before this.
        return b""

    def ring(self) -> None:
        """Wake the supervisor: there are words for it."""
        # Full: it has not come round to the last bells yet, and reads after them. Broken: it has gone, as `wait` tells.
        with suppress(BlockingIOError, BrokenPipeError):
            self._sock.send(_RING, _NOW)
