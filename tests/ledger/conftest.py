"""Fixtures of the ledger's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.ledger.ledger import Ledger
from tests.ledger.rig import Book, OwnClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.events import Event


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A fresh ledger under a clock of its own, in the name of daemon d1."""
    events: list[Event] = []
    clock = OwnClock()
    path = tmp_path / "ledger.db"
    with Ledger(path, clock=clock, synchronous="normal", emit=events.append) as ledger:
        ledger.moves.daemon = "d1"
        yield Book(ledger, clock, path, events)
