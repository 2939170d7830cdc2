"""The daemon: wires the rooms, starts and stops them in order, and answers signals."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Final

from millrace import __version__
from millrace.events import DaemonFailed, DaemonStarted, DaemonStopped, DaemonStopping
from millrace.process.engine import Engine
from millrace.process.face import Face
from millrace.process.lock import take_lock
from millrace.process.notify import Supervisor

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.config.load import Site
    from millrace.observe.bus import Bus

LOOK_S: Final = 1.0
STOP_MARGIN_S: Final = 5.0


class Daemon:
    """
    One daemon, from its start to its end.

    Args:
        site: The validated settings.
        bus: Where events go; metrics subscribe to it here.
    """

    def __init__(self, site: Site, *, clock: Clock, bus: Bus) -> None:
        self._site = site
        self._clock = clock
        self._bus = bus
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._why = ""
        self._manager = Supervisor()

    def run(self) -> int:
        """
        Serve until a signal says stop, or until a part fails that cannot be done without.

        Returns: The exit code: 0 after a stop in order, 1 after a failure.
        Raises: AlreadyRunning, LedgerForeign, SettingsError and others, before anything has begun.
        """
        began = self._clock.monotonic()
        self._listen_to_signals()
        take_lock(self._site.places.ledger)
        engine = Engine(self._site, clock=self._clock, emit=self._bus.emit)
        face = Face(self._site, engine, clock=self._clock, bus=self._bus)
        try:
            face.start()
            engine.start()
            face.accept()
            took_s = round(self._clock.monotonic() - began, 3)
            self._bus.emit(DaemonStarted(__version__, os.getpid(), engine.daemon, took_s))
            self._manager.tell(READY=1, STATUS=f"serving {self._site.places.root}")
            failed = self._serve(engine)
        finally:
            self._wind_down(engine, face)
        return int(failed)

    def _serve(self, engine: Engine) -> bool:
        """Wait for the end; return whether it is a failure."""
        pause_s = min(LOOK_S, (self._manager.watchdog_s or LOOK_S * 3) / 3)
        while not self._clock.wait(self._stop, pause_s):
            if not engine.ledger.writer.alive:
                reason = engine.ledger.writer.failed or "its thread has ended"
                self._bus.emit(DaemonFailed("ledger", str(reason)))
                return True
            if engine.progressing():
                self._manager.tell(WATCHDOG=1)
        return False

    def _wind_down(self, engine: Engine, face: Face) -> None:
        defaults = self._site.settings.defaults
        bound_s = defaults.drain + defaults.grace + STOP_MARGIN_S
        self._manager.tell(STOPPING=1, STATUS="draining", EXTEND_TIMEOUT_USEC=round(bound_s * 1_000_000))
        self._bus.emit(DaemonStopping(self._why or "failure", defaults.drain))
        if not engine.ledger.writer.alive:
            self._hurry.set()  # nothing can be recorded any more: the next start takes the attempts back
        face.refuse()
        released = engine.drain(defaults.drain, self._hurry)
        face.stop()
        engine.stop(defaults.grace + STOP_MARGIN_S, self._hurry)
        self._bus.emit(DaemonStopped(released))

    def _listen_to_signals(self) -> None:
        # HUP comes when the terminal closes, or from somebody who wants new settings to hold: a stop in order serves
        # both, as the service manager starts the daemon again.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)

    def _asked_to_stop(self, number: int, _frame: object) -> None:
        self._why = self._why or signal.Signals(number).name
        if self._stop.is_set():
            self._hurry.set()  # a second TERM: now
        self._stop.set()
