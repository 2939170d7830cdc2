"""A site opened by a command: its ledger, its tasks, its door in. Works whether the daemon runs or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from millrace.define.load import load_jobs
from millrace.events import JobFileBroken, ignore
from millrace.ledger.ledger import Ledger
from millrace.ledger.wake import Poker
from millrace.queue.room import Room
from millrace.queue.submit import Submitter

if TYPE_CHECKING:
    from millrace.config.load import Site
    from millrace.events import Emit
    from millrace.ledger.transaction import Changes


class OpenSite:
    """
    A site whose ledger is open. What is written wakes the daemon at once, if one runs.

    Args:
        site: The validated settings.
        emit: Where events go; the broken job files are among them.
    """

    def __init__(self, site: Site, *, emit: Emit = ignore) -> None:
        self.site = site
        settings, places = site.settings, site.places
        self.registry = load_jobs(places.root, places.jobs, queues=settings.queues)
        for problem in self.registry.problems:
            emit(JobFileBroken(problem.file, problem.line, problem.reason))
        self.ledger = Ledger(places.ledger, synchronous=settings.database.synchronous, emit=emit)
        self._poker = Poker(places.state)
        self.ledger.on_change.append(self._wake)
        self.submitter = Submitter(self.registry, settings, self.ledger.moves, self.ledger.reads, emit=emit)
        self.submitter.room = Room(places.ledger, settings.storage.reserve, open_jobs=self.ledger.reads.open_jobs)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Commit what was handed in and close the ledger."""
        self.ledger.close()
        self._poker.close()

    def _wake(self, _changes: Changes) -> None:
        self._poker.poke()


def open_site(site: Site, *, emit: Emit = ignore) -> OpenSite:
    """
    Open a site for a command.

    Raises: LedgerForeign, LedgerError, SettingsError.
    """
    return OpenSite(site, emit=emit)
