"""The signals that a daemon answers. A handler only notes what was asked; the main thread carries it out."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Signals:
    """
    What was asked of this process by signals.

    TERM and INT ask for the end, a second one for the end now. HUP asks for new settings, USR1 for the state in the
    log. QUIT writes the stacks of all threads to stderr, from C, so that a process that hangs answers too.
    """

    def __init__(self) -> None:
        self.news = threading.Event()  # set whenever anything is asked
        self.stop = False
        self.hurry = threading.Event()
        self.reload = False
        self.dump = False
        self.why = ""
        self._terminal = _terminal()

    def listen(self) -> None:
        """Take over the handlers of this process; only the main thread may."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._hang_up)
        signal.signal(signal.SIGUSR1, self._show)
        if sys.stderr is not None:
            faulthandler.register(signal.SIGQUIT, file=sys.__stderr__ or sys.stderr, all_threads=True)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self.why = self.why or signal.Signals(number).name
        if self.stop:
            self.hurry.set()  # a second TERM: now
        self.stop = True
        self.news.set()

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        # HUP also comes when a terminal is closed. Whoever started the daemon in it does not expect it to go on.
        if self._terminal is not None and not _is_there(self._terminal):
            self._end(number, frame)
            return
        self.reload = True
        self.news.set()

    def _show(self, _number: int, _frame: FrameType | None) -> None:
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
