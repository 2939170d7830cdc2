"""
Telling the daemon that another process has written: a datagram to a socket in the state folder. It carries nothing
and may be lost; the daemon also looks at the ledger's data version, so that a poke is a matter of speed only.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SOCKET_NAME = "wake.sock"


def poke(state: Path) -> bool:
    """Wake the daemon that serves a state folder; return whether one listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(b"!", _address(state))
        except BlockingIOError:
            return True  # its buffer is full of pokes already
        except OSError:
            return False  # nobody listens: the daemon will see the rows when it starts
    return True


class Listener:
    """The daemon's end of the poke."""

    def __init__(self, state: Path) -> None:
        self._path = state / SOCKET_NAME
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()  # left by a daemon that died; the lock says that none lives
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(_address(state))
        self._path.chmod(0o600)

    def wait(self, timeout_s: float) -> bool:
        """Wait for pokes, at most `timeout_s` seconds (> 0); return whether there were any."""
        self._socket.settimeout(timeout_s)
        try:
            self._socket.recv(16)
            self._socket.setblocking(False)
            while True:
                self._socket.recv(16)
        except TimeoutError:
            return False
        except BlockingIOError:
            return True

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def _address(state: Path) -> str:
    """Return the socket's address; through /proc where the path is longer than the 107 bytes that an address may have."""
    return str(state / SOCKET_NAME)
