"""The care of a site's storage while its daemon runs: what is old is removed, backups are made. See `chores`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.events import LogSetAside, PartRestarted
from millrace.ledger.checkup import damage
from millrace.process.backup.rota import Rota
from millrace.process.chores import Chores
from millrace.process.guard import Guard
from millrace.process.retention import Retention
from millrace.process.survey import Survey
from millrace.queue.room import Room

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.config.load import Site
    from millrace.config.settings import Settings
    from millrace.events import Emit
    from millrace.process.engine import Engine

PRUNE_EVERY_S: Final = 600.0
EXAMINE_EVERY_S: Final = 20.0
EXAMINE_SHARE: Final = 0.05  # of the time, at most, on a large ledger


class Care:
    """The chores of one daemon."""

    def __init__(self, site: Site, engine: Engine, *, clock: Clock, emit: Emit) -> None:
        self._settings = site.settings
        self._emit = emit
        self._clock = clock
        moves, reads = engine.moves, engine.ledger.reads
        self._reads = reads
        self._room = room = Room(
            site.places.ledger, site.settings.storage.reserve, open_jobs=reads.open_jobs, clock=clock
        )
        engine.submitter.room = room
        self._survey = Survey(site.places.ledger, room, moves=moves, reads=reads, clock=clock, emit=emit)
        rota = Rota(
            site.places,
            lambda: self._settings.backup,
            moves=moves,
            reads=reads,
            clock=clock,
            emit=emit,
            stop=lambda: self._chores.ending,
        )
        self._chores = Chores(
            {
                "soundness": self._examine,
                "prune": self._prune,
                "survey": self._survey.turn,
                "space": self._give_back,
                "backup": rota.turn,
            },
            clock=clock,
            emit=emit,
        )
        self._ledger = site.places.ledger
        self._examine_at = clock.monotonic()
        self._guard = Guard(site.places.ledger, self._room, named=site.places.named, clock=clock, emit=emit)
        self._retention = Retention(moves, reads, clock, emit, self._chores.end)
        self._prune_at = clock.monotonic()

    def start(self) -> None:
        """Begin."""
        self._chores.start()

    def apply(self, settings: Settings) -> None:
        """Go by new settings from now on."""
        self._settings = settings
        self._room.reserve = settings.storage.reserve

    def look(self) -> str | None:
        """Look at the storage, quickly; return why the daemon must stop, None while all is as it should be."""
        return self._guard.look()

    def after_all(self) -> None:
        """Do what is left once the ledger is closed."""
        if (log := self._guard.after_all()) is not None:
            self._emit(LogSetAside(str(log)))

    def revive(self) -> None:
        """Start the thread again if it has died."""
        if self._chores.revive():
            self._emit(PartRestarted("chores", "its thread had ended"))

    def _examine(self) -> None:
        """
        Let SQLite say whether a file that looks too short lacks anything, time and again while it looks so.

        Nothing is lacking while the log has it; that ends when the log begins anew, with a heartbeat at the latest.
        """
        began = self._clock.monotonic()
        if self._guard.doubtful and began >= self._examine_at:
            self._reads.damage = self._reads.damage or damage(self._ledger)
            took_s = self._clock.monotonic() - began
            self._examine_at = began + max(EXAMINE_EVERY_S, took_s / EXAMINE_SHARE)

    def _prune(self) -> None:
        if self._clock.monotonic() >= self._prune_at:
            self._prune_at = self._clock.monotonic() + PRUNE_EVERY_S
            self._retention.run(self._settings.retention)

    def _give_back(self) -> None:
        counts = self._reads.status_counts()
        self._retention.give_back(idle=not (counts["queued"] or counts["running"]))

    def stop(self) -> None:
        """End what is being done; it need not have been started."""
        self._chores.stop()
