"""The signals that a daemon answers. They are only noted; the main thread carries out what was asked."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import threading
from typing import Final

_CHUNK: Final = 64


class Signals:
    """
    What was asked of this process by signals.

    TERM and INT ask for the end, a second one for the end now. HUP asks for new settings, USR1 for the state in the
    log. QUIT writes the stacks of all threads to stderr, from C, so that a process that hangs answers too.

    A thread of their own notes them, from the numbers that Python writes into a socket. A handler would run in the
    main thread, between any two steps of it: also where that holds the lock of the event that it waits for, and which
    the handler would set. Neither would ever go on.
    """

    def __init__(self) -> None:
        self.news = threading.Event()  # set whenever anything is asked
        self.stop = False
        self.hurry = threading.Event()
        self.reload = False
        self.dump = False
        self.why = ""
        self._terminal = _terminal()
        self._heard, self._told = socket.socketpair()
        self._told.settimeout(0)  # as Python wants it for this purpose

    def listen(self) -> None:
        """Take over the handlers of this process; only the main thread may."""
        signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)  # its number is in the socket by then
        if sys.stderr is not None:
            faulthandler.register(signal.SIGQUIT, file=sys.__stderr__ or sys.stderr, all_threads=True)
        threading.Thread(target=self._hear, name="signals", daemon=True).start()

    def _hear(self) -> None:
        while True:
            for number in self._heard.recv(_CHUNK):
                self._note(number)

    def _note(self, number: int) -> None:
        # HUP also comes when a terminal is closed. Whoever started the daemon in it does not expect it to go on.
        hung_up = number == signal.SIGHUP and self._terminal is not None and not _is_there(self._terminal)
        if hung_up or number in {signal.SIGTERM, signal.SIGINT}:
            self.why = self.why or signal.Signals(number).name
            if self.stop:
                self.hurry.set()  # a second TERM: now
            self.stop = True
        elif number == signal.SIGHUP:
            self.reload = True
        elif number == signal.SIGUSR1:
            self.dump = True
        self.news.set()


def _terminal() -> int | None:
    """Return a descriptor of the terminal that this process was started in, None if there is none."""
    return next((fd for fd in (0, 1, 2) if os.isatty(fd)), None)


def _is_there(terminal: int) -> bool:
    try:
        os.tcgetpgrp(terminal)
    except OSError:
        return False
    return True
