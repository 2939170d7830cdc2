"""The care of a site's storage while its daemon runs: backups. See `chores`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.events import PartRestarted
from millrace.process.backup.rota import Rota
from millrace.process.chores import Chores

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.config.load import Site
    from millrace.config.settings import Settings
    from millrace.events import Emit
    from millrace.process.engine import Engine


class Care:
    """The chores of one daemon."""

    def __init__(self, site: Site, engine: Engine, *, clock: Clock, emit: Emit) -> None:
        self._settings = site.settings
        self._emit = emit
        moves, reads = engine.moves, engine.ledger.reads
        rota = Rota(
            site.places,
            lambda: self._settings.backup,
            moves=moves,
            reads=reads,
            clock=clock,
            emit=emit,
            stop=lambda: self._chores.ending,
        )
        self._chores = Chores({"backup": rota.turn}, clock=clock, emit=emit)

    def start(self) -> None:
        """Begin."""
        self._chores.start()

    def apply(self, settings: Settings) -> None:
        """Go by new settings from now on."""
        self._settings = settings

    def revive(self) -> None:
        """Start the thread again if it has died."""
        if self._chores.revive():
            self._emit(PartRestarted("chores", "its thread had ended"))

    def stop(self) -> None:
        """End what is being done; it need not have been started."""
        self._chores.stop()
