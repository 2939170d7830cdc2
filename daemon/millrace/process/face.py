"""What the daemon shows of itself: health, metrics, the HTTP interface, and the conservation proof behind them."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Final

from millrace import __version__
from millrace.events import PartRestarted, WebStarted
from millrace.ledger.notes import LISTEN, PROOF
from millrace.observe.conservation import ConservationCheck
from millrace.observe.facts import Facts
from millrace.observe.health import Health
from millrace.observe.metrics import Metrics
from millrace.web.app import create_app
from millrace.web.house import House
from millrace.web.server import MOST, WebServer
from millrace.web.tokens import first_token

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.config.load import Site
    from millrace.config.settings import Settings
    from millrace.ledger.rows import Balance
    from millrace.observe.bus import Bus
    from millrace.process.engine import Engine

PROOF_EVERY_S: Final = 300.0  # the rows are read by a thread of its own: a million of them take a while
STOP_S: Final = 3.0
FEW: Final = 10  # lanes that a note of a difference names


class Face:
    """
    The observers of one engine.

    Args:
        connections: Of clients, at once.
    """

    def __init__(self, site: Site, engine: Engine, *, clock: Clock, bus: Bus, connections: int = MOST) -> None:
        self._site = site
        self._clock = clock
        self._bus = bus
        self._end = threading.Event()
        self._accepting = False
        self._engine = engine
        self._patrol = engine.patrol
        settings = site.settings
        self._conservation = ConservationCheck(
            engine.ledger.reads, clock=clock, emit=bus.emit, orphans=engine.patrol.figures
        )
        self._facts = facts = Facts(
            ledger=site.places.ledger,
            reads=engine.ledger.reads,
            writer_alive=lambda: engine.ledger.writer.alive,
            pools=engine.states,
            ages=engine.ages,
            accepting=lambda: self._accepting,
            registry=engine.registry,
            settings=settings,
            conservation=self._conservation,
            clock=clock,
            schedules=engine.schedules,
            failing=engine.failing,
            refusals=engine.refusals,
            level=lambda: engine.submitter.room.level() if engine.submitter.room is not None else None,
        )
        metrics = Metrics(version=__version__)
        metrics.watch(facts)
        bus.add(metrics)
        health = Health(facts)
        self._house = house = House(
            submitter=engine.submitter,
            moves=engine.moves,
            reads=engine.ledger.reads,
            registry=engine.registry,
            settings=settings,
            health=health.report,
            unfit=health.unfit,
            metrics=metrics.text,
            clock=clock,
            emit=bus.emit,
            troubles=engine.troubles,
        )
        first_token(engine.ledger.reads, engine.moves, site.places.state, clock=clock, emit=bus.emit)
        host, port = site.places.listen
        self._server = WebServer(create_app(house), host, port, most=connections)
        self._proof = threading.Thread(target=self._prove, name="millrace-proof", daemon=True)

    def start(self) -> None:
        """Listen, and leave word where. Raises SettingsError if the address is taken; LedgerError."""
        self._server.start()
        host, _ = self._site.places.listen
        note = {"daemon": self._engine.daemon, "host": host, "port": self._server.port}
        self._engine.moves.note(LISTEN, json.dumps(note)).wait()
        self._bus.emit(WebStarted(host, self._server.port))
        self._proof.start()

    def apply(self, settings: Settings) -> None:
        """Answer by new settings from now on."""
        self._facts.settings = settings
        self._house.settings = settings

    def accept(self) -> None:
        """Tell that the daemon takes work from now on."""
        self._accepting = True

    def refuse(self) -> None:
        """Tell that the daemon takes no more work, while it still answers."""
        self._accepting = False

    def stop(self) -> None:
        """Answer nothing any more."""
        self._end.set()
        self._server.stop(STOP_S)
        if self._proof.is_alive():
            self._proof.join(STOP_S)

    def _prove(self) -> None:
        while True:
            try:
                self._leave(self._conservation.refresh(self._end))
                self._patrol.look(self._end)
            except Exception as error:  # noqa: BLE001 - a proof that is never made again would look like a good one
                if self._end.is_set():
                    return  # the ledger closes under a look that takes long
                self._conservation.trouble = f"{type(error).__name__}: {error}"
                self._bus.emit(PartRestarted("conservation proof", self._conservation.trouble))
            else:
                self._conservation.trouble = None
            if self._clock.wait(self._end, PROOF_EVERY_S):
                return

    def _leave(self, found: Balance) -> None:
        """Leave word of a difference for `millrace status`, which cannot count a million rows, and of its end."""
        known = self._engine.ledger.reads.note(PROOF)
        said = json.dumps({"difference": found.difference, "details": found.details[:FEW]})
        if known != said and (known or found.difference):
            self._engine.moves.note(PROOF, said).wait()
