"""What the runner works with: handed in by the process room, so that every part of it can be another one in a test."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from millrace.runner.policy import RunPolicy
from millrace.runner.rulebook import RuleBook

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock
    from millrace.define.registry import Registry
    from millrace.events import Emit
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads
    from millrace.runner.children import Children
    from millrace.runner.desk import Journal
    from millrace.runner.outcome import Ended


def _no_settings(_client: str) -> dict[str, Any]:
    return {}


@dataclass
class Kit:
    """
    What the runner works with.

    Args:
        registry: The tasks and pipelines of the site.
        reads: Where the arguments of stages come from.
        defaults: The policy that fills what a task leaves open.
        settings_of: A client's values of [settings.*]. It and `defaults` are replaced when settings are read again.
        rules: The decision tables of the site.
        journal: Keeper of permits, filled by an upper room; None answers `unsupported`.
        unrecorded: Outcomes that the ledger could not take yet; `outcome.record_again` empties it.
        refusals: For each attempt whose outcome is not written, by job and attempt, why not.
    """

    registry: Registry
    moves: Moves
    reads: Reads
    clock: Clock
    emit: Emit
    children: Children
    defaults: RunPolicy = field(default_factory=RunPolicy)
    settings_of: Callable[[str], dict[str, Any]] = _no_settings
    rules: RuleBook = field(default_factory=RuleBook)
    journal: Journal | None = None
    random: Random = field(default_factory=Random)
    unrecorded: deque[Ended] = field(default_factory=deque)
    refusals: dict[tuple[str, int], BaseException] = field(default_factory=dict)
