"""What the runner works with: handed in by the process room, so that every part of it can be another one in a test."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from millrace.runner.policy import RunPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock
    from millrace.define.registry import Registry
    from millrace.events import Emit
    from millrace.ledger.moves import Moves
    from millrace.runner.children import Children
    from millrace.runner.desk import Journal
    from millrace.runner.outcome import Ended


def _no_settings(_client: str) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Kit:
    """
    What the runner works with.

    Args:
        registry: The tasks of the site.
        defaults: The policy that fills what a task leaves open.
        settings_of: A client's values of [settings.*].
        journal: Keeper of effects, permits and emitted items, filled by an upper room; None answers `unsupported`.
        unrecorded: Outcomes that the ledger could not take yet; `outcome.record_again` empties it.
    """

    registry: Registry
    moves: Moves
    clock: Clock
    emit: Emit
    children: Children
    defaults: RunPolicy = field(default_factory=RunPolicy)
    settings_of: Callable[[str], dict[str, Any]] = _no_settings
    journal: Journal | None = None
    random: Random = field(default_factory=Random)
    unrecorded: deque[Ended] = field(default_factory=deque)
