"""Fixtures of the fault tests: sites whose daemons may be killed, dice whose seed is printed, and how many rounds."""

from __future__ import annotations

import os
import random
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.process.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = Path(__file__).parent / "site"
CONFIG = """
[defaults]
backoff = "1ms..20ms"
grace = "500ms"
[queues.io]
kind = "thread"
workers = 4
max_workers = 8
"""


class MakeSite(Protocol):
    """Make a scratch site; `config` is added to the usual one."""

    def __call__(self, config: str = "", root: Path | None = None) -> Scratch: ...


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Make sites whose daemons end with the test."""
    with ExitStack() as stack:

        def make(config: str = "", root: Path | None = None) -> Scratch:
            return stack.enter_context(Scratch(root or tmp_path / "site", sorted(FILES.glob("*.py")), CONFIG + config))

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Scratch:
    """A site with a process queue (default) and a thread queue (io)."""
    return make_site()


@pytest.fixture
def dice(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> random.Random:
    """Chance, with a seed that is printed; FAULT_SEED repeats a run as far as the machine allows."""
    seed = os.environ.get("FAULT_SEED") or str(random.SystemRandom().randrange(10**9))
    with capsys.disabled():
        sys.stdout.write(f"\n{request.node.name}: FAULT_SEED={seed}\n")
    request.node.add_report_section("setup", "chance", f"FAULT_SEED={seed}")  # what a worker prints, nobody sees
    return random.Random(seed)


FACTOR = int(os.environ.get("FAULT_ROUNDS", "1"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests here time for their rounds."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(180 * FACTOR))


@pytest.fixture
def rounds() -> Callable[[int], int]:
    """Turn the rounds of a bounded run into those of this one: FAULT_ROUNDS multiplies them."""
    return lambda number: number * FACTOR
