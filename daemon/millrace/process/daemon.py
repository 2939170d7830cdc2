"""The daemon: wires the rooms, starts and stops them in order, and answers signals."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from millrace import __version__
from millrace.clock import format_duration
from millrace.errors import LedgerDamaged, LedgerError
from millrace.events import DaemonFailed, DaemonStarted, DaemonStopped, DaemonStopping, StateDumped
from millrace.process.care import Care
from millrace.process.descriptors import allow_files
from millrace.process.engine import Engine
from millrace.process.face import Face
from millrace.process.ground import check_ground
from millrace.process.lock import forget_index, note_index, take_lock
from millrace.process.notify import ServiceManager
from millrace.process.reload import VERSION, Reloader
from millrace.process.signals import Signals
from millrace.process.stuck import StuckNotes

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.config.load import Site
    from millrace.config.settings import Settings
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
        self._settings = site.settings
        self._clock = clock
        self._bus = bus
        self._signals = Signals()
        self._manager = ServiceManager()

    def run(self) -> int:
        """
        Serve until a signal says stop, or until a part fails that cannot be done without.

        Returns: The exit code: 0 after a stop in order, 1 after a failure, 78 after one that a restart cannot mend.
        Raises: AlreadyRunning, LedgerForeign, SettingsError and others, before anything has begun.
        """
        began = self._clock.monotonic()
        self._signals.listen()
        connections = allow_files(sum(queue.max_workers for queue in self._settings.queues.values()))
        check_ground(self._site.places.ledger)
        lock = take_lock(self._site.places.ledger)
        engine = Engine(self._site, clock=self._clock, emit=self._bus.emit)
        self._bus.add(StuckNotes(engine.daemon, engine.moves.note, self._clock))
        face = Face(self._site, engine, clock=self._clock, bus=self._bus, connections=connections)
        care = Care(self._site, engine, clock=self._clock, emit=self._bus.emit)
        try:
            note_index(lock, self._site.places.ledger)
            face.start()
            engine.start()
            face.accept()
            care.start()
            took_s = round(self._clock.monotonic() - began, 3)
            self._bus.emit(DaemonStarted(__version__, os.getpid(), engine.daemon, took_s))
            self._manager.tell(READY=1, STATUS=self._status())
            engine.start_schedules()
            reloader = self._reloader(engine, face, care)
            reloader.begin(engine.ledger.reads.note(VERSION))
            code = self._serve(engine, care, reloader)
        finally:
            forget_index(lock)
            self._wind_down(engine, face, care)
        return code or _code_of(engine.ledger.writer.failed)  # it may fail as late as in the stop

    def _serve(self, engine: Engine, care: Care, reloader: Reloader) -> int:
        """Do what is asked until the end; return the exit code."""
        pause_s = min(LOOK_S, (self._manager.watchdog_s or LOOK_S * 3) / 3)
        while not self._signals.stop:
            self._clock.wait(self._signals.news, pause_s)
            self._signals.news.clear()
            if not engine.ledger.writer.alive:
                failed = engine.ledger.writer.failed
                if failed is None:  # else it has told by itself
                    self._bus.emit(DaemonFailed("ledger", "its thread has ended"))
                return _code_of(failed) or 1
            self._answer(engine, reloader)
            if (ghost := care.look()) is not None:
                return self._give_up(engine, ghost, 1)
            if (damage := engine.ledger.reads.damage) is not None:
                return self._give_up(engine, damage, LedgerDamaged.exit_code)
            engine.revive()
            care.revive()
            if engine.progressing():
                self._manager.tell(WATCHDOG=1)
        return 0

    def _give_up(self, engine: Engine, reason: str, code: int) -> int:
        """Write nothing any more to a ledger that is not what it was; return the exit code."""
        engine.ledger.writer.condemn(reason)
        self._bus.emit(DaemonFailed("ledger", reason))
        return code

    def _answer(self, engine: Engine, reloader: Reloader) -> None:
        """Carry out what signals asked for, and look whether the site's files have changed."""
        if self._signals.dump:
            self._signals.dump = False
            self._bus.emit(self._state(engine))
        if self._signals.reload:
            self._signals.reload = False
            reloader.reload("HUP")
        reloader.watch()

    def _reloader(self, engine: Engine, face: Face, care: Care) -> Reloader:
        def apply(settings: Settings) -> None:
            # systemd 252 has no notify-reload: it learns of a reload by these two alone, whoever asked for it.
            self._manager.tell(RELOADING=1, MONOTONIC_USEC=round(self._clock.monotonic() * 1_000_000))
            self._settings = settings
            engine.apply(settings)
            face.apply(settings)
            care.apply(settings)
            self._manager.tell(READY=1, STATUS=self._status())

        return Reloader(
            self._site,
            daemon=engine.daemon,
            apply=apply,
            note=engine.moves.note,
            audit=engine.moves.audit,
            emit=self._bus.emit,
            clock=self._clock,
            environ=dict(os.environ),
        )

    def _status(self) -> str:
        return f"serving {self._site.places.root}"

    def _state(self, engine: Engine) -> StateDumped:
        now = self._clock.monotonic()
        pools = [f"{pool.queue} {pool.busy}/{pool.limit}" for pool in engine.states()]
        running = [
            f"{live.job_id} {live.task} {format_duration(round(max(0.0, now - (live.started or now)), 1))}"
            for live in engine.running.jobs()
        ]
        turns = [f"{name} {age:.1f}s" for name, age in engine.upkeep.ages().items()]
        threads = [thread.name for thread in threading.enumerate()]
        return StateDumped(*(", ".join(words) for words in (pools, running, turns, threads)))

    def _wind_down(self, engine: Engine, face: Face, care: Care) -> None:
        defaults, hurry = self._settings.defaults, self._signals.hurry
        bound_s = defaults.drain + defaults.grace + STOP_MARGIN_S
        self._manager.tell(STOPPING=1, STATUS="draining", EXTEND_TIMEOUT_USEC=round(bound_s * 1_000_000))
        self._bus.emit(DaemonStopping(self._signals.why or "failure", defaults.drain))
        if not engine.ledger.writer.alive:
            hurry.set()  # nothing can be recorded any more: the next start takes the attempts back
        face.refuse()
        released = engine.drain(defaults.drain, hurry)
        face.stop()
        care.stop()
        engine.stop(defaults.grace + STOP_MARGIN_S, hurry)
        care.after_all()
        self._bus.emit(DaemonStopped(released))


def _code_of(failed: Exception | None) -> int:
    """Return the exit code for what the ledger failed of."""
    if failed is None:
        return 0
    return failed.exit_code if isinstance(failed, LedgerError) else 1
