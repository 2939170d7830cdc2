"""What the HTTP interface needs of the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock
    from millrace.config.settings import Settings
    from millrace.define.registry import Registry
    from millrace.events import Emit
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads
    from millrace.queue.submit import Submitter


@dataclass
class House:
    """
    The rooms that requests are answered from.

    Args:
        settings: Replaced when they are read again.
        health: The report of `observe.health.Health`; may look at the ledger.
        unfit: Why the daemon should get no work now, None if it is fit; may look at the ledger.
        troubles: What could not be written; see `process.engine.Engine.troubles`.
        metrics: All metrics in Prometheus's text format; may look at the ledger.
    """

    submitter: Submitter
    moves: Moves
    reads: Reads
    registry: Registry
    settings: Settings
    health: Callable[[], dict[str, Any]]
    unfit: Callable[[], str | None]
    metrics: Callable[[], bytes]
    clock: Clock
    emit: Emit
    troubles: Callable[[], dict[str, Any]] = dict

    @property
    def max_body(self) -> int:
        """The most bytes that a request or a line of a batch may have."""
        return self.settings.web.max_body
