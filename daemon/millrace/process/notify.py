"""What systemd is told, over the socket that it names; nothing, when nobody supervises."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MICROSECONDS: Final = 1_000_000
PATIENCE_S: Final = 5.0


class ServiceManager:
    """The service manager, as the environment names it ($NOTIFY_SOCKET, $WATCHDOG_USEC)."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        own = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        interval = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(interval) / MICROSECONDS if own and interval.isdigit() else None

    def tell(self, **facts: str | int) -> None:
        """
        Send facts, such as READY=1 or STATUS="…". A manager that does not listen is no reason to fail.

        Its queue holds few messages, and it may be busy. A beat that finds no place there is dropped, as the next one
        comes soon; whatever else is told comes once, and waits for a place, at most PATIENCE_S.
        """
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in facts.items())
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
            sender.settimeout(0 if facts.keys() == {"WATCHDOG"} else PATIENCE_S)
            sender.connect(address)  # else it would not wait for a place in that one's queue
            sender.send(text.encode())
