"""Fixtures of the queue room's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.queue.rig import House

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """The queue room; when it is taken down every thread must end, and the counts must agree."""
    house = House(tmp_path)
    yield house
    house.close()
    with_rows = House(tmp_path)
    assert with_rows.ledger.reads.balance(count_rows=True).difference == 0
    with_rows.close()
