"""
Telling the daemon that another process has written: a datagram to a socket in the state folder. It carries nothing
and may be lost; the daemon also looks at the ledger's data version, so that a poke is a matter of speed only.

The same socket answers what stands in no ledger, as it is about what the ledger does not take: see `ask`.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOCKET_NAME: Final = "wake.sock"
_POKE: Final = b"!"
_QUESTION: Final = b"?"
_MOST: Final = 2**17  # bytes of an answer
ANSWER_S: Final = 1.0


def poke(state: Path) -> bool:
    """Wake the daemon that serves a state folder, once; return whether one listens."""
    poker = Poker(state)
    try:
        return poker.poke()
    finally:
        poker.close()


def ask(state: Path, timeout_s: float = ANSWER_S) -> str | None:
    """Ask the daemon that serves a state folder what it cannot write; return its answer, None if none comes in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker, _address(state) as address:
            asker.bind("")  # a name that the kernel picks, for the answer to come to
            asker.settimeout(timeout_s)
            asker.sendto(_QUESTION, address)
            return asker.recv(_MOST).decode()
    except OSError:  # nobody listens, or this user may not ask
        return None


class Poker:
    """Wakes the daemon that serves a state folder, time and again."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._place = str(state / SOCKET_NAME)
        self._socket: socket.socket | None = None

    def poke(self) -> bool:
        """Wake the daemon; return whether one listens."""
        if self._socket is None and not os.access(self._place, os.F_OK):
            return False  # no daemon, no socket: found out at a tenth of the price
        try:
            if self._socket is None:
                self._socket = self._connected()
            self._socket.send(_POKE)
        except BlockingIOError:
            return True  # its buffer is full of pokes already
        except OSError:
            self.close()  # nobody listens, or another by now: the daemon will see the rows itself
            return False
        return True

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            with _address(self._state) as address:
                sender.connect(address)
        except OSError:
            sender.close()
            raise
        return sender


class Listener:
    """
    The daemon's end of the poke.

    Args:
        answer: What whoever asks is told.
    """

    def __init__(self, state: Path, answer: Callable[[], str] = str) -> None:
        self._state = state
        self._answer = answer
        self._path = state / SOCKET_NAME
        self._path.unlink(missing_ok=True)  # left by a daemon that died; the lock says that none lives
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with _address(state) as address:
            self._socket.bind(address)
        self._path.chmod(0o600)

    def wait(self, timeout_s: float) -> bool:
        """Wait for pokes, at most `timeout_s` seconds (> 0); return whether there were any."""
        self._socket.settimeout(timeout_s)
        poked = False
        try:
            while True:
                word, sender = self._socket.recvfrom(16)
                self._socket.settimeout(0)
                if word == _QUESTION and sender:
                    self._tell(sender)
                else:
                    poked = True
        except TimeoutError:
            return False
        except BlockingIOError:
            return poked

    def _tell(self, sender: str | bytes) -> None:
        with contextlib.suppress(OSError):  # it has gone, or does not listen
            self._socket.sendto(self._answer().encode(), socket.MSG_DONTWAIT, sender)

    def nudge(self) -> None:
        """End the wait from another thread of this process."""
        poke(self._state)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        with contextlib.suppress(OSError):  # the file system became read-only: the next start removes it
            self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def _address(state: Path) -> Iterator[str]:
    """Give the socket's address through a descriptor of its folder: a path may be longer than the 107 bytes of one."""
    folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)
