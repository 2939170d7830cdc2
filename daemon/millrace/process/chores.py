"""
What the daemon does at leisure, in a thread of its own, since each may take minutes: nothing that runs jobs waits for
it. A chore that fails is told and done again later; the others go on.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from millrace.events import PartRestarted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from millrace.clock import Clock
    from millrace.events import Emit

TURN_S: Final = 2.0
PAUSE_S: Final = 60.0  # after a chore failed
STOP_S: Final = 5.0


class Chores:
    """
    Calls each chore in turn until stopped.

    Args:
        chores: Name → what to do; each decides by itself whether anything is due.
    """

    def __init__(self, chores: Mapping[str, Callable[[], None]], *, clock: Clock, emit: Emit) -> None:
        self._chores = chores
        self._clock = clock
        self._emit = emit
        self.end = threading.Event()  # set when all shall stop
        self._paused: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="millrace-chores", daemon=True)
        self._thread.start()

    @property
    def ending(self) -> bool:
        """Whether what is being done should be left: it is done again after the next start."""
        return self.end.is_set()

    def revive(self) -> bool:
        """Start the thread again if it has ended though nobody stopped it; return whether it had."""
        if self._thread is None or self._thread.is_alive() or self.ending:
            return False
        self.start()
        return True

    def stop(self) -> None:
        """End it; a chore that does not end by then ends with the process."""
        self.end.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _loop(self) -> None:
        while not self._clock.wait(self.end, TURN_S):
            for name, chore in self._chores.items():
                if self.ending:
                    return
                if self._clock.monotonic() >= self._paused.get(name, 0.0):
                    self._do(name, chore)

    def _do(self, name: str, chore: Callable[[], None]) -> None:
        try:
            chore()
        except Exception as error:  # noqa: BLE001 - one chore that fails must not end the others; it is told
            if self.ending:
                return
            self._paused[name] = self._clock.monotonic() + PAUSE_S
            self._emit(PartRestarted(name, f"{type(error).__name__}: {error}"))
